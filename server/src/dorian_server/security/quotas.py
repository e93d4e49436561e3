"""How much each key may ask for: calls at once, and calls in a minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from dorian_server.errors import OverloadError
from dorian_server.security.keys import ApiKey

_MINUTE = 60.0
_SOON = 1.0  # seconds; when a running call ends is not known


class Quotas:
    """Counts the calls of each key. Threads may share one. ``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._begun: dict[str, deque[float]] = {}

    def begin(self, key: ApiKey) -> None:
        """Count a call, which ``end`` must follow. ``OverloadError`` if the key has no room for it; it is not counted then."""
        with self._lock:
            running = self._running.get(key.id, 0)
            if key.calls_at_once is not None and running >= key.calls_at_once:
                words = f"the key has {running} calls under way; it may have {key.calls_at_once} at once"
                raise OverloadError("KEY_CALLS_AT_ONCE", words, _SOON)
            if key.calls_per_minute is not None:
                self._begin_in_minute(key.id, key.calls_per_minute)
            self._running[key.id] = running + 1

    def end(self, key: ApiKey) -> None:
        """A call that ``begin`` counted is over."""
        with self._lock:
            self._running[key.id] -= 1

    def _begin_in_minute(self, id: str, limit: int) -> None:
        now = self._clock()
        begun = self._begun.setdefault(id, deque())
        while begun and begun[0] <= now - _MINUTE:
            begun.popleft()
        if len(begun) >= limit:
            # A limit that was lowered may wait for more than the oldest.
            retry_after = begun[len(begun) - limit] + _MINUTE - now
            raise OverloadError("KEY_CALLS_PER_MINUTE", f"the key may begin {limit} calls in a minute", retry_after)
        begun.append(now)
