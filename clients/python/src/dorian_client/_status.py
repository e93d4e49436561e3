"""Errors of calls: the one table from gRPC statuses to this package's errors, and the details that a status carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dorian_client.errors import (
    Busy,
    ConnectionFailed,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    NoFaceError,
    NotFound,
    PermissionDenied,
    Reason,
    ServerError,
    Unauthenticated,
)

DOMAIN = "dorian.v1"  # of the error info that the contract describes

# Other codes become a plain ServerError.
ERRORS_BY_CODE: dict[grpc.StatusCode, type[ServerError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Busy,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: ConnectionFailed,
    grpc.StatusCode.INTERNAL: InternalError,
}

# Reasons with a class of their own; they take precedence over codes.
ERRORS_BY_REASON: dict[str, type[ServerError]] = {Reason.NO_FACE: NoFaceError}

# Part of gRPC's own message for one that exceeds its size limit; the code is RESOURCE_EXHAUSTED, but retrying does not help.
_TOO_LARGE = "message larger than max"


class _Details(NamedTuple):
    reason: str | None
    field: str | None
    metadata: dict[str, str]
    retry_after: float | None


def error_from_rpc(
    error: grpc.RpcError, *, address: str, timeout: float | None, is_connected: Callable[[], bool]
) -> ServerError:
    """Return the error to raise for a failed call.

    Args:
        error: gRPC's error.
        address: The server's address, for messages.
        timeout: The call's timeout in seconds, for messages; None if it has none.
        is_connected: Tells a slow server from a missing one after the deadline has passed.
    """
    call: object = error  # one of these, too, but typed as one thing
    if not isinstance(call, grpc.Call | grpc.aio.AioRpcError):
        return ServerError(str(error) or type(error).__name__)
    code, text = call.code(), call.details() or "the server gave no details"
    details = _read_details(call)
    kind = ERRORS_BY_REASON.get(details.reason or "") or ERRORS_BY_CODE.get(code, ServerError)
    if kind is Busy and _TOO_LARGE in text:
        kind, text = InvalidRequest, f"send a smaller photo or ask for fewer ages at once: {text}"
    from_grpc = details.reason is None  # otherwise the server wrote the message itself
    if kind is DeadlineExceeded and from_grpc and not is_connected():
        kind = ConnectionFailed
    if kind is DeadlineExceeded and from_grpc and timeout is not None:
        text = f"no answer from the server at {address} within {timeout:g} s"
    elif kind is ConnectionFailed:
        problem = f"cannot reach a server at {address}" if from_grpc else f"the server at {address} takes no calls"
        text = f"{problem}: {text}"
    elif kind is ServerError:
        text = f"the server at {address} failed: {text} ({code.name})"
    return kind(text, code=code.name, **details._asdict())


def raise_if_closed() -> None:
    """Raise ServerError where a call was cancelled and nobody cancelled the task that waits: its client was closed."""
    task = asyncio.current_task()
    if task is not None and not task.cancelling():
        raise ServerError("the client was closed during the call", code="CANCELLED")


def _read_details(call: grpc.Call | grpc.aio.AioRpcError) -> _Details:
    reason, field, metadata, retry_after = None, None, {}, None
    try:
        status = rpc_status.from_call(call)  # type: ignore[arg-type]
    except ValueError:  # the rich status contradicts the plain one, which then counts alone
        status = None
    for packed in status.details if status is not None else ():
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if packed.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad_request) and bad_request.field_violations:
            field = bad_request.field_violations[0].field
        elif packed.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return _Details(reason, field, metadata, retry_after)
