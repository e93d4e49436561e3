"""What a batcher tells of its queue, so that tests need not guess when somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence

SECONDS = 60


class RecordedQueue:
    """Jobs that are ``waiting`` now, and each batch that was run: its ``rows``, and how long its jobs have waited."""

    def __init__(self) -> None:
        self.waiting = 0
        self.rows: list[int] = []
        self.waits: list[list[float]] = []
        self._changed = threading.Condition()

    def queued(self, jobs: int) -> None:
        with self._changed:
            self.waiting = jobs
            self._changed.notify_all()

    def ran(self, rows: int, waits: Sequence[float]) -> None:
        with self._changed:
            self.rows.append(rows)
            self.waits.append(list(waits))

    def await_waiting(self, jobs: int) -> None:
        """Return when so many jobs wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.waiting == jobs, SECONDS), f"{self.waiting} wait, not {jobs}"
