"""A call as its handler sees it: gRPC's context for handlers on threads, of a call that the event loop receives and answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc

Metadata = Sequence[tuple[str, str | bytes]]


class AbortError(Exception):
    """Ends a handler whose call ends with the status that the call then has."""


class Call(grpc.ServicerContext):
    """One call; its handler may use it from any thread. What it sets is sent by the event loop.

    Args:
        context: The call on the event loop. Only its facts are read, and now: it must not be asked once the call is over.
        metadata: What the caller sent beside the request.
    """

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], metadata: Metadata) -> None:
        remaining = context.time_remaining()
        self._deadline = None if remaining is None else time.monotonic() + remaining
        self._metadata, self._peer = metadata, context.peer()
        self._auth_context: Mapping[str, Iterable[bytes]] = context.auth_context()
        self.api_key_id: str | None = None  # that the call came with, if one was asked for
        self._lock, self._is_over = threading.Lock(), False
        self._callbacks: list[Callable[[], None]] = []
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._initial_metadata: Metadata = ()
        self._trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()

    def close(self) -> None:
        """Mark the call as over, and call those who wait for it."""
        with self._lock:
            self._is_over = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_active(self) -> bool:
        return not self._is_over

    def time_remaining(self) -> float | None:  # type: ignore[override]  # which the stubs forget may be None
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def cancel(self) -> bool:
        raise NotImplementedError("a handler ends its call by abort")

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if self._is_over:
                return False
            self._callbacks.append(callback)
            return True

    def invocation_metadata(self) -> Metadata:  # type: ignore[override]
        return self._metadata

    def peer(self) -> str:
        return self._peer

    def peer_identities(self) -> Iterable[bytes] | None:
        key = self.peer_identity_key()
        return None if key is None else self._auth_context.get(key)

    def peer_identity_key(self) -> str | None:
        return next(
            (key for key in ("x509_subject_alternative_name", "x509_common_name") if key in self._auth_context), None
        )

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:  # type: ignore[override]  # as gRPC's own
        return self._auth_context

    def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Set what is sent before the first message or the status."""
        self._initial_metadata = initial_metadata

    def take_initial_metadata(self) -> Metadata:
        """Return what is to be sent before the first message or the status, but only once."""
        metadata, self._initial_metadata = self._initial_metadata, ()
        return metadata

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        self._trailing_metadata = tuple(trailing_metadata)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._code, self._details = code, details
        raise AbortError

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self._trailing_metadata = tuple(status.trailing_metadata or ())
        self.abort(status.code, status.details)

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def details(self) -> str:
        return self._details
