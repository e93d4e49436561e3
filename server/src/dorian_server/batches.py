"""Batches: crops as graphs take them, and graphs run on a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_server.sessions.session import Array, Session

MOST_ROWS = 32  # that a graph is given at once; even, so that pairs of rows stay together


def pictures_of(crops: Sequence[NDArray[np.uint8]]) -> Array:
    """``crops`` as the graphs take them: float32 RGB in [0, 1], (faces, 3, size, size)."""
    stacked = np.stack(crops).astype(np.float32) / 255
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def parts(rows: int) -> Iterator[slice]:
    """Slices of at most ``MOST_ROWS`` that cover ``rows``."""
    return (slice(start, start + MOST_ROWS) for start in range(0, rows, MOST_ROWS))


def run_in_parts(session: Session, inputs: Mapping[str, Array], output: str) -> Array:
    """``output`` of ``session`` for ``inputs``, all of as many rows."""
    rows = len(next(iter(inputs.values())))
    return np.concatenate(
        [session.run({name: values[part] for name, values in inputs.items()})[output] for part in parts(rows)]
    )
