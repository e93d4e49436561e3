"""A graph's batcher: whoever comes while the graph is busy is in its next batch; no thread of its own, and no timer unless asked for."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dorian_bundle.graphs import MAX_BATCH_ROWS, Array, Signature
from dorian_server.domain.caller import PRIORITIES, Caller, current_caller
from dorian_server.domain.errors import CallCancelledError
from dorian_server.runtimes.in_parts import run_in_parts
from dorian_server.runtimes.session import Session

Arrays = Mapping[str, Array]


class BatchWatch(Protocol):
    """Hears of a graph's queue and its batches."""

    def queued(self, jobs: int) -> None:
        """So many jobs wait now."""
        ...

    def ran(self, rows: int, waits: Sequence[float]) -> None:
        """A batch of ``rows`` begins to run; each of its jobs has waited so many seconds."""
        ...


class _Unwatched:
    def queued(self, jobs: int) -> None: ...

    def ran(self, rows: int, waits: Sequence[float]) -> None: ...


@dataclass
class _Job:
    inputs: Arrays
    rows: int
    caller: Caller
    since: float
    woken: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, Array] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [values.shape[1:] for values in self.inputs.values()]


class Batcher:
    """``session``, run on the rows of all that wait, ``most_rows`` at once; safe to call from several threads.

    ``lanes``: runs at a time. ``delay``: seconds that a batch which is not full waits for company. Interactive callers go first. Those that have left are
    dropped before they are run (``CallCancelledError``). A batch that fails is run again job by job, so that a bad one fails alone.
    """

    def __init__(
        self,
        session: Session,
        most_rows: int = MAX_BATCH_ROWS,
        lanes: int = 1,
        delay: float = 0.0,
        watch: BatchWatch | None = None,
    ) -> None:
        self.session, self.most_rows = session, most_rows
        self._delay, self._watch = delay, watch or _Unwatched()
        self._free, self._gathering = lanes, False  # lanes, and whether a batch waits for company
        self._waiting: list[tuple[int, int, _Job]] = []  # a heap: by priority, then first come, first served
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)

    @property
    def signature(self) -> Signature:
        return self.session.signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return run_in_parts(self._run, inputs, self.most_rows)

    def _run(self, inputs: Arrays) -> dict[str, Array]:
        job = _Job(inputs, len(next(iter(inputs.values()))), current_caller(), time.perf_counter())
        if job.caller.cancelled.is_set():
            raise CallCancelledError
        if not self._may_lead(job):
            job.woken.wait()
        if not job.done:
            self._lead(job)
        if job.error is not None:
            raise job.error
        assert job.outputs is not None
        return job.outputs

    def _may_lead(self, job: _Job) -> bool:
        """Whether ``job`` may run now; else it waits, until it is done by another or is woken to lead the next batch."""
        with self._lock:
            if self._free and not self._gathering:
                self._take_lane()
                return True
            heapq.heappush(self._waiting, (PRIORITIES.index(job.caller.priority), next(self._numbers), job))
            self._watch.queued(len(self._waiting))
            self._arrived.notify_all()
            return False

    def _take_lane(self) -> None:
        self._free -= 1
        self._gathering = self._delay > 0

    def _lead(self, job: _Job) -> None:
        """Run ``job`` and those that go with it, then hand the lane on."""
        batch: Sequence[_Job] = ()
        try:
            batch = self._batch_of(job)
            if batch:
                now = time.perf_counter()
                self._watch.ran(sum(each.rows for each in batch), [now - each.since for each in batch])
                self._run_batch(batch)
        finally:
            with self._lock:
                self._free += 1
                self._hand_on()
            for each in batch:
                each.woken.set()

    def _batch_of(self, job: _Job) -> Sequence[_Job]:
        """``job`` and those that wait and fit into one batch with it, taken from the queue, but for those whose callers have left."""
        with self._lock:
            if self._delay:
                self._gather(job)
            taken, left, rows, shapes = [], [], 0, job.shapes
            for entry in [(-1, -1, job), *sorted(self._waiting)]:
                other = entry[2]
                if self._dropped(other):
                    continue
                if rows + other.rows <= self.most_rows and other.shapes == shapes:
                    taken.append(other)
                    rows += other.rows
                else:
                    left.append(entry)
            self._waiting = left  # sorted, which is a heap too
            self._hand_on()
            return taken

    def _gather(self, job: _Job) -> None:
        """Wait until ``job`` has company for a full batch, or the delay is over. Who comes meanwhile waits, though a lane be free."""
        self._arrived.wait_for(lambda: job.rows + self._rows_like(job) >= self.most_rows, self._delay)
        self._gathering = False

    def _rows_like(self, job: _Job) -> int:
        return sum(other.rows for _, _, other in self._waiting if other.shapes == job.shapes)

    def _hand_on(self) -> None:
        """Wake the next to lead, if a lane is free for it."""
        while self._free and self._waiting and not self._gathering:
            job = heapq.heappop(self._waiting)[2]
            if not self._dropped(job):
                self._take_lane()
                job.woken.set()
                break
        self._watch.queued(len(self._waiting))

    @staticmethod
    def _dropped(job: _Job) -> bool:
        if not job.caller.cancelled.is_set():
            return False
        job.error = CallCancelledError()
        job.woken.set()
        return True

    def _run_batch(self, batch: Sequence[_Job]) -> None:
        try:
            _hand_out(batch, self.session.run(_joined(batch)))
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for job in batch:
                self._run_batch([job])


def _joined(batch: Sequence[_Job]) -> Arrays:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in batch]) for name in batch[0].inputs}


def _hand_out(batch: Sequence[_Job], outputs: Arrays) -> None:
    start = 0
    for job in batch:
        job.outputs = {name: values[start : start + job.rows] for name, values in outputs.items()}
        start += job.rows
