"""Errors as ``application/problem+json`` (RFC 9457), with the reasons of the contract."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dorian_client import InvalidRequest, Reason, ServerError
from dorian_gateway.errors import BodyTooLarge, GatewayError, RequestInvalid

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:dorian:reason:"
_CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; nobody reads the response

# The status of every reason of the contract.
STATUS_BY_REASON: dict[str, int] = {
    Reason.IMAGE_EMPTY: 400,
    Reason.IMAGE_UNREADABLE: 422,
    Reason.IMAGE_TOO_SMALL: 422,
    Reason.IMAGE_TOO_LARGE: 413,
    Reason.IMAGE_BYTES_EXCEEDED: 413,
    Reason.NO_FACE: 422,
    Reason.FACE_NOT_FOUND: 422,
    Reason.FACE_UNUSABLE: 422,
    Reason.FACE_TOO_MANY: 400,
    Reason.TARGET_MISSING: 400,
    Reason.TARGET_TOO_MANY: 400,
    Reason.TARGET_UNSUITABLE: 400,
    Reason.AGE_OUT_OF_RANGE: 400,
    Reason.AGE_GROUP_UNKNOWN: 400,
    Reason.FILTER_UNKNOWN: 400,
    Reason.SETTING_OUT_OF_RANGE: 400,
    Reason.METHOD_UNSUITABLE: 400,
    Reason.LATENT_UNSUITABLE: 400,
    Reason.LEVELS_UNSUITABLE: 400,
    Reason.PRESET_UNKNOWN: 400,
    Reason.REFERENCE_MISSING: 400,
    Reason.REFERENCE_TOO_MANY: 400,
    Reason.METHOD_UNKNOWN: 404,
    Reason.METHOD_WITHHELD: 404,
    Reason.BUNDLE_UNKNOWN: 404,
    Reason.API_KEY_MISSING: 401,
    Reason.API_KEY_UNKNOWN: 401,
    Reason.SCOPE_MISSING: 403,
    Reason.BUNDLE_BROKEN: 409,
    Reason.QUEUE_FULL: 503,
    Reason.CALLS_AT_ONCE: 429,
    Reason.CALLS_PER_MINUTE: 429,
    Reason.DEADLINE_TOO_SHORT: 504,
    Reason.NOT_READY: 503,
    Reason.STOPPING: 503,
    Reason.INTERNAL: 500,
}

# The status of errors without a reason that is known here: of newer servers, of proxies, of connections.
_STATUS_BY_CODE: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "DEADLINE_EXCEEDED": 504,
    "UNAVAILABLE": 503,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "CANCELLED": _CLIENT_CLOSED_REQUEST,
}

# What the contract's fields are called in requests of HTTP, where it is not the same.
_FIELDS: dict[str, str] = {
    "image": "photo",
    "targets": "to",
    "face_targets": "face_ages",
    "output.format": "format",
    "output.quality": "quality",
    "search.optimizer": "optimizer",
    "search.max_steps": "max_steps",
    "chosen.age": "to",
    "chosen.count": "count",
    "chosen.gender": "gender",
    "chosen": "to",
}
# Those of one reference among several: references[1].levels is reference_levels[1] there.
_OF_REFERENCE = re.compile(r"references(\[\d+\])\.(image|face|levels)(?:\.data)?")
_REFERENCE_FIELDS = {"image": "references", "face": "reference_faces", "levels": "reference_levels"}


class Problem(BaseModel):
    """Why a request failed."""

    type: str = Field(description="The reason as a URI, such as urn:dorian:reason:NO_FACE.")
    title: str = Field(description="What the status means.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong and what would be right, for people.")
    reason: str | None = Field(
        None, description="Why, for programs: a reason of the gRPC contract, or the gateway's own."
    )
    field: str | None = Field(None, description="The field of the request at fault.")
    metadata: dict[str, str] | None = Field(None, description="Further details of the server.")
    retry_after: float | None = Field(None, description="Seconds after which a retry may work.")


def describe_problem(error: Exception) -> Problem:
    """Return what the caller is told of an error; what is not meant for callers becomes INTERNAL without details."""
    match error:
        case InvalidRequest(code="RESOURCE_EXHAUSTED", reason=None):  # gRPC's own limit on messages
            return _make_problem(BodyTooLarge.status, BodyTooLarge.reason, str(error))
        case ServerError():
            return _describe_server_error(error)
        case GatewayError():
            return _make_problem(error.status, error.reason, str(error), error.field, retry_after=error.retry_after)
        case RequestValidationError():
            return describe_problem(request_invalid(list(error.errors())))
        case HTTPException():
            return _make_problem(error.status_code, None, str(error.detail))
        case _:
            return _make_problem(500, Reason.INTERNAL, "a fault of the gateway; its log has the details")


def request_invalid(errors: list[Any]) -> RequestInvalid:
    """Return the error for a body or header that does not fit its schema; of several faults it names the first."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "header", "query"))
    return RequestInvalid(f"{field}: {first['msg']}" if field else str(first["msg"]), field or None)


async def respond_with_problem(request: Request, error: Exception) -> Response:
    """Return the response for an error."""
    problem = describe_problem(error)
    headers = dict(getattr(error, "headers", None) or {})  # of an HTTPException: Allow
    if problem.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(problem.retry_after))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.reason in (BodyTooLarge.reason, "BODY_TIMEOUT", "GATEWAY_FULL"):
        headers["Connection"] = "close"  # the rest of the body is not read
    return Response(problem.model_dump_json(exclude_none=True), problem.status, headers, MEDIA_TYPE)


def _describe_server_error(error: ServerError) -> Problem:
    status = STATUS_BY_REASON.get(error.reason or "") or _STATUS_BY_CODE.get(error.code, HTTPStatus.BAD_GATEWAY)
    return _make_problem(
        status,
        error.reason,
        str(error),
        error.field and _rename_field(error.field),
        metadata=error.metadata or None,
        retry_after=error.retry_after,
    )


def _rename_field(field: str) -> str:
    """Return what a field of the contract is called in requests of HTTP."""
    if of_reference := _OF_REFERENCE.match(field):
        index, part = of_reference.groups()
        return f"{_REFERENCE_FIELDS[part]}{index}{field[of_reference.end() :]}"
    for name, other in _FIELDS.items():
        if field == name or field.startswith((f"{name}[", f"{name}.")):
            return other + field.removeprefix(name)
    return field


def _make_problem(
    status: int,
    reason: str | None,
    detail: str,
    field: str | None = None,
    *,
    metadata: dict[str, str] | None = None,
    retry_after: float | None = None,
) -> Problem:
    title = "Client closed request" if status == _CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase
    return Problem(
        type=f"{_TYPE}{reason}" if reason else "about:blank",
        title=title,
        status=status,
        detail=detail,
        reason=reason,
        field=field or None,
        metadata=metadata,
        retry_after=retry_after,
    )
