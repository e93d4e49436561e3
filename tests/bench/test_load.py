"""Short runs of what is measured here, held to what must be so on any machine, however busy: every outcome known, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bench.load import fairness, memory, overload, soak
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


@pytest.mark.slow
def test_a_polite_caller_among_greedy_ones_is_served() -> None:
    plan = fairness.Plan(greedy=10, at_once=2, seconds=8)
    with fairness.keys_of(plan) as (keys_file, keys), running(("--api-keys", str(keys_file))) as server:
        report = asyncio.run(fairness.fairness(server, plan, keys))
    assert missed(report, "the polite caller", "other outcomes") == []


@pytest.mark.slow
def test_memory_is_given_back() -> None:
    report = memory.memory(memory.Plan(megapixels=(3, 12), workers=(1,)), ())
    assert [line.name for line in report.lines if line.met is False] == []
    peaks = report.figures["peaks"]["1"]
    assert peaks["3 megapixels"] < peaks["12 megapixels"]
