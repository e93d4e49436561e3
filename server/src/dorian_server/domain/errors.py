"""The errors of this package. ``rpc/statuses.py`` holds the one table that turns them into gRPC statuses.

DorianServerError
├── StartupError            the server cannot start with these settings
├── RequestError            the call is rejected: a ``Reason``, the ``field`` at fault, and a message that says what is valid
│   └── OverloadError       there is no room for the call now; ``retry_after`` says when there may be
└── CallCancelledError      the caller has cancelled, or its deadline has passed; nobody waits for the answer
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Any


class Reason(StrEnum):
    """Why a call is rejected; documented in ``face_aging.proto`` and ``admin.proto``, with the status of each."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> str:
        return name

    # The photo and its faces.
    IMAGE_EMPTY = auto()
    IMAGE_UNREADABLE = auto()
    IMAGE_TOO_SMALL = auto()
    IMAGE_TOO_LARGE = auto()
    IMAGE_BYTES_EXCEEDED = auto()
    NO_FACE = auto()
    FACE_NOT_FOUND = auto()
    FACE_UNUSABLE = auto()
    FACE_TOO_MANY = auto()
    # What is requested of them.
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
    METHOD_UNKNOWN = auto()
    METHOD_WITHHELD = auto()
    BUNDLE_UNKNOWN = auto()
    BUNDLE_BROKEN = auto()
    # The caller.
    API_KEY_MISSING = auto()
    API_KEY_UNKNOWN = auto()
    SCOPE_MISSING = auto()
    CALLS_AT_ONCE = auto()
    CALLS_PER_MINUTE = auto()
    # The server.
    QUEUE_FULL = auto()
    DEADLINE_TOO_SHORT = auto()
    NOT_READY = auto()
    STOPPING = auto()
    INTERNAL = auto()


class DorianServerError(Exception):
    """Base of all errors raised by dorian_server."""


class StartupError(DorianServerError):
    """The server cannot start with these settings."""


class RequestError(DorianServerError):
    """A call is rejected.

    Args:
        reason: Why, as documented in the contract.
        field: The field of the request at fault, or empty if none is.
        message: What is wrong, and what would be valid.
    """

    def __init__(self, reason: Reason, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class OverloadError(RequestError):
    """There is no room for a call now.

    Args:
        reason: Which limit it meets.
        message: What fills it.
        retry_after: Seconds after which there may be room.
    """

    def __init__(self, reason: Reason, message: str, retry_after: float) -> None:
        super().__init__(reason, "", message)
        self.retry_after = retry_after


class CallCancelledError(DorianServerError):
    """The caller has cancelled, or its deadline has passed."""
