"""Thousands of calls of all kinds, valid, rejected and abandoned: each must end as its kind may, and leave nothing behind.

The calls, their order and all about them follow from one seed; only how they meet at the server is left to chance. Calm stretches, with
one caller for each worker, alternate with busy ones, in which some are refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import click

from bench.load import kinds
from bench.load.abandoned_kinds import abandoned_kinds
from bench.load.calls import OK, Done, close_all, connect_all, timed
from bench.load.kinds import Kind, good_kinds
from bench.load.loops import milliseconds, quantile
from bench.load.overload import gauges
from bench.load.rejected_kinds import rejected_kinds
from bench.load.report import Report
from bench.load.server import Server
from bench.load.watch import QUEUES, Sample, Watch, median_rss
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

_WARM = 0.1  # share of the calls after which memory may not grow
_GROWTH = 1.05
_QUIET = 15.0  # seconds at most until all is as it was
_CHANNELS = 8
_MORE_FILES, _MORE_THREADS = 4, 8
_LAST_WITHIN = 1.0
_SHOWN = 10  # strange outcomes
_PROGRESS = 1000  # calls
_STRETCH, _PAUSE = 5.0, 0.05  # seconds


@dataclass(frozen=True)
class Plan:
    """``calls`` of all kinds from ``at_once`` callers when it is busy (0: two for each worker), drawn by ``seed``."""

    calls: int = 20_000
    seed: int = 1
    at_once: int = 0
    trace: Path | None = None


@dataclass
class Course:
    """What has become of the calls so far, by kind."""

    ended: dict[str, list[Done]]
    strange: list[str]
    warm_at: float = 0.0

    @property
    def count(self) -> int:
        return sum(map(len, self.ended.values()))


@cache
def _kinds() -> list[Kind]:
    return [*good_kinds(), *rejected_kinds(), *abandoned_kinds()]


async def soak(server: Server, plan: Plan) -> Report:
    last_call = _kinds()[0]
    watch, course = Watch(server), Course(defaultdict(list), [])
    channels = connect_all(server.address, _CHANNELS)
    servers = [kinds.Server(FaceAgingStub(channel), server.address) for channel in channels]
    await asyncio.gather(*(last_call.make(target, Random(0)) for target in servers))
    fresh, begin = await watch.sample(), time.perf_counter()
    async with watch.each():
        await _send_all(server, plan, servers, course)
    end = time.perf_counter()
    quiet = await _when_quiet(watch, fresh)
    last = await timed(lambda: last_call.make(servers[0], Random(0)))
    await close_all(channels)
    report = Report(f"soak: {plan.calls} calls of {len(_kinds())} kinds, seed {plan.seed}")
    _judge_calls(report, plan, course, end - begin)
    _judge_rest(report, server, fresh, quiet, last)
    _judge_memory(report, watch, course, end)
    if plan.trace:
        _write_trace(plan.trace, watch, begin)
    return report


def _drawn(plan: Plan) -> Iterator[tuple[Kind, Random]]:
    """All calls, each with the chances of its own."""
    selected = Random(plan.seed).choices(_kinds(), [kind.often for kind in _kinds()], k=plan.calls)
    for number, kind in enumerate(selected):
        yield kind, Random(f"{plan.seed} {number}")


async def _send_all(server: Server, plan: Plan, servers: Sequence[kinds.Server], course: Course) -> None:
    calls, workers = _drawn(plan), server.flags.at_once

    async def caller(number: int, target: kinds.Server) -> None:
        for kind, choice in calls:  # shared by all callers
            while number >= workers and _calm():
                await asyncio.sleep(_PAUSE)
            done = await timed(lambda kind=kind, choice=choice: kind.make(target, choice))
            course.ended[kind.name].append(done)
            if done.outcome not in kind.allowed:
                course.strange.append(f"{kind.name}: {done.outcome} after {done.seconds:.2f} s")
            if course.count >= _WARM * plan.calls and not course.warm_at:
                course.warm_at = time.perf_counter()
            if course.count % _PROGRESS == 0:
                click.echo(f"{course.count} calls", err=True)

    count = plan.at_once or 2 * workers
    await asyncio.gather(*(caller(number, servers[number % len(servers)]) for number in range(count)))


def _calm() -> bool:
    return int(time.perf_counter() / _STRETCH) % 2 == 0


async def _when_quiet(watch: Watch, fresh: Sample) -> Sample:
    """A sample of when nothing is at work any more and all connections are closed, or of when that takes too long."""
    end = time.perf_counter() + _QUIET
    while True:
        sample = await watch.sample()
        idle = not any(sample.sum(name) for name in QUEUES) and not open_calls(sample)
        if (idle and sample.files <= fresh.files + _MORE_FILES) or time.perf_counter() > end:
            return sample
        await asyncio.sleep(0.5)


def open_calls(sample: Sample) -> float:
    """Calls that the server has begun and not ended."""
    return sample.sum("grpc_server_started_total") - sample.sum("grpc_server_handled_total")


def _judge_calls(report: Report, plan: Plan, course: Course, seconds: float) -> None:
    for kind in _kinds():
        done = course.ended[kind.name]
        counted = Counter(each.outcome for each in done)
        message = ", ".join(f"{count} {word}" for word, count in counted.most_common())
        slow = quantile(sorted(each.seconds for each in done), 0.99)
        report.tell(kind.name, f"{message}; p99 {milliseconds(slow)}" if done else "none")
        report.figures[kind.name] = dict(counted)
    report.tell("calls per second", f"{plan.calls / seconds:.1f}, for {seconds:.0f} s")
    report.require("calls that ended", course.count, f"{plan.calls}", course.count == plan.calls)
    report.require("calls that ended as their kind may not", len(course.strange), "0", not course.strange)
    for strange in course.strange[:_SHOWN]:
        report.tell("", strange)
    report.figures |= {"strange": course.strange, "seconds": seconds}


def _judge_rest(report: Report, server: Server, fresh: Sample, quiet: Sample, last: Done) -> None:
    report.require("queues' gauges afterwards", gauges(quiet), "0", not any(quiet.sum(name) for name in QUEUES))
    started = quiet.sum("grpc_server_started_total")
    report.require(
        "calls begun and ended by the server",
        f"{started:.0f}, {started - open_calls(quiet):.0f}",
        "as many",
        not open_calls(quiet),
    )
    good = last.outcome == OK and last.seconds <= _LAST_WITHIN
    report.require("a last call", f"{last.outcome} in {last.seconds:.2f} s", f"OK within {_LAST_WITHIN:g} s", good)
    more = quiet.files - fresh.files
    report.require("files more than before", more, f"<= {_MORE_FILES}", more <= _MORE_FILES)
    report.require("faults in the server's log", len(server.faults()), "0", not server.faults())


def _judge_memory(report: Report, watch: Watch, course: Course, end: float) -> None:
    span = end - course.warm_at
    first = watch.between(course.warm_at, course.warm_at + span / 9)
    last = watch.between(end - span / 9, end)
    if not first or not last:
        report.tell("RSS", "too short to tell")
        return
    growth = median_rss(last) / median_rss(first)
    message = f"{median_rss(first):.0f}, {median_rss(last):.0f} MiB: {growth - 1:+.1%}"
    report.require("RSS after warm-up and at the end", message, f"< {_GROWTH - 1:+.0%}", growth < _GROWTH)
    before, after = (max(each.threads for each in part) for part in (first, last))
    report.require(
        "threads after warm-up and at the end",
        f"{before}, {after}",
        f"<= {_MORE_THREADS} more",
        after <= before + _MORE_THREADS,
    )
    report.figures |= {"rss_growth": growth, "threads": [before, after]}


def _write_trace(file: Path, watch: Watch, begin: float) -> None:
    rows = [f"{each.at - begin:.1f},{each.rss},{each.threads},{each.files}" for each in watch.samples]
    file.write_text("\n".join(["seconds,rss,threads,files", *rows]) + "\n")
