"""The errors of this package, and the reasons that a server gives for them::

    DorianError
    ├── PhotoError               the photo cannot be sent; no call was made
    ├── Cancelled                a latent search was cancelled here before it had a result
    └── ServerError              a call failed; has code, reason, field, metadata, retry_after
        ├── InvalidRequest       the photo, a face of it or an option was rejected; a retry fails in the same way
        │   └── NoFaceError      the photo has no face
        ├── NotFound             the server does not know a name, such as a method's or a bundle's
        ├── Unauthenticated      the API key is missing or unknown
        ├── PermissionDenied     the API key does not allow the call
        ├── FailedPrecondition   something on the server must be repaired first, such as a broken bundle
        ├── Busy                 the server is overloaded, or the API key's quota is used up; a later retry may work
        ├── DeadlineExceeded     no response in time
        ├── ConnectionFailed     no server at the address, or one that takes no calls
        └── InternalError        a fault of the server

Arguments of the wrong type or outside their documented values raise TypeError and ValueError.

Example:
    >>> try:
    ...     result = client.age("portrait.jpg", "60+")
    ... except NoFaceError:
    ...     print("take a photo with a face")
    ... except Busy as error:
    ...     print(f"retry in {error.retry_after} s")
"""

# ruff: noqa: N818 (named for what happened: Busy, NotFound)

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Any


class Reason(StrEnum):
    """Why a server rejects a call, or a face of it. Members equal their names: `error.reason == "QUEUE_FULL"` works, too.

    A server newer than this client may send reasons that are not listed here.
    """

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> str:
        return name

    # InvalidRequest
    IMAGE_EMPTY = auto()
    IMAGE_UNREADABLE = auto()
    IMAGE_TOO_SMALL = auto()
    IMAGE_TOO_LARGE = auto()
    IMAGE_BYTES_EXCEEDED = auto()
    NO_FACE = auto()  # NoFaceError
    FACE_NOT_FOUND = auto()
    FACE_UNUSABLE = auto()
    FACE_TOO_MANY = auto()
    TARGET_MISSING = auto()
    TARGET_TOO_MANY = auto()
    TARGET_UNSUITABLE = auto()
    AGE_OUT_OF_RANGE = auto()
    AGE_GROUP_UNKNOWN = auto()
    FILTER_UNKNOWN = auto()
    SETTING_OUT_OF_RANGE = auto()
    METHOD_UNSUITABLE = auto()
    LATENT_UNSUITABLE = auto()
    REFERENCE_MISSING = auto()
    REFERENCE_TOO_MANY = auto()
    PRESET_UNKNOWN = auto()
    LEVELS_UNSUITABLE = auto()
    # NotFound
    METHOD_UNKNOWN = auto()
    METHOD_WITHHELD = auto()
    BUNDLE_UNKNOWN = auto()
    # Unauthenticated, PermissionDenied
    API_KEY_MISSING = auto()
    API_KEY_UNKNOWN = auto()
    SCOPE_MISSING = auto()
    # FailedPrecondition
    BUNDLE_BROKEN = auto()
    # Busy, with a time to retry after
    QUEUE_FULL = auto()
    CALLS_AT_ONCE = auto()
    CALLS_PER_MINUTE = auto()
    # DeadlineExceeded, ConnectionFailed, InternalError
    DEADLINE_TOO_SHORT = auto()
    NOT_READY = auto()
    STOPPING = auto()
    INTERNAL = auto()


class DorianError(Exception):
    """Base of all errors that this package defines."""


class PhotoError(DorianError, ValueError):
    """The photo cannot be sent. The message says why, and what can be sent."""


class Cancelled(DorianError):
    """A latent search was cancelled here before it had a result."""


class ServerError(DorianError):
    """A call failed. The original grpc.RpcError, if there is one, is the `__cause__`.

    Attributes:
        code: Name of the gRPC status, such as "INVALID_ARGUMENT".
        reason: The server's reason, one of `Reason` or of a newer server's; None if it gave none.
        field: The field of the request at fault, such as "targets[1].years"; None if the server named none.
        metadata: Further details from the server, by name.
        retry_after: Seconds after which the server suggests a retry; None if it does not.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.field = field
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class InvalidRequest(ServerError):
    """The photo, a face of it or an option was rejected; a retry fails in the same way."""


class NoFaceError(InvalidRequest):
    """The photo has no face."""


class NotFound(ServerError):
    """The server does not know a name, such as a method's or a bundle's."""


class Unauthenticated(ServerError):
    """The API key is missing or unknown."""


class PermissionDenied(ServerError):
    """The API key does not allow the call; the message names the scope that it lacks."""


class FailedPrecondition(ServerError):
    """Something on the server must be repaired first, such as a broken bundle."""


class Busy(ServerError):
    """The server is overloaded, or the API key's quota is used up; a retry after `retry_after` may work.

    The client has retried already, as often as its retries and its timeout allow.
    """


class DeadlineExceeded(ServerError):
    """No response in time; or the server saw at once that there would be none, and did nothing."""


class ConnectionFailed(ServerError):
    """No server at the address, or one that takes no calls."""


class InternalError(ServerError):
    """A fault of the server."""
