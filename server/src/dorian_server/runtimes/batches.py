"""Batches: crops as graphs take them, and a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.engines import MOST_ROWS
from dorian_server.runtimes.session import Array


def pictures_of(crops: Sequence[NDArray[np.uint8]]) -> Array:
    """``crops`` as the graphs take them: float32 RGB in [0, 1], (faces, 3, size, size)."""
    stacked = np.stack(crops).astype(np.float32) / 255
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def parts(rows: int, most: int = MOST_ROWS) -> Iterator[slice]:
    """Slices of at most ``most`` that cover ``rows``."""
    return (slice(start, start + most) for start in range(0, rows, most))
