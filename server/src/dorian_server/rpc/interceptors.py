"""What the server's interceptors share: handlers with something around them, and handlers that refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Handler | None]"
Around = Callable[[Any, grpc.ServicerContext], AbstractContextManager[None]]


def wrapped(handler: Handler, around: Around) -> Handler:
    """``handler``, with ``around`` entered, for its request or iterator of requests, before it works and left when it has answered."""
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
    working = stream if handler.response_streaming else answer
    return cast(Handler, make(working, handler.request_deserializer, handler.response_serializer))


def refuser(handler: Handler, refuse: Callable[[grpc.ServicerContext], object]) -> Handler:
    """In place of ``handler``, one that ends the call by ``refuse``. As it takes a stream, gRPC does not read the photo of one who is refused."""
    make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    return make(lambda requests, context: refuse(context))


def service_of(method: str) -> str:
    """The service of a full ``method`` name: "dorian.v1.FaceAging" of "/dorian.v1.FaceAging/AgeTransform"."""
    return method.removeprefix("/").rpartition("/")[0]
