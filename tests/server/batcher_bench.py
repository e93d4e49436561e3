"""Batchers of a graph whose answers are known and whose runs can be held back, so that tests need not guess who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.families.cyclegan import cyclegan_signature
from dorian_bundle.graphs import MAX_BATCH_ROWS, Signature
from dorian_server.domain.caller import Caller, working_for
from dorian_server.runtimes.batcher import Batcher
from tests.server.recorded_queue import SECONDS, RecordedQueue

Floats = NDArray[np.float32]
Arrays = Mapping[str, Floats]
Answer = Future[dict[str, Floats]]


class Doubler:
    """Gives twice what it is given, and each row's number in its batch; refuses negative rows. It notes its batches.

    Unless it is ``open``, a run waits until it is let through.
    """

    signature: Signature = cyclegan_signature(64)

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.at_once, self.most_at_once = 0, 0
        self.open, self._passes = True, 0
        self._changed = threading.Condition()

    def run(self, inputs: Arrays) -> dict[str, Floats]:
        rows = inputs["row"]
        with self._changed:
            self.batches.append(rows[:, 0].tolist())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.open or self._passes > 0, SECONDS)
            self._passes -= not self.open
        try:
            assert len(inputs["again"]) == len(rows)
            if (rows < 0).any():
                raise ValueError(f"{rows.min():g} is negative")
            return {"twice": rows + inputs["again"], "place": np.arange(len(rows), dtype=np.float32)}
        finally:
            with self._changed:
                self.at_once -= 1

    def let(self, runs: int) -> None:
        """Let so many runs through."""
        with self._changed:
            self._passes += runs
            self._changed.notify_all()

    def let_all(self) -> None:
        with self._changed:
            self.open = True
            self._changed.notify_all()

    def await_runs(self, number: int) -> None:
        """Return when so many runs have begun, of all that there were."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.batches) >= number, SECONDS), f"{len(self.batches)} ran"


class Bench:
    """A batcher of a ``Doubler`` whose first runs are held back, so that others come to wait; ``release`` lets all go on."""

    def __init__(
        self, pool: ThreadPoolExecutor, lanes: int = 1, max_rows: int = MAX_BATCH_ROWS, delay: float = 0
    ) -> None:
        self.graph, self.queue, self.lanes = Doubler(), RecordedQueue(), lanes
        self.graph.open = False
        self.batcher = Batcher(self.graph, max_rows, lanes, delay, self.queue)
        self._pool = pool

    def submit(self, inputs: Arrays, caller: Caller | None = None) -> Answer:
        """A run of ``inputs`` on a thread of its own."""

        def run() -> dict[str, Floats]:
            with working_for(caller or Caller()):
                return self.batcher.run(inputs)

        return self._pool.submit(run)

    def send(self, *rows: float, caller: Caller | None = None) -> Answer:
        """As ``submit``, of ``rows``; returns when it runs, or waits after all that were sent before."""
        begun, waiting = len(self.graph.batches), self.queue.waiting
        answer = self.submit(of(*rows), caller)
        if begun < self.lanes:
            self.graph.await_runs(begun + 1)
        else:
            self.queue.await_waiting(waiting + 1)
        return answer

    def release(self) -> None:
        self.graph.let_all()


MakeBench = Callable[..., Bench]


def of(*rows: float, width: int = 1) -> Arrays:
    given = np.repeat(np.array(rows, np.float32)[:, None], width, axis=1)
    return {"row": given, "again": given.copy()}


def answered(answer: Answer) -> list[float]:
    return answer.result(SECONDS)["twice"][:, 0].tolist()


def sized(*rows: int) -> list[list[float]]:
    """Jobs of so many rows each, of which no two are alike."""
    ends = np.cumsum(rows)
    return [list(map(float, range(end - number, end))) for number, end in zip(rows, ends, strict=True)]
