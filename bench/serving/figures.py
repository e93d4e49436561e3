"""Figures of what callers measured: percentiles of a window, medians of several windows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import fields

from bench.serving.results import Window


def percentile(values: Iterable[float], share: float) -> float:
    """The least of ``values`` that at least ``share`` of them do not exceed (the nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_window(windows: Sequence[Window]) -> Window:
    """Each figure's median; requests and refusals are whole numbers, rounded down."""
    medians = {
        field.name: statistics.median(getattr(window, field.name) for window in windows) for field in fields(Window)
    }
    return Window(**medians | {name: int(medians[name]) for name in ("requests", "refusals")})
