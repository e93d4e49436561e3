"""The one table from gRPC status to this package's errors, and the reading of what a status carries."""

from __future__ import annotations

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
    ServerError,
    Unauthenticated,
)

_DOMAIN = "dorian.v1"

# A code that is not here becomes a plain ServerError.
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

# Reasons that callers act on; they go before the codes.
ERRORS_BY_REASON: dict[str, type[ServerError]] = {"NO_FACE": NoFaceError}

# gRPC itself says RESOURCE_EXHAUSTED, in these words, of a message over its size limit; waiting does not help there.
_TOO_LARGE = "message larger than max"


class _Details(NamedTuple):
    reason: str | None
    field: str | None
    metadata: dict[str, str]
    retry_after: float | None


def error_from_rpc(
    error: grpc.RpcError, *, address: str, timeout: float | None, is_connected: Callable[[], bool]
) -> ServerError:
    """Returns what to raise for a failed call.

    is_connected tells, where a deadline has passed, a server that is slow from one that is not there.
    """
    call: object = error  # in truth always a grpc.Call too, which the types do not tell
    if not isinstance(call, grpc.Call):
        return ServerError(str(error) or type(error).__name__)
    code, text = call.code(), call.details() or "the server gave no details"
    details = _read_details(call)
    kind = ERRORS_BY_REASON.get(details.reason or "") or ERRORS_BY_CODE.get(code, ServerError)
    if kind is Busy and _TOO_LARGE in text:
        kind, text = InvalidRequest, f"send a smaller photo or ask for fewer ages at once: {text}"
    silent = details.reason is None  # or else the words are the server's own
    if kind is DeadlineExceeded and silent and not is_connected():
        kind = ConnectionFailed
    if kind is DeadlineExceeded and silent and timeout is not None:
        text = f"no answer from the server at {address} within {timeout:g} s"
    elif kind is ConnectionFailed:
        fault = f"cannot reach a server at {address}" if silent else f"the server at {address} takes no calls"
        text = f"{fault}: {text}"
    elif kind is ServerError:
        text = f"the server at {address} failed: {text} ({code.name})"
    return kind(text, code=code.name, **details._asdict())


def _read_details(call: grpc.Call) -> _Details:
    reason, field, metadata, retry_after = None, None, {}, None
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the rich status contradicts the plain one, which then counts alone
        status = None
    for packed in status.details if status is not None else ():
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if packed.Unpack(info) and info.domain == _DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad_request) and bad_request.field_violations:
            field = bad_request.field_violations[0].field
        elif packed.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return _Details(reason, field, metadata, retry_after)
