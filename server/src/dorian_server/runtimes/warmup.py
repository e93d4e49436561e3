"""Warm-up: the first runs of a graph, which also measure how many rows are worth running at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from dorian_bundle.graphs import MAX_BATCH_ROWS, Array, Signature, TensorSpec
from dorian_server.runtimes.session import Session

_SIDE = 320  # pixels, of an axis of any length
_MAX_SECONDS = 0.05  # of a batch; a longer one would keep others waiting
_MIN_GAIN = 1.1  # in rows per second, for which a batch is doubled


def sample_inputs(signature: Signature, rows: int) -> dict[str, Array]:
    """Return inputs of ``rows`` that fit ``signature``, all 0."""
    return {spec.name: np.zeros(_shape(spec, rows), dtype=np.float32) for spec in signature.inputs}


def warm_up(session: Session, clock: Callable[[], float] = time.perf_counter) -> int:
    """Run ``session`` on batches of growing size, and return how many rows to give it at once.

    Batches are doubled while that brings more rows per second and no batch becomes long.

    Returns:
        1 to ``MAX_BATCH_ROWS``.
    """
    session.run(sample_inputs(session.signature, 1))  # the first run allocates
    rows, seconds = 1, _time(session, 1, clock)
    while 2 * rows <= MAX_BATCH_ROWS and 2 * seconds <= _MAX_SECONDS:
        doubled_seconds = _time(session, 2 * rows, clock)
        if 2 * seconds < _MIN_GAIN * doubled_seconds:
            break
        rows, seconds = 2 * rows, doubled_seconds
    return rows


def _time(session: Session, rows: int, clock: Callable[[], float]) -> float:
    """Return the shorter of two runs: whatever else the machine does only makes them longer."""
    inputs = sample_inputs(session.signature, rows)
    durations = []
    for _ in range(2):
        start = clock()
        session.run(inputs)
        durations.append(clock() - start)
    return min(durations)


def _shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    return (rows, *(size if isinstance(size, int) else _SIDE for size in spec.shape[1:]))
