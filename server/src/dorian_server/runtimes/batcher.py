"""Batching: runs that arrive while a graph is busy share its next batch. No thread is added, and no timer without a delay."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dorian_bundle.graphs import MAX_BATCH_ROWS, Array, Signature
from dorian_server.domain.caller import PRIORITIES, Caller, current_caller
from dorian_server.domain.errors import CallCancelledError
from dorian_server.runtimes.session import Arrays, Session, run_in_chunks


class BatchWatch(Protocol):
    """Observes the queue and the batches of a graph."""

    def queued(self, jobs: int) -> None:
        """Observe that ``jobs`` wait now."""
        ...

    def ran(self, rows: int, waits: Sequence[float]) -> None:
        """Observe that a batch of ``rows`` begins to run, whose jobs have waited for ``waits`` seconds."""
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
    """A session that runs jobs of several threads in one batch; safe to call from several threads.

    Jobs of interactive callers go first. Jobs whose callers have cancelled are dropped before they run (``CallCancelledError``).
    A batch that fails is run again job by job, so that only a faulty job fails.

    Args:
        session: Runs the batches.
        max_rows: Rows of a batch.
        lanes: Batches that may run at once.
        delay: Seconds that a batch which is not full waits for more rows.
        watch: Observes the queue and the batches.
    """

    def __init__(
        self,
        session: Session,
        max_rows: int = MAX_BATCH_ROWS,
        lanes: int = 1,
        delay: float = 0.0,
        watch: BatchWatch | None = None,
    ) -> None:
        self.session, self.max_rows = session, max_rows
        self._delay, self._watch = delay, watch or _Unwatched()
        self._free_lanes, self._is_gathering = lanes, False  # gathering: a batch waits for more rows
        self._waiting: list[tuple[int, int, _Job]] = []  # a heap: by priority, then by arrival
        self._arrival_numbers = itertools.count()
        self._lock = threading.Lock()
        self._has_arrived = threading.Condition(self._lock)

    @property
    def signature(self) -> Signature:
        return self.session.signature

    def run(self, inputs: Arrays) -> dict[str, Array]:
        return run_in_chunks(self._run_chunk, inputs, self.max_rows)

    def _run_chunk(self, inputs: Arrays) -> dict[str, Array]:
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
        """Return whether ``job`` may run now; otherwise it waits until another has run it, or it is woken to lead the next batch."""
        with self._lock:
            if self._free_lanes and not self._is_gathering:
                self._take_lane()
                return True
            heapq.heappush(self._waiting, (PRIORITIES.index(job.caller.priority), next(self._arrival_numbers), job))
            self._watch.queued(len(self._waiting))
            self._has_arrived.notify_all()
            return False

    def _take_lane(self) -> None:
        self._free_lanes -= 1
        self._is_gathering = self._delay > 0

    def _lead(self, job: _Job) -> None:
        """Run ``job`` and the jobs that share its batch, then pass the lane on."""
        batch: Sequence[_Job] = ()
        try:
            batch = self._collect_batch(job)
            if batch:
                now = time.perf_counter()
                self._watch.ran(sum(member.rows for member in batch), [now - member.since for member in batch])
                self._run_batch(batch)
        finally:
            with self._lock:
                self._free_lanes += 1
                self._pass_lane_on()
            for member in batch:
                member.woken.set()

    def _collect_batch(self, job: _Job) -> Sequence[_Job]:
        """Take the jobs that fit into one batch with ``job`` from the queue, without those whose callers have cancelled."""
        with self._lock:
            if self._delay:
                self._gather(job)
            batch, remaining, rows, shapes = [], [], 0, job.shapes
            for entry in [(-1, -1, job), *sorted(self._waiting)]:
                other = entry[2]
                if self._drop_if_cancelled(other):
                    continue
                if rows + other.rows <= self.max_rows and other.shapes == shapes:
                    batch.append(other)
                    rows += other.rows
                else:
                    remaining.append(entry)
            self._waiting = remaining  # sorted, which is a heap too
            self._pass_lane_on()
            return batch

    def _gather(self, job: _Job) -> None:
        """Wait until there are rows for a full batch with ``job``, or the delay is over; meanwhile, jobs wait even if a lane is free."""
        self._has_arrived.wait_for(lambda: job.rows + self._matching_rows(job) >= self.max_rows, self._delay)
        self._is_gathering = False

    def _matching_rows(self, job: _Job) -> int:
        return sum(other.rows for _, _, other in self._waiting if other.shapes == job.shapes)

    def _pass_lane_on(self) -> None:
        """Wake the next job to lead a batch, if a lane is free."""
        while self._free_lanes and self._waiting and not self._is_gathering:
            job = heapq.heappop(self._waiting)[2]
            if not self._drop_if_cancelled(job):
                self._take_lane()
                job.woken.set()
                break
        self._watch.queued(len(self._waiting))

    @staticmethod
    def _drop_if_cancelled(job: _Job) -> bool:
        if not job.caller.cancelled.is_set():
            return False
        job.error = CallCancelledError()
        job.woken.set()
        return True

    def _run_batch(self, batch: Sequence[_Job]) -> None:
        try:
            _distribute(batch, self.session.run(_concatenate(batch)))
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for job in batch:
                self._run_batch([job])


def _concatenate(batch: Sequence[_Job]) -> Arrays:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in batch]) for name in batch[0].inputs}


def _distribute(batch: Sequence[_Job], outputs: Arrays) -> None:
    start = 0
    for job in batch:
        job.outputs = {name: values[start : start + job.rows] for name, values in outputs.items()}
        start += job.rows
