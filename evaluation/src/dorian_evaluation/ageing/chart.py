"""A chart of ageing: how far faces are from their targets against how much they stay themselves, by strength."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dorian_training.errors import DataError

_DPI = 120


def chart_points(metrics: Mapping[str, Any]) -> dict[str, list[tuple[float, float, str]]]:
    """Return similarity, error in years and strength of every measurement, by method; methods without errors are left out."""
    points = {}
    for method, entry in metrics.items():
        strengths = entry["ageing"]["strengths"]
        measured = [
            (values["similarity"], values["error"], name) for name, values in strengths.items() if "error" in values
        ]
        if measured:
            points[method] = sorted(measured, key=lambda point: float(point[2]))
    return points


def draw_chart(path: Path, metrics: Mapping[str, Any]) -> None:
    """Draw what the command measured, with a line for each method.

    Args:
        path: Where to write the chart, a .png or .jpg.
        metrics: As the command writes them.

    Raises:
        DataError: No method was measured at ages, or the suffix stands for no image format.
    """
    points = chart_points(metrics)
    if not points:
        raise DataError(f"there is nothing to draw on {path}: no method was measured at ages")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for method, line in points.items():
        axes.plot([point[0] for point in line], [point[1] for point in line], marker="o", label=method, linewidth=1)
        for similarity, years, strength in line:
            axes.annotate(f" × {strength}", (similarity, years), fontsize=7)
    judge_errors = [
        values["error_real"]
        for entry in metrics.values()
        for values in entry["ageing"]["strengths"].values()
        if values.get("error_real")
    ]
    if judge_errors:
        axes.axhline(judge_errors[0], color="grey", linewidth=1, linestyle="--", label="the judge on real faces")
    axes.set_xlabel("similarity to the photo")
    axes.set_ylabel("mean error in years")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    axes.legend(fontsize=8)
    try:
        figure.savefig(path, dpi=_DPI)
    except ValueError as error:  # an unknown suffix
        raise DataError(f"{path} cannot be drawn: {error}") from error
