"""The errors of this package.

    DorianError
    ├── PhotoError               the photo cannot be sent; nothing has been asked of a server
    ├── Cancelled                a search was cancelled here before it had a result
    └── ServerError              what was asked has failed; has code, reason, field, metadata, retry_after
        ├── InvalidRequest       the photo, a face of it or a setting was refused; asking again gives the same answer
        │   └── NoFaceError      no face was found in the photo
        ├── NotFound             a name that the server does not know, such as a method's or a bundle's
        ├── Unauthenticated      the server wants an API key, or another one than it was given
        ├── PermissionDenied     the API key does not go with what was asked
        ├── FailedPrecondition   something on the server must be put right first, such as a bundle that is broken
        ├── Busy                 the server has too much to do, or the key has no room; asking again later may work
        ├── DeadlineExceeded     no answer in time
        ├── ConnectionFailed     no server at the address, or one that takes no calls
        └── InternalError        a fault of the server

Arguments of the wrong type or out of their documented values raise TypeError and ValueError.
"""

# ruff: noqa: N818 (they are called after what happened: Busy, NotFound)

from __future__ import annotations

from collections.abc import Mapping


class DorianError(Exception):
    """Base of all errors that this package defines."""


class PhotoError(DorianError, ValueError):
    """The photo cannot be sent. The message says what was wrong with it and what would be right."""


class Cancelled(DorianError):
    """A search was cancelled here before it had a result."""


class ServerError(DorianError):
    """What was asked has failed. The original grpc.RpcError, where there was one, is the __cause__.

    code: the name of the gRPC status, such as "INVALID_ARGUMENT".
    reason: the server's name for what happened, such as "NO_FACE"; None where it gave none.
    field: the field of the request that is to blame, such as "targets[1].years"; None where the server named none.
    metadata: what else the server says of it, by name.
    retry_after: seconds after which the server says to ask again; None where it does not.
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
    """The photo, a face of it or a setting was refused; asking again gives the same answer."""


class NoFaceError(InvalidRequest):
    """No face was found in the photo."""


class NotFound(ServerError):
    """A name that the server does not know, such as a method's or a bundle's."""


class Unauthenticated(ServerError):
    """The server wants an API key, or another one than it was given."""


class PermissionDenied(ServerError):
    """The API key does not go with what was asked; the message names the scope that it lacks."""


class FailedPrecondition(ServerError):
    """Something on the server must be put right first, such as a bundle that is broken."""


class Busy(ServerError):
    """The server has too much to do, or the key has no room for the call; asking again after retry_after may work.

    The client has done so already, as often as its retries and its timeout allow.
    """


class DeadlineExceeded(ServerError):
    """No answer in time; or the server saw at once that there would be none, and has done nothing."""


class ConnectionFailed(ServerError):
    """No server at the address, or one that takes no calls."""


class InternalError(ServerError):
    """A fault of the server."""
