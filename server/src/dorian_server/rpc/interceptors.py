"""What the server's interceptors share: handlers with something around them, and handlers that only reject."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeAlias, cast

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Handler | None]"
Around = Callable[[Any, grpc.ServicerContext], AbstractContextManager[None]]


def wrap_handler(handler: Handler, around: Around) -> Handler:
    """Return ``handler`` within a context: entered before it works, and left when it has answered.

    Args:
        handler: Of any of the four kinds of RPC.
        around: Makes the context from the request, or the iterator of requests, and the call's own context.
    """
    takes, gives = (
        "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
    )
    behaviour = getattr(handler, f"{takes}_{gives}")

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        with around(request, context):
            return behaviour(request, context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with around(request, context):
            yield from behaviour(request, context)

    make = getattr(grpc, f"{takes}_{gives}_rpc_method_handler")
    wrapped = stream if handler.response_streaming else answer
    return cast(Handler, make(wrapped, handler.request_deserializer, handler.response_serializer))


def rejecting_handler(handler: Handler, reject: Callable[[grpc.ServicerContext], NoReturn]) -> Handler:
    """Return a handler in place of ``handler`` that ends calls by ``reject``.

    It takes a stream, so that gRPC does not read the photo of a call that is rejected.
    """
    make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    return make(lambda requests, context: reject(context))
