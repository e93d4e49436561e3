"""Batches: a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from dorian_bundle.graphs import MAX_BATCH_ROWS


def parts(rows: int, most: int = MAX_BATCH_ROWS) -> Iterator[slice]:
    """Slices of at most ``most`` that cover ``rows``."""
    return (slice(start, start + most) for start in range(0, rows, most))
