"""A watch on work that is stuck: in C code of a library, where nothing of ours can end it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dorian_server.domain.clock import Clock

log = logging.getLogger(__name__)

_PERIOD = 1.0  # seconds between two looks
_STUCK = 30.0  # seconds in one stage after which a request is stuck
_SEARCH = "optimise"  # a stage that takes as long as its caller likes, and notes when it is to end
_DECODE = "decode"  # the stage that reads strangers' files in libraries for them


class WorkWatch:
    """Looks every second at what requests are doing. Only its own looks count as time: none passes while the process is stopped.

    Args:
        workers: Requests that are worked on at once.
        decode_timeout: Seconds that the decoding of a photo may take.
        on_stuck: Called with whether as many requests are stuck as are worked on at once, when that changes.
        on_overdue: Called once when the decoding of a photo takes longer than it may.
    """

    def __init__(
        self, workers: int, decode_timeout: float, on_stuck: Callable[[bool], None], on_overdue: Callable[[], None]
    ) -> None:
        self._workers, self._decode_timeout = workers, decode_timeout
        self._on_stuck, self._on_overdue = on_stuck, on_overdue
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._looks: dict[
            Clock, tuple[object, int]
        ] = {}  # since when each has been in its stage, and for how many looks
        self._are_stuck, self._is_overdue = False, False

    def start(self) -> None:
        """Look until ``close`` is called, on a thread."""
        threading.Thread(target=self._look_on, name="work watch", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    @contextmanager
    def watching(self, clock: Clock) -> Iterator[None]:
        """Watch the request that ``clock`` times for the time of the context."""
        with self._lock:
            self._looks[clock] = (None, 0)
        try:
            yield
        finally:
            with self._lock:
                del self._looks[clock]

    def look(self) -> None:
        """Note for how long each request has been in its stage, and tell what that means."""
        with self._lock:
            for clock, (entered, count) in self._looks.items():
                self._looks[clock] = (clock.entered, count + 1 if clock.entered == entered else 0)
            seconds = {clock: count * _PERIOD for clock, (_, count) in self._looks.items() if clock.stage_name}
        stuck = sum(clock.stage_name != _SEARCH and spent >= _STUCK for clock, spent in seconds.items())
        if (stuck >= self._workers) != self._are_stuck:
            self._are_stuck = not self._are_stuck
            log.error("all workers are stuck" if self._are_stuck else "the workers are no longer stuck")
            self._on_stuck(self._are_stuck)
        limit = self._decode_timeout
        if not self._is_overdue and any(
            clock.stage_name == _DECODE and spent >= limit for clock, spent in seconds.items()
        ):
            self._is_overdue = True
            log.error("the decoding of a photo takes longer than %g s, and cannot be ended alone", limit)
            self._on_overdue()

    def _look_on(self) -> None:
        while not self._closed.wait(_PERIOD):
            self.look()
