"""Log lines of what comes by the hundred, such as calls that find no room: they take time from the other calls."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

QUIET = 1.0  # seconds after a line in which others are counted, but not logged


class Throttle:
    """Says which of many alike are logged; safe to share between threads.

    Args:
        clock: Gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._next, self._skipped = -math.inf, 0

    def skipped(self) -> int | None:
        """Return how many were skipped since the last that was logged; ``None`` if this one is skipped, too."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                self._skipped += 1
                return None
            skipped, self._next, self._skipped = self._skipped, now + QUIET, 0
            return skipped
