"""A shared session that tells when callers wait, so that tests need not guess."""

from __future__ import annotations

import threading
from types import TracebackType

from dorian_server.sessions.session import Session
from dorian_server.sessions.shared import SharedSession

SECONDS = 60


class Turnstile:
    """A lock that counts those who come to it, before they wait for it."""

    def __init__(self) -> None:
        self._lock, self._come = threading.Lock(), threading.Semaphore(0)

    def __enter__(self) -> None:
        self._come.release()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def await_callers(self, number: int) -> None:
        """Return when so many more have come."""
        for _ in range(number):
            assert self._come.acquire(timeout=SECONDS), "nobody has come"


class WatchedSession(SharedSession):
    """A shared session whose callers have queued when they come to its ``turnstile``."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.turnstile = self._running = Turnstile()
