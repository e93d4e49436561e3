"""How much each caller may ask for: calls at once, and calls in a minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dorian_server.domain.errors import OverloadError, Reason

_MINUTE = 60.0
_SOON = 1.0  # seconds; when a running call ends is not known


class Quotas:
    """Counts the calls of each caller. Threads may share one. ``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._begun: dict[str, deque[float]] = {}
        self._swept = clock()

    @contextmanager
    def counted(self, caller: str, at_once: int | None, per_minute: int | None) -> Iterator[None]:
        """A call of ``caller``, counted for the time of the context; limits are none where they are ``None``.

        ``OverloadError`` if there is no room for it; it is not counted then.
        """
        self._begin(caller, at_once, per_minute)
        try:
            yield
        finally:
            with self._lock:
                self._running[caller] -= 1
                if not self._running[caller]:
                    del self._running[caller]

    def _begin(self, caller: str, at_once: int | None, per_minute: int | None) -> None:
        with self._lock:
            running = self._running.get(caller, 0)
            if at_once is not None and running >= at_once:
                words = f"the caller has {running} calls under way; it may have {at_once} at once"
                raise OverloadError(Reason.CALLS_AT_ONCE, words, _SOON)
            if per_minute is not None:
                self._begin_in_minute(caller, per_minute)
            self._running[caller] = running + 1

    def _begin_in_minute(self, caller: str, limit: int) -> None:
        now = self._clock()
        self._sweep(now)
        begun = self._begun.setdefault(caller, deque())
        while begun and begun[0] <= now - _MINUTE:
            begun.popleft()
        if len(begun) >= limit:
            # A limit that was lowered may wait for more than the oldest.
            retry_after = begun[len(begun) - limit] + _MINUTE - now
            raise OverloadError(Reason.CALLS_PER_MINUTE, f"the caller may begin {limit} calls in a minute", retry_after)
        begun.append(now)

    def _sweep(self, now: float) -> None:
        """Forget, once a minute, those who have not called for as long."""
        if now < self._swept + _MINUTE:
            return
        self._swept = now
        self._begun = {caller: begun for caller, begun in self._begun.items() if begun and begun[-1] > now - _MINUTE}
