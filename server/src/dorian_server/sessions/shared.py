"""Concurrent runs of one graph, joined: whoever comes while the graph runs is in its next batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.graphs import Signature
from dorian_server.batches import MOST_ROWS
from dorian_server.sessions.session import Array, Session

Arrays = Mapping[str, Array]


@dataclass
class _Job:
    inputs: Arrays
    rows: int
    outputs: dict[str, Array] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None


class SharedSession:
    """``session``, run by one caller at a time, on the rows of all that wait; no timer holds anybody back.

    A batch that fails is run again job by job, so that a bad one fails alone.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: list[_Job] = []
        self._lock, self._running = threading.Lock(), threading.Lock()

    @property
    def signature(self) -> Signature:
        return self._session.signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        job = _Job(inputs, len(next(iter(inputs.values()))))
        with self._lock:
            self._waiting.append(job)
        with self._running:
            while not job.done:  # else it was in the batch of whoever ran before
                self._run_next()
        if job.error is not None:
            raise job.error
        assert job.outputs is not None
        return job.outputs

    def _run_next(self) -> None:
        """Run the first of those that wait, and those after it as long as there is room."""
        with self._lock:
            batch = [self._waiting.pop(0)]
            rows = batch[0].rows
            while self._waiting and rows + self._waiting[0].rows <= MOST_ROWS:
                batch.append(self._waiting.pop(0))
                rows += batch[-1].rows
        try:
            _hand_out(batch, self._session.run(_joined(batch)))
        except Exception:
            for job in batch:
                try:
                    job.outputs = self._session.run(job.inputs)
                except Exception as error:
                    job.error = error


def _joined(batch: Sequence[_Job]) -> Arrays:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in batch]) for name in batch[0].inputs}


def _hand_out(batch: Sequence[_Job], outputs: Arrays) -> None:
    start = 0
    for job in batch:
        job.outputs = {name: values[start : start + job.rows] for name, values in outputs.items()}
        start += job.rows
