"""Errors as gRPC statuses: one table, and nothing of our own faults goes over the wire."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from dorian_server.domain.errors import (
    BrokenBundleError,
    CallerLeftError,
    CredentialError,
    DeadlineError,
    OverloadError,
    RequestError,
    ScopeError,
    UnavailableError,
    UnknownBundleError,
    UnknownMethodError,
)

log = logging.getLogger(__name__)

DOMAIN = "dorian.v1"
# Clients take 8 KiB of trailers; a status has its words in there three times, up to twelve bytes for a character.
_WORDS_HEAD, _WORDS_TAIL = 180, 120
# The first that an error is of counts.
_CODES: tuple[tuple[type[RequestError], grpc.StatusCode], ...] = (
    (UnknownMethodError, grpc.StatusCode.NOT_FOUND),
    (CredentialError, grpc.StatusCode.UNAUTHENTICATED),
    (ScopeError, grpc.StatusCode.PERMISSION_DENIED),
    (UnknownBundleError, grpc.StatusCode.NOT_FOUND),
    (OverloadError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (BrokenBundleError, grpc.StatusCode.FAILED_PRECONDITION),
    (RequestError, grpc.StatusCode.INVALID_ARGUMENT),
)
# Of calls that may be good, but find no room, time or server.
REFUSALS = (OverloadError, DeadlineError, UnavailableError)
Answer = TypeVar("Answer")


def answer(
    context: grpc.ServicerContext, work: Callable[[], Answer], refused: Callable[[str], None] = lambda reason: None
) -> Answer:
    """``work``'s answer; what it raises ends the call with a status. ``refused`` hears why a call was not even begun."""
    try:
        return work()
    except RequestError as error:
        if isinstance(error, REFUSALS):
            refused(error.reason)
        abort(context, error)
    except CallerLeftError:
        context.abort(grpc.StatusCode.CANCELLED, "the caller has gone")
    except Exception:
        log.exception("a request failed by our fault")
        fault = RequestError("INTERNAL", "", "the server failed; the request is not to blame")
        _abort(context, grpc.StatusCode.INTERNAL, fault)


def abort(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    """End the call with the status of ``error``."""
    _abort(context, next(code for kind, code in _CODES if isinstance(error, kind)), error)


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, error: RequestError) -> NoReturn:
    words = _short(str(error))
    status = status_pb2.Status(code=code.value[0], message=words)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"field": error.field})
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo] = [info]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=words)
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


def _short(words: str) -> str:
    """``words`` without their middle where a request's own long text is in them."""
    if len(words) <= _WORDS_HEAD + _WORDS_TAIL:
        return words
    return f"{words[:_WORDS_HEAD]} … {words[-_WORDS_TAIL:]}"
