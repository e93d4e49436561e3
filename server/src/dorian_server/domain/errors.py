"""The errors of this package. ``statuses.py`` holds the one table that turns them into gRPC statuses.

DorianServerError
├── StartupError            the server cannot start as it was told to
├── RequestError            the request is to blame: ``reason``, ``field``, and words that say what would be right
│   ├── UnknownMethodError  the bundle lacks the method that was asked for
│   ├── CredentialError     the caller does not say, or prove, who it is
│   ├── ScopeError          the caller may not do this
│   ├── UnknownBundleError  the server has no bundle of the name that was asked for
│   ├── OverloadError       there is no room for it now; ``retry_after`` says when to come again
│   ├── DeadlineError       its deadline leaves less time than it takes at best
│   ├── UnavailableError    this server takes no calls now; another may
│   └── BrokenBundleError   the bundle that was to be served cannot be
└── CallerLeftError         the caller has cancelled, or waits no longer; there is nobody to answer
"""

from __future__ import annotations

from collections.abc import Sequence


class DorianServerError(Exception):
    """Base of all errors raised by dorian_server."""


class StartupError(DorianServerError):
    """The server cannot start as it was told to."""


class RequestError(DorianServerError):
    """The request is to blame. ``reason`` is one of those listed in the proto; ``field`` the request's field at fault."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class UnknownMethodError(RequestError):
    """The bundle lacks the method that was asked for."""

    def __init__(self, name: str, known: list[str]) -> None:
        words = f"the bundle has no method {name!r}; it has {', '.join(known)}"
        super().__init__("METHOD_UNKNOWN", "method", words)


class CredentialError(RequestError):
    """The caller does not say, or prove, who it is."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, "", message)


class ScopeError(RequestError):
    """The caller is known, but may not do what it asks for."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, "", message)


class OverloadError(RequestError):
    """There is no room for the call now. ``retry_after``: seconds after which there may be."""

    def __init__(self, reason: str, message: str, retry_after: float) -> None:
        super().__init__(reason, "", message)
        self.retry_after = retry_after


class UnknownBundleError(RequestError):
    """The server has no bundle of the name that was asked for."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__("BUNDLE_UNKNOWN", "bundle", f"there is no bundle {name!r} here, but {', '.join(known)}")


class DeadlineError(RequestError):
    """The call's deadline leaves ``left`` seconds, and ``least`` is what it takes at best."""

    def __init__(self, left: float, least: float) -> None:
        words = f"the deadline leaves {max(left, 0):.2f} s, but calls like this have taken {least:.2f} s at least; allow more"
        super().__init__("DEADLINE_TOO_SHORT", "", words)


class UnavailableError(RequestError):
    """This server takes no calls now; another may."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, "", message)


class BrokenBundleError(RequestError):
    """A bundle that was to be served cannot be."""

    def __init__(self, message: str) -> None:
        super().__init__("BUNDLE_BROKEN", "bundle", message)


class CallerLeftError(DorianServerError):
    """The caller has cancelled, or its deadline has passed."""
