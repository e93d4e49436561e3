"""Learning curves: read from a run's TensorBoard events, kept as a small CSV beside a shipped checkpoint, drawn for the card."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CURVES_FILE = "curves.csv"
_MAX_POINTS = 200  # per curve

Curves = dict[str, list[tuple[int, float]]]


def read_curves(folder: Path) -> Curves:
    """Return the curves of a run or checkpoint by name, each a list of (step, value), thinned by averaging; empty if it has none."""
    table = folder / CURVES_FILE
    if table.is_file():
        return _from_csv(table)
    return {name: _thin(points) for name, points in _from_events(folder).items()}


def write_curves(path: Path, curves: Curves) -> None:
    """Write ``curves`` as CSV: name, step, value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "step", "value"))
        writer.writerows((name, step, f"{value:.5g}") for name, points in curves.items() for step, value in points)


def draw_curves(path: Path, curves: Curves) -> None:
    """Draw ``curves`` as an image at ``path``, with a panel for each network, named before the slash."""
    panels = sorted({name.partition("/")[0] for name in curves})
    figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, points in curves.items():
            if name.partition("/")[0] == panel:
                axes.plot(*zip(*points, strict=True), label=name.partition("/")[2] or name, linewidth=1)
        axes.set_title({"d": "discriminator", "e": "encoder", "g": "generator"}.get(panel, panel))
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=100)


def _from_csv(table: Path) -> Curves:
    curves: Curves = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["name"], []).append((int(row["step"]), float(row["value"])))
    return curves


def _from_events(folder: Path) -> Curves:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def _thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    width = max(1, -(-len(points) // _MAX_POINTS))
    blocks = [points[start : start + width] for start in range(0, len(points), width)]
    return [(block[-1][0], sum(value for _, value in block) / len(block)) for block in blocks]
