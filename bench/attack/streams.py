"""What an innocent caller and a health check notice of attacks on the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from bench.attack.floods import ATTACKS, attacking
from bench.attack.fuzzing import read_memory
from bench.attack.innocent import Seen, innocent_caller
from bench.load.calls import OK
from bench.load.loops import milliseconds, quantile
from bench.load.report import Report
from bench.load.server import Server

ANSWERED_WITHIN, HEALTHY_WITHIN = 1.0, 0.1  # seconds


@dataclass(frozen=True)
class Plan:
    """``seconds`` of each of the ``attacks``, on a server that may take ``memory`` MiB."""

    seconds: float = 10.0
    attacks: Collection[str] = tuple(ATTACKS)
    memory: int = 1536


async def attack(server: Server, plan: Plan) -> Report:
    """Attack, and return what the innocent saw."""
    seen: list[Seen] = []
    async with innocent_caller(server.address) as innocent:
        for name in plan.attacks:
            await innocent.begin(name)
            await asyncio.sleep(min(1.0, plan.seconds / 4))  # its connections are there before
            await asyncio.to_thread(_attack_for, name, server.address, plan.seconds)
            last = await innocent.end()
            seen.append(last)
    lives = server.process.poll() is None
    peak = read_memory(server.process.pid, "VmHWM") if lives else 0.0
    report = Report(f"streams: each attack for {plan.seconds:g} s")
    report.require("the server lives", lives, "True", lives)
    for each in seen:
        _judge(report, each)
    report.require("faults in the server's log", len(server.faults()), "0", not server.faults())
    report.require("RSS at the peak", f"{peak:.0f} MiB", f"<= {plan.memory} MiB", peak <= plan.memory)
    report.figures["peak"] = peak
    return report


def _attack_for(name: str, address: str, seconds: float) -> None:
    with attacking(ATTACKS[name], address) as over:
        over.wait(seconds)


def _judge(report: Report, seen: Seen) -> None:
    failed = {word: count for word, count in seen.outcomes.items() if word != OK}
    calls, health = sorted(seen.calls), sorted(seen.health)
    slowest, unhealthy = max(calls, default=0.0), max(health, default=0.0)
    report.require(
        f"{seen.name}: calls, p50, p99, slowest",
        f"{len(calls)}, {_spread(calls)}{f', {failed}' if failed else ''}",
        f"all OK within {ANSWERED_WITHIN:g} s",
        not failed and bool(calls) and slowest <= ANSWERED_WITHIN,
    )
    report.require(
        "    health: checks, p50, p99, slowest",
        f"{len(health)}, {_spread(health)} (the caller itself late by {milliseconds(seen.late)})",
        f"within {milliseconds(HEALTHY_WITHIN)}",
        unhealthy <= HEALTHY_WITHIN and bool(health),
    )
    report.figures[seen.name] = {
        "calls": {"count": len(calls), "p50": quantile(calls, 0.5), "p99": quantile(calls, 0.99), "slowest": slowest},
        "health": {
            "count": len(health),
            "p50": quantile(health, 0.5),
            "p99": quantile(health, 0.99),
            "slowest": unhealthy,
        },
        "outcomes": seen.outcomes,
        "caller_late": seen.late,
    }


def _spread(ordered: list[float]) -> str:
    return (
        ", ".join(milliseconds(seconds) for seconds in (quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1]))
        if ordered
        else "none"
    )
