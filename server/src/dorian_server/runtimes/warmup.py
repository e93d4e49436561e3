"""What a new session does before anybody waits for it: a first run, and others that tell how many rows it is worth to run at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from dorian_bundle.graphs import MAX_BATCH_ROWS, Array, Signature, TensorSpec
from dorian_server.runtimes.session import Session

_SIDE = 320  # pixels, of an axis that any picture fits in
_LONGEST = 0.05  # seconds of a batch, beyond which a longer one would keep others waiting
_WORTH = 1.1  # times the rows in a second that twice the rows at once must bring


def sample_inputs(signature: Signature, rows: int) -> dict[str, Array]:
    """Inputs of ``rows`` that fit ``signature``, all 0."""
    return {spec.name: np.zeros(_shape(spec, rows), dtype=np.float32) for spec in signature.inputs}


def warm(session: Session, clock: Callable[[], float] = time.perf_counter) -> int:
    """Run ``session`` as often as it takes to know how many rows to give it at once, which is returned: 1 to ``MAX_BATCH_ROWS``.

    Twice as many are taken as long as that brings more rows in a second and no batch becomes long.
    """
    session.run(sample_inputs(session.signature, 1))  # the first run allocates
    rows, seconds = 1, _seconds(session, 1, clock)
    while 2 * rows <= MAX_BATCH_ROWS and 2 * seconds <= _LONGEST:
        longer = _seconds(session, 2 * rows, clock)
        if 2 * seconds < _WORTH * longer:
            break
        rows, seconds = 2 * rows, longer
    return rows


def _seconds(session: Session, rows: int, clock: Callable[[], float]) -> float:
    """The shorter of two runs: whatever else the machine does only makes them longer."""
    inputs: Mapping[str, Array] = sample_inputs(session.signature, rows)
    taken = []
    for _ in range(2):
        begin = clock()
        session.run(inputs)
        taken.append(clock() - begin)
    return min(taken)


def _shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    return (rows, *(size if isinstance(size, int) else _SIDE for size in spec.shape[1:]))
