"""What the server's interceptors share: handlers with something around them, and handlers that only reject."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Handler | None]"
Around = Callable[[Any, grpc.ServicerContext], AbstractContextManager[None]]
Behaviour = TypeVar("Behaviour", bound=Callable[..., Any])


def answers_at_once(behaviour: Behaviour) -> Behaviour:
    """Mark what answers within a millisecond and waits for nothing, so that it needs no thread."""
    behaviour.answers_at_once = True  # type: ignore[attr-defined]
    return behaviour


def answers_unread(behaviour: Behaviour) -> Behaviour:
    """Mark what answers at once, and without the request."""
    behaviour.answers_unread = True  # type: ignore[attr-defined]
    return answers_at_once(behaviour)


def answers_unread_if(behaviour: Behaviour, decide: Callable[[grpc.ServicerContext], bool]) -> Behaviour:
    """Mark what answers at once, and without the request, if ``decide`` says so of a call as it begins."""
    behaviour.answers_unread_if = decide  # type: ignore[attr-defined]
    return behaviour


def behaviour_of(handler: Handler) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Return what a handler of any of the four kinds of RPC does."""
    kind = "_".join(
        "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
    )
    return cast("Callable[[Any, grpc.ServicerContext], Any]", getattr(handler, kind))


def wrap_handler(handler: Handler, around: Around) -> Handler:
    """Return ``handler`` within a context: entered before it works, and left when it has answered.

    Args:
        handler: Of any of the four kinds of RPC.
        around: Makes the context from the request, or the iterator of requests, and the call's own context.
    """
    behaviour = behaviour_of(handler)

    @wraps(behaviour)
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        with around(request, context):
            return behaviour(request, context)

    @wraps(behaviour)
    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with around(request, context):
            yield from behaviour(request, context)

    return replace_behaviour(handler, stream if handler.response_streaming else answer)


def replace_behaviour(handler: Handler, behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Handler:
    """Return a handler of the kind of ``handler`` that does something else."""
    takes, gives = (
        "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
    )
    make = getattr(grpc, f"{takes}_{gives}_rpc_method_handler")
    return cast(Handler, make(behaviour, handler.request_deserializer, handler.response_serializer))


def rejecting_handler(handler: Handler, reject: Callable[[grpc.ServicerContext], NoReturn]) -> Handler:
    """Return a handler in place of ``handler`` that ends calls by ``reject``.

    It takes a stream, so that the photo of a call that is rejected is not read.
    """
    make = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    return make(answers_unread(lambda requests, context: reject(context)))
