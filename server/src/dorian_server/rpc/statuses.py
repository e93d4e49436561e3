"""Errors as gRPC statuses: one table, and nothing of our own faults goes over the wire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, NoReturn, Protocol, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from dorian_server.domain.errors import CallCancelledError, OverloadError, Reason, RequestError

log = logging.getLogger(__name__)

DOMAIN = "dorian.v1"
# Clients take 8 KiB of trailers; a status holds its message three times, with up to twelve bytes for a character.
_MESSAGE_HEAD, _MESSAGE_TAIL = 180, 120
# All other reasons are INVALID_ARGUMENT.
_REASONS: Mapping[grpc.StatusCode, Sequence[Reason]] = {
    grpc.StatusCode.NOT_FOUND: [Reason.METHOD_UNKNOWN, Reason.METHOD_WITHHELD, Reason.BUNDLE_UNKNOWN],
    grpc.StatusCode.UNAUTHENTICATED: [Reason.API_KEY_MISSING, Reason.API_KEY_UNKNOWN],
    grpc.StatusCode.PERMISSION_DENIED: [Reason.SCOPE_MISSING],
    grpc.StatusCode.RESOURCE_EXHAUSTED: [Reason.QUEUE_FULL, Reason.CALLS_AT_ONCE, Reason.CALLS_PER_MINUTE],
    grpc.StatusCode.DEADLINE_EXCEEDED: [Reason.DEADLINE_TOO_SHORT],
    grpc.StatusCode.UNAVAILABLE: [Reason.NOT_READY, Reason.STOPPING],
    grpc.StatusCode.FAILED_PRECONDITION: [Reason.BUNDLE_BROKEN],
    grpc.StatusCode.INTERNAL: [Reason.INTERNAL],
}
STATUS_CODES: Mapping[Reason, grpc.StatusCode] = dict.fromkeys(Reason, grpc.StatusCode.INVALID_ARGUMENT) | {
    reason: code for code, reasons in _REASONS.items() for reason in reasons
}
# The request may be valid, but there is no room, time or server for it.
_REJECTIONS = (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Service(Protocol):
    """What ``ends_with_status`` needs of a service."""

    def on_reject(self, reason: Reason) -> None:
        """Hear why a call was rejected although its request may be valid."""
        ...


def ends_with_status(handler: Handler) -> Handler:
    """Make the errors of an RPC handler, a method of a ``Service``, the statuses that its calls end with."""

    @wraps(handler)
    def answer(service: Service, request: Any, context: grpc.ServicerContext) -> Any:
        with _errors_as_statuses(context, service.on_reject):
            return handler(service, request, context)

    @wraps(handler)
    def stream(service: Service, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with _errors_as_statuses(context, service.on_reject):
            yield from handler(service, request, context)

    return cast(Handler, stream if isgeneratorfunction(handler) else answer)


@contextmanager
def _errors_as_statuses(context: grpc.ServicerContext, on_reject: Callable[[Reason], None]) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        if STATUS_CODES[error.reason] in _REJECTIONS:
            on_reject(error.reason)
        abort(context, error)
    except CallCancelledError:
        context.abort(grpc.StatusCode.CANCELLED, "the call was cancelled")
    except Exception:
        log.exception("a request failed by our fault")
        abort(context, RequestError(Reason.INTERNAL, "", "the server failed; the request is not to blame"))


def abort(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    """End the call with the status of ``error``."""
    message = _shorten(str(error))
    status = status_pb2.Status(code=STATUS_CODES[error.reason].value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"field": error.field})
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo] = [info]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, OverloadError):
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status returns never")


def _shorten(message: str) -> str:
    """Cut out the middle of a ``message`` that quotes a long text of the request."""
    if len(message) <= _MESSAGE_HEAD + _MESSAGE_TAIL:
        return message
    return f"{message[:_MESSAGE_HEAD]} … {message[-_MESSAGE_TAIL:]}"
