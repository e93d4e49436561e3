"""Batches: a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from dorian_bundle.engines import MOST_ROWS


def parts(rows: int, most: int = MOST_ROWS) -> Iterator[slice]:
    """Slices of at most ``most`` that cover ``rows``."""
    return (slice(start, start + most) for start in range(0, rows, most))
