"""Time from the start of a server's process until it takes calls, and memory then and after load."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.load.calls import Done, ageing, close_all, connect, connect_all, timed
from bench.load.loops import closed, unknown
from bench.load.report import Report
from bench.load.server import Server, running
from bench.load.watch import MEBIBYTE, Watch, proportional

_READY_WITHIN = 3.0


@dataclass(frozen=True)
class Plan:
    """``rounds`` of starts, and ``seconds`` of load after the last."""

    rounds: int = 5
    seconds: float = 15.0


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process to its word, to its healthy answer, and what its first call was like."""

    told: float
    healthy: float
    first: Done


def start(plan: Plan, flags: Sequence[str]) -> Report:
    report, starts = Report(f"start: {plan.rounds} times, then {plan.seconds:g} s of load"), []
    for number in range(plan.rounds):
        with running(flags) as server:
            starts.append(asyncio.run(_observe(server)))
            if number == plan.rounds - 1:
                asyncio.run(_load(server, plan.seconds, report))
    healthy = sorted(start.healthy for start in starts)
    message = f"{starts[0].healthy:.2f}, {statistics.median(healthy):.2f}, {healthy[-1]:.2f} s"
    slow = healthy[-1]
    report.require("ready: first, median, slowest start", message, f"< {_READY_WITHIN:g} s", slow < _READY_WITHIN)
    first = [start.first.seconds for start in starts]
    report.tell("the first call: median, slowest", f"{statistics.median(first):.2f}, {max(first):.2f} s")
    strange = unknown([start.first for start in starts])
    report.require("first calls that failed", strange or "none", "none", not strange)
    report.figures |= {"ready": [start.healthy for start in starts], "told": [start.told for start in starts]}
    return report


async def _observe(server: Server) -> Start:
    begin = time.perf_counter()
    async with connect(server.address) as channel:
        await _healthy(channel)
        healthy = server.ready_after + time.perf_counter() - begin
        return Start(server.ready_after, healthy, await timed(ageing(channel)))


async def _healthy(channel: grpc.aio.Channel) -> None:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise RuntimeError("the server says that it listens, and takes no calls")


async def _load(server: Server, seconds: float, report: Report) -> None:
    watch, channels = Watch(server), connect_all(server.address, 2 * server.flags.at_once)
    await _tell_memory(report, watch, server, "after the start and one call")
    done = await closed([ageing(channel) for channel in channels], seconds)
    await _tell_memory(report, watch, server, "after load")
    await close_all(channels)
    strange = unknown(done)
    report.require("calls of the load that failed", strange or f"none of {len(done)}", "none", not strange)


async def _tell_memory(report: Report, watch: Watch, server: Server, when: str) -> None:
    sample, shared = await watch.sample(), proportional(server)
    report.tell(f"RSS, PSS, threads {when}", f"{sample.rss / MEBIBYTE:.0f}, {shared:.0f} MiB, {sample.threads}")
    report.figures[when] = {"rss": sample.rss / MEBIBYTE, "pss": shared, "threads": sample.threads}
