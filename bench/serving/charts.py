"""Plain charts of a run: rates as shares of the limit, and what each request costs."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.serving.report import best, numbers_of_callers, share
from bench.serving.results import LIMIT, Result, Run

_LIMIT, _OURS, _OTHERS = "#b8b8b8", "#c05a2b", "#5b7fa3"
_BUSY = 8  # callers whose costs are drawn, if they were measured


def draw_rates(run: Run, file: Path) -> None:
    """Requests a second as shares of the limit's, a panel for each number of callers."""
    numbers = numbers_of_callers(run)
    figure, panels = plt.subplots(1, len(numbers), figsize=(4 * len(numbers), 4.2), sharey=True, squeeze=False)
    for axes, callers in zip(panels[0], numbers, strict=True):
        results = best(run, callers)
        shares = [share(results, result, callers) for result in results]
        _bars(axes, results, shares, "{:.2f}")
        axes.axvline(1, color="#888888", linewidth=0.8, zorder=0)
        axes.set_title("1 caller" if callers == 1 else f"{callers} callers", fontsize=11)
        axes.set_xlabel("requests/s, as a share of the limit")
    _save(figure, file)


def draw_costs(run: Run, file: Path) -> None:
    """Slowest latencies, processor time and memory of each, with eight callers or the most there were."""
    numbers = numbers_of_callers(run)
    callers = _BUSY if _BUSY in numbers else numbers[-1]
    results = best(run, callers)
    windows = [result.figures[callers] for result in results]
    figure, (latency, processor, memory) = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True)
    _bars(latency, results, [window.p99 * 1000 for window in windows], "{:.0f}")
    latency.set_xlabel(f"p99, ms, {callers} callers")
    _bars(processor, results, [window.cpu * 1000 for window in windows], "{:.0f}")
    processor.set_xlabel("CPU, ms a request")
    _bars(memory, results, [window.memory / 1e6 for window in windows], "{:.0f}")
    memory.set_xlabel("memory, MB")
    _save(figure, file)


def _bars(axes: Axes, results: list[Result], values: list[float], form: str) -> None:
    names = [result.name for result in results]
    rendered = axes.barh(names, values, color=[_colour(name) for name in names], height=0.7)
    axes.bar_label(rendered, [form.format(value) for value in values], padding=3, fontsize=9)
    axes.set_xlim(0, max(values) * 1.2)
    axes.spines[["top", "right"]].set_visible(False)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()


def _colour(name: str) -> str:
    if name == LIMIT:
        return _LIMIT
    return _OURS if name.startswith("dorian") else _OTHERS


def _save(figure: plt.Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(file, dpi=110, facecolor="white")
    plt.close(figure)
