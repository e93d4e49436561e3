"""The errors of this package: requests that are rejected before the server is called::

    GatewayError
    ├── RequestInvalid        the body or a header cannot be read
    ├── MediaTypeUnsupported  the body is neither JSON nor multipart
    ├── BodyTooLarge          the body has more bytes than are read
    ├── BodyTimeout           the body did not arrive in time
    ├── NotAcceptable         the caller wants one image, and there are several
    ├── GatewayFull           too many requests at once
    ├── KeyNotForwarded       the gateway may not send the API key to its server
    └── CallerGone            the caller waits no longer; nobody reads the response

What the server rejects is a ``ServerError`` of ``dorian_client.errors``.
"""

# ruff: noqa: N818 (named for what happened, as the SDK's errors)

from __future__ import annotations


class GatewayError(Exception):
    """Base of all errors that this package defines.

    Attributes:
        status: The HTTP status.
        reason: Why, in upper snake case, as the reasons of the contract.
        field: The field of the request at fault; None if there is none.
        retry_after: Seconds after which a retry may work; None if it would fail in the same way.
    """

    status = 500
    reason = "INTERNAL"
    retry_after: float | None = None

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RequestInvalid(GatewayError):
    """The body or a header of the request cannot be read. The message says what would be right."""

    status, reason = 400, "REQUEST_INVALID"


class MediaTypeUnsupported(GatewayError):
    """The body is neither JSON nor multipart."""

    status, reason = 415, "MEDIA_TYPE_UNSUPPORTED"


class BodyTooLarge(GatewayError):
    """The body has more bytes than are read."""

    status, reason = 413, "BODY_TOO_LARGE"


class BodyTimeout(GatewayError):
    """The body did not arrive in time."""

    status, reason = 408, "BODY_TIMEOUT"


class NotAcceptable(GatewayError):
    """The caller accepts an image only, and the result is not one image."""

    status, reason = 406, "NOT_ACCEPTABLE"


class GatewayFull(GatewayError):
    """The gateway works on as many requests as it may."""

    status, reason, retry_after = 503, "GATEWAY_FULL", 1.0


class KeyNotForwarded(GatewayError):
    """The gateway may not send the API key on, because the connection to its server is not encrypted."""

    status, reason = 500, "KEY_NOT_FORWARDED"


class CallerGone(GatewayError):
    """The caller closed the connection; the call was cancelled."""

    status, reason = 499, "CALLER_GONE"
