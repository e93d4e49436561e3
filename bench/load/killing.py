"""Stops servers, and kills server processes, while they are called."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from bench.load.calls import FULL, OK, PATIENCE, Done, ageing, close_all, connect, connect_all, outcome, timed
from bench.load.kinds import optimize_request, read_all
from bench.load.loops import closed, outcomes, unknown, until
from bench.load.report import Report
from bench.load.server import Server, children
from bench.load.watch import read_metrics
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

_RACE = 0.05  # seconds before the signal, in which a call may be on its way and not yet there
_BEYOND = 2.0  # seconds that the process may take beyond its grace
_LONG_SEARCH = 500  # steps
_BACK_WITHIN = 10.0
_LONGEST_GAP = 2.0
_UNREACHED, _NOT_READY, _STOPPING = "UNAVAILABLE", "NOT_READY", "STOPPING"


@dataclass(frozen=True)
class Plan:
    """``seconds`` of load before the signal, and after it where the server stays."""

    seconds: float = 10.0


async def terminate(server: Server, plan: Plan) -> Report:
    """SIGTERM, with twice as many callers as workers, each until its first call that finds no server."""
    channels = connect_all(server.address, 2 * server.flags.at_once)
    callers = asyncio.create_task(until([ageing(channel) for channel in channels], _no_server))
    await asyncio.sleep(plan.seconds)
    signalled = time.perf_counter()
    server.signal(signal.SIGTERM)
    status = await asyncio.to_thread(_wait, server, server.flags.grace + _BEYOND)
    took = time.perf_counter() - signalled
    done = await callers
    await close_all(channels)
    report = Report("SIGTERM under load")
    before = [item for item in done if item.sent < signalled - _RACE]
    under_way = [item for item in before if item.ended > signalled]
    _require_outcomes(report, "calls answered before", [item for item in before if item.ended <= signalled], OK, FULL)
    _require_outcomes(report, "calls under way at the signal", under_way, OK, FULL)
    after = [item for item in done if item.sent >= signalled - _RACE]
    _require_outcomes(report, "calls after it", after, OK, FULL, _UNREACHED, _STOPPING, _NOT_READY)
    _require_exit(report, status, took, server.flags.grace)
    return report


async def terminate_search(server: Server) -> Report:
    """SIGTERM in the midst of a search that would take longer than the grace."""
    async with connect(server.address) as channel:
        request = optimize_request(_LONG_SEARCH)
        request.search.optimizer = pb.OPTIMIZER_ADAM  # it takes all steps
        call = FaceAgingStub(channel).Optimize(request, timeout=PATIENCE)
        await call.read()
        signalled = time.perf_counter()
        server.signal(signal.SIGTERM)
        ended = asyncio.create_task(timed(lambda: outcome(read_all(call))))
        status = await asyncio.to_thread(_wait, server, server.flags.grace + _BEYOND)
        took = time.perf_counter() - signalled
        done = await ended
    report = Report(f"SIGTERM in a search of {_LONG_SEARCH} steps, with {server.flags.grace:g} s of grace")
    _require_outcomes(report, "the search", [done], OK, _UNREACHED, "CANCELLED")
    _require_exit(report, status, took, server.flags.grace)
    return report


async def kill_one(server: Server, plan: Plan) -> Report:
    """SIGKILL for one of several processes, with twice as many callers as workers, who never give up."""
    channels = connect_all(server.address, 2 * server.flags.at_once)
    sends = [ageing(channel) for channel in channels]
    callers = asyncio.create_task(closed(sends, 2 * plan.seconds))
    await asyncio.sleep(plan.seconds)
    victim, there = server.ids[0], set(server.ids)
    killed = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    back = await _back_after(server, there)
    done = await callers
    await close_all(channels)
    report = Report(f"SIGKILL of one of {server.flags.processes} processes under load")
    failed = [item for item in done if item.outcome not in (OK, FULL)]
    torn = [item for item in failed if item.sent <= killed]
    report.tell("all calls", outcomes(done))
    _require_outcomes(
        report, "calls under way at the signal", [e for e in done if e.sent <= killed < e.ended], OK, FULL, _UNREACHED
    )
    report.require("… of them lost", len(torn), f"<= {len(sends)} callers", len(torn) <= len(sends))
    refused = [item for item in failed if item.sent > killed]
    strange = unknown(refused, (_UNREACHED, _NOT_READY))
    report.tell("calls after it that found no server", len(refused))
    report.require("other outcomes after it", strange or "none", "none", not strange)
    gap = longest_gap([item.ended for item in done if item.outcome == OK], killed)
    report.require(
        "longest time without an answer after it", f"{gap:.2f} s", f"<= {_LONGEST_GAP:g} s", gap <= _LONGEST_GAP
    )
    report.require("another process serves after", f"{back:.1f} s", f"<= {_BACK_WITHIN:g} s", back <= _BACK_WITHIN)
    await _require_both(report, server)
    return report


def longest_gap(moments: Sequence[float], since: float) -> float:
    """Seconds between two ``moments`` of which the later is after ``since``."""
    ordered = sorted(moments)
    return max(
        (after - before for before, after in pairwise(ordered) if after > since),
        default=float("inf"),
    )


async def _back_after(server: Server, there: set[int]) -> float:
    """Seconds until as many processes as before answer for their metrics, which they do once they are begun, and take calls."""
    begin = time.perf_counter()
    while time.perf_counter() < begin + 2 * _BACK_WITHIN:
        await asyncio.sleep(0.1)
        new = set(children(server.process.pid)) - there
        if new and all([await asyncio.to_thread(_serves, port) for port in server.metrics_ports]):
            return time.perf_counter() - begin
    return float("inf")


def _serves(port: int) -> bool:
    """Whether the process whose metrics are on ``port`` has opened its bundle."""
    return any(series.startswith("dorian_bundle_info") for series in read_metrics([port]))


async def _require_both(report: Report, server: Server) -> None:
    """New connections are spread by the kernel, by chance: with so many, each process gets some."""
    before = [_begun(port) for port in server.metrics_ports]
    channels = connect_all(server.address, 16 * server.flags.processes)
    await asyncio.gather(*(ageing(channel)() for channel in channels))
    await close_all(channels)
    more = [_begun(port) - number for port, number in zip(server.metrics_ports, before, strict=True)]
    report.require("calls of new connections, by process", more, "some for each", all(more))


def _begun(port: int) -> int:
    return round(sum(value for series, value in read_metrics([port]).items() if "grpc_server_started_total" in series))


def _require_outcomes(report: Report, name: str, done: Sequence[Done], *expected: str) -> None:
    strange = unknown(done, expected)
    report.require(name, outcomes(done) or "none", ", ".join(expected), not strange)
    report.figures[name] = outcomes(done)


def _require_exit(report: Report, status: int | None, took: float, grace: float) -> None:
    report.require("exit status", status, "0", status == 0)
    report.require("seconds to the exit", f"{took:.2f}", f"<= {grace + _BEYOND:g}", took <= grace + _BEYOND)
    report.figures["exit"] = {"status": status, "seconds": took}


def _no_server(done: Done) -> bool:
    return done.outcome in (_UNREACHED, _STOPPING)


def _wait(server: Server, seconds: float) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return server.process.wait(seconds)
    return None
