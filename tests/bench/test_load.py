"""Short runs of what is measured here, held to what must be so on any machine, however busy: every outcome known, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bench.load import overload, soak
from bench.load.report import Report
from bench.load.server import Server, running

_QUEUES, _FAULTS = "queues' gauges afterwards", "faults in the server's log"


@pytest.fixture
def server() -> Iterator[Server]:
    with running(()) as started:
        yield started


def missed(report: Report, *names: str) -> list[str]:
    """What ``report`` requires under ``names`` and is not so."""
    lines = {line.name: line for line in report.lines}
    return [f"{name}: {lines[name].seen}, wanted {lines[name].wanted}" for name in names if not lines[name].met]


@pytest.mark.slow
def test_calls_of_all_kinds_end_as_they_may_and_leave_nothing_behind(server: Server) -> None:
    report = asyncio.run(soak.soak(server, soak.Plan(calls=300)))
    ended = ("calls that ended", "calls that ended as their kind may not", "calls begun and ended by the server")
    assert missed(report, *ended, _QUEUES, _FAULTS, "files more than before") == []


@pytest.mark.slow
def test_ten_times_the_capacity_ends_in_answers_and_refusals_alone(server: Server) -> None:
    plan = overload.Plan(seconds=5, unloaded=4, warm_up=2, capacity=3)
    report = asyncio.run(overload.overload(server, plan))
    assert missed(report, "other outcomes", _QUEUES, _FAULTS) == []
    assert report.figures["accepted"]["calls"] > 0
    assert report.figures["refused"]["calls"] > 0
