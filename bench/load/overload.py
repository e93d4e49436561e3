"""Ten times as many calls as the server can do: latencies of accepted and rejected ones, memory, and recovery.

The calls come at a fixed rate, whatever becomes of those before, and none is sent again. Those who call are on the same machine as the
server and take their share of it, which is told; the figures are the worse for it, not the better.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load.calls import FULL, Done, ageing, close_all, connect_all
from bench.load.loops import (
    Client,
    closed,
    flood,
    milliseconds,
    outcomes,
    quantile,
    rate_of,
    seconds_of,
    unknown,
    watched_client,
)
from bench.load.report import Report
from bench.load.server import Server
from bench.load.watch import MEBIBYTE, QUEUES, Sample, Watch, median_rss

_CHANNELS = 16
_RECOVERY, _SLICE = 5.0, 0.5  # seconds
_NORMAL = 1.25  # times the median before
_MOST_RATIO, _REFUSED_WITHIN, _NORMAL_WITHIN = 3.0, 0.05, 2.0
_FLAT = 1.05
_EARLY = 10.0  # seconds at the beginning of an overload in which memory may still grow, or a quarter of it


@dataclass(frozen=True)
class Plan:
    """How many times the capacity comes, and seconds of each phase."""

    times: float = 10.0
    seconds: float = 60.0
    unloaded: float = 20.0
    warm_up: float = 5.0
    capacity: float = 8.0


@dataclass(frozen=True)
class Seen:
    """What each phase saw. ``flooded`` and ``ended`` are when the overload began and its last call was sent."""

    unloaded: list[Done]
    capacity: float
    overload: list[Done]
    recovery: list[Done]
    flooded: float
    ended: float
    client: Client
    idle_client: Client


async def overload(server: Server, plan: Plan) -> Report:
    watch = Watch(server)
    recorded = await _phases(server, plan, watch)
    await asyncio.sleep(0.5)
    last = await watch.sample()
    report = Report(f"overload: {plan.times:g} times the capacity for {plan.seconds:g} s")
    _tell_rates(report, plan, recorded)
    _judge_calls(report, recorded)
    _judge_memory(report, watch, recorded)
    _judge_recovery(report, recorded)
    report.require("queues' gauges afterwards", gauges(last), "0", not any(last.sum(name) for name in QUEUES))
    report.require("faults in the server's log", len(server.faults()), "0", not server.faults())
    return report


async def _phases(server: Server, plan: Plan, watch: Watch) -> Seen:
    channels = connect_all(server.address, max(_CHANNELS, 2 * server.flags.at_once))
    sends = [ageing(channel) for channel in channels]
    busy, more = sends[: server.flags.at_once], sends[: 2 * server.flags.at_once]
    await closed(busy, plan.warm_up)
    async with watch.each():
        async with watched_client() as idle_client:
            unloaded = await closed(busy, plan.unloaded)
        capacity = max(rate_of(unloaded), rate_of(await closed(more, plan.capacity)))
        flooded = time.perf_counter()
        async with watched_client() as client:
            done, rest = await flood(sends, plan.times * capacity, plan.seconds)
        ended = time.perf_counter()
        recovery, _ = await asyncio.gather(closed(busy, _RECOVERY), rest())
    await close_all(channels)
    return Seen(unloaded, capacity, done, recovery, flooded, ended, client, idle_client)


def _tell_rates(report: Report, plan: Plan, recorded: Seen) -> None:
    came = len(recorded.overload) / (recorded.ended - recorded.flooded)
    times = came / recorded.capacity
    report.tell("capacity", f"{recorded.capacity:.1f} calls/s")
    report.require(
        "calls that came", f"{came:.0f}/s, {times:.1f} times", f"{plan.times:g} times", times > 0.95 * plan.times
    )
    report.tell(
        "the client's own CPU, unloaded and in overload",
        f"{recorded.idle_client.cpu:.2f}, {recorded.client.cpu:.2f} cores",
    )
    late = recorded.client.late
    report.tell(
        "the client's own lateness p50, p99",
        f"{milliseconds(quantile(late, 0.5))}, {milliseconds(quantile(late, 0.99))}",
    )
    report.figures |= {"capacity": recorded.capacity, "came": came, "times": times, "client_cores": recorded.client.cpu}


def _judge_calls(report: Report, recorded: Seen) -> None:
    before, taken, refused = (
        seconds_of(recorded.unloaded),
        seconds_of(recorded.overload),
        seconds_of(recorded.overload, FULL),
    )
    calm, loaded = quantile(before, 0.99), quantile(taken, 0.99)
    ratio = loaded / calm
    report.tell("unloaded, workers busy: calls, p50, p99", _spread(before))
    report.tell("accepted: calls, p50, p99", _spread(taken))
    report.tell(
        "accepted calls per second, of the capacity",
        f"{len(taken) / (recorded.ended - recorded.flooded) / recorded.capacity:.0%}",
    )
    report.require("accepted p99, times the unloaded", f"{ratio:.2f}", f"<= {_MOST_RATIO:g}", ratio <= _MOST_RATIO)
    report.tell("refused: calls, p50, p99", _spread(refused))
    late = sum(1 for each in refused if each > _REFUSED_WITHIN)
    report.tell("refused late, and the slowest", f"{late}, {milliseconds(refused[-1]) if refused else 'none'}")
    slow = quantile(refused, 0.99)
    report.require("refused p99", milliseconds(slow), f"< {milliseconds(_REFUSED_WITHIN)}", slow < _REFUSED_WITHIN)
    strange = unknown([*recorded.unloaded, *recorded.overload, *recorded.recovery])
    report.require("other outcomes", strange or "none", "none", not strange)
    report.figures |= {
        "unloaded": {"p50": quantile(before, 0.5), "p99": calm, "calls": len(before)},
        "accepted": {"p50": quantile(taken, 0.5), "p99": loaded, "calls": len(taken), "ratio": ratio},
        "refused": {"p50": quantile(refused, 0.5), "p99": slow, "calls": len(refused), "late": late},
        "outcomes": outcomes(recorded.overload),
    }


def _judge_memory(report: Report, watch: Watch, recorded: Seen) -> None:
    samples = watch.between(recorded.flooded, recorded.ended)
    if len(samples) < 4:
        report.tell("RSS", "too short to tell")
        return
    early = min(_EARLY, (recorded.ended - recorded.flooded) / 4)
    settled = watch.between(recorded.flooded + early, recorded.ended)
    part = max(1, len(settled) // 4)
    first, last = median_rss(settled[:part]), median_rss(settled[-part:])
    report.tell("RSS, unloaded", f"{median_rss(watch.between(0, recorded.flooded)):.0f} MiB")
    report.tell(
        "RSS as the overload began and ended", f"{samples[0].rss / MEBIBYTE:.0f}, {samples[-1].rss / MEBIBYTE:.0f} MiB"
    )
    report.require(
        f"RSS, last quarter against {early:.0f} s on",
        f"{last:.0f} against {first:.0f} MiB",
        f"<= {_FLAT:g} times",
        last <= _FLAT * first,
    )
    report.tell(
        "threads and files, most", f"{max(each.threads for each in samples)}, {max(each.files for each in samples)}"
    )
    for name in ("dorian_queue_requests", "dorian_queue_seconds"):
        report.tell(f"{name}, median and most", _range([each.sum(name) for each in samples]))
    report.figures["rss"] = {"first": first, "last": last, "began": samples[0].rss, "ended": samples[-1].rss}


def _judge_recovery(report: Report, recorded: Seen) -> None:
    usual = quantile(seconds_of(recorded.unloaded), 0.5)
    normal = normal_after(recorded.recovery, recorded.ended, usual)
    report.require(
        "normal again after the last call of the overload",
        f"{normal:.1f} s",
        f"<= {_NORMAL_WITHIN:g} s",
        normal <= _NORMAL_WITHIN,
    )
    report.figures["normal_after"] = normal


def normal_after(recovery: Sequence[Done], ended: float, usual: float) -> float:
    """Seconds from ``ended`` to the end of the first slice whose calls all were taken and took about the ``usual`` time."""
    for number in range(int(_RECOVERY / _SLICE)):
        begin = ended + number * _SLICE
        part = [each for each in recovery if begin <= each.ended < begin + _SLICE]
        good = seconds_of(part)
        if good and len(good) == len(part) and statistics.median(good) <= _NORMAL * usual:
            return (number + 1) * _SLICE
    return math.inf


def gauges(sample: Sample) -> str:
    return ", ".join(f"{sample.sum(name):g}" for name in QUEUES)


def _spread(ordered: Sequence[float]) -> str:
    return f"{len(ordered)}, {milliseconds(quantile(ordered, 0.5))}, {milliseconds(quantile(ordered, 0.99))}"


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g}, {max(values):.3g}"
