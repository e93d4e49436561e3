"""Markdown tables of figures, one for each number of callers. Read the shares of the limit; the rest is as measured."""

from __future__ import annotations

from collections.abc import Sequence

from bench.serving.results import LIMIT, NETWORKS, Result, Run, Window

_HEAD = (
    "",
    "of the limit",
    "requests/s",
    "p50, ms",
    "p99, ms",
    "CPU, ms a request",
    "its callers' CPU, ms",
    "memory, MB",
    "refusals",
    "set up as",
)


def numbers_of_callers(run: Run) -> list[int]:
    return sorted({callers for result in run.results if result.name != NETWORKS for callers in result.figures})


def best(run: Run, callers: int) -> list[Result]:
    """Of each contender that was measured with so many callers, the way to set it up that served most requests, in their order."""
    actual: dict[str, Result] = {}
    for result in run.results:
        if callers not in result.figures or result.name == NETWORKS:
            continue
        expected = actual.get(result.name)
        if expected is None or result.figures[callers].rate > expected.figures[callers].rate:
            actual[result.name] = result
    return list(actual.values())


def share(results: Sequence[Result], result: Result, callers: int) -> float:
    """The rate of ``result`` as a share of the limit's among ``results``; ``nan`` without a limit."""
    limits = [peer.figures[callers].rate for peer in results if peer.name == LIMIT]
    return result.figures[callers].rate / limits[0] if limits else float("nan")


def tables(run: Run) -> str:
    """A table for each number of callers, then what else there is to know about the run."""
    parts = [_table(run, callers) for callers in numbers_of_callers(run)]
    return "\n\n".join([*parts, *_notes(run)])


def _table(run: Run, callers: int) -> str:
    results = best(run, callers)
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [_row(result, result.figures[callers], share(results, result, callers)) for result in results]
    title = "1 caller" if callers == 1 else f"{callers} callers"
    return "\n".join([f"### {title}", "", *("| " + " | ".join(row) + " |" for row in rows)])


def _row(result: Result, window: Window, part: float) -> tuple[str, ...]:
    return (
        result.name,
        f"{part:.2f}",
        f"{window.rate:.2f}",
        f"{window.p50 * 1000:.0f}",
        f"{window.p99 * 1000:.0f}",
        f"{window.cpu * 1000:.0f}",
        f"{window.client_cpu * 1000:.1f}" if window.client_cpu else "–",
        f"{window.memory / 1e6:.0f}",
        str(window.refusals),
        result.set_up,
    )


def _notes(run: Run) -> list[str]:
    alone = [result.figures[1] for result in run.results if result.name == NETWORKS and result.figures]
    notes = [f"{NETWORKS[0].upper()}{NETWORKS[1:]}, alone: {result.p50 * 1000:.0f} ms." for result in alone]
    apart = [result for result in run.results if result.difference != (0, 0)]
    notes += [
        f"The pictures of {result.name} ({result.set_up}) differ by {result.difference[0]} grey level in {result.difference[1]} pixels."
        for result in apart
    ]
    if not apart:
        notes.append("All pictures of all contenders are the same, byte for byte.")
    notes += [
        f"{result.name} ({result.set_up}) was not measured: {result.failure}"
        for result in run.results
        if result.failure
    ]
    others = [window.others for result in run.results for window in result.figures.values()]
    if others:
        notes.append(
            f"Other processes took {max(others):.0%} of the machine's cores at most, {min(others):.0%} at least."
        )
    windows = "1 round" if run.rounds == 1 else f"medians of {run.rounds} rounds"
    notes.append(f"{run.machine}; {windows} of {run.seconds:g} s.")
    return notes
