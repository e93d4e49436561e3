"""A chart of ageing: how far faces land from the ages asked for against how much they stay themselves, by strength."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dorian_training.errors import DataError

_DPI = 120


def chart_points(figures: Mapping[str, Any]) -> dict[str, list[tuple[float, float, str]]]:
    """Similarity, error in years and strength of every measurement in ``figures``, by method; methods without errors have none."""
    points = {}
    for method, found in figures.items():
        strengths = found["ageing"]["strengths"]
        every = [(its["similarity"], its["error"], name) for name, its in strengths.items() if "error" in its]
        if every:
            points[method] = sorted(every, key=lambda point: float(point[2]))
    return points


def draw_chart(path: Path, figures: Mapping[str, Any]) -> None:
    """Draws ``figures``, as the command writes them, at ``path`` (.png or .jpg), a line for each method.

    ``DataError`` if no method was asked for ages, or if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError("a chart needs matplotlib: pip install matplotlib") from error
    points = chart_points(figures)
    if not points:
        raise DataError(f"there is nothing to draw on {path}: no method was asked for ages")
    drawing = Figure(figsize=(6, 4), layout="constrained")
    axes = drawing.subplots()
    for method, line in points.items():
        axes.plot([point[0] for point in line], [point[1] for point in line], marker="o", label=method, linewidth=1)
        for similarity, years, strength in line:
            axes.annotate(f" × {strength}", (similarity, years), fontsize=7)
    own = [
        its["error_real"]
        for found in figures.values()
        for its in found["ageing"]["strengths"].values()
        if its.get("error_real")
    ]
    if own:
        axes.axhline(own[0], color="grey", linewidth=1, linestyle="--", label="the judge on real faces")
    axes.set_xlabel("similarity to the photo")
    axes.set_ylabel("mean error in years")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    axes.legend(fontsize=8)
    try:
        drawing.savefig(path, dpi=_DPI)
    except ValueError as error:  # a suffix that it does not know
        raise DataError(f"{path} cannot be drawn: {error}") from error
