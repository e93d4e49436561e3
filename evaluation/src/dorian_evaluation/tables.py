"""Markdown tables, and numbers as they stand in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTHING = "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, a line for each of ``rows``."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def share(value: float | None, digits: int = 1) -> str:
    """``value`` of 1 as a percentage."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int) -> str:
    """``value`` to so many ``digits``."""
    return NOTHING if value is None else f"{value:.{digits}f}"
