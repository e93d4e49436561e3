"""A thousand odd requests: each is answered or rejected with a reason, and none is answered INTERNAL."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

from bench.attack.fuzzing import read_memory, send_until_room
from bench.attack.odd_requests import make_request
from bench.load.calls import LEFT, LOST, close_all, connect_all
from bench.load.report import Report
from bench.load.server import Server

_FAULTS = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "ABORTED", LEFT, LOST)
_AT_ONCE = 4


@dataclass(frozen=True)
class Plan:
    """``count`` requests of a ``seed``, from the number ``first`` on, to a server that may take ``memory`` MiB."""

    count: int = 1_000
    seed: int = 1
    first: int = 0
    memory: int = 1536


async def ask(server: Server, plan: Plan) -> Report:
    """Send the requests and return what became of them."""
    channels = connect_all(server.address, _AT_ONCE)
    numbers, outcomes = iter(range(plan.first, plan.first + plan.count)), Counter[str]()
    odd: list[str] = []
    slowest = (0.0, "")
    begin = time.perf_counter()

    async def send_all(index: int) -> None:
        nonlocal slowest
        for number in numbers:
            request, sent = make_request(plan.seed, number), time.perf_counter()
            word = await send_until_room(partial(request.send, channels[index]))
            slowest = max(slowest, (time.perf_counter() - sent, request.name))
            outcomes[word] += 1
            if word in _FAULTS:
                odd.append(f"{request.name}: {word}")

    await asyncio.gather(*map(send_all, range(_AT_ONCE)))
    seconds = time.perf_counter() - begin
    await close_all(channels)
    lives = server.process.poll() is None
    peak = read_memory(server.process.pid, "VmHWM") if lives else 0.0
    report = Report(f"requests: {plan.count:,} from number {plan.first} on of seed {plan.seed}, in {seconds:.0f} s")
    report.require("the server lives", lives, "True", lives)
    for name, count in outcomes.most_common():
        report.tell(f"answered {name}", f"{count:,}")
    faults = server.faults()
    report.require("faults in the server's log", len(faults), "0", not faults)
    report.require("answered as no request should be", odd[:20] or "none", "none", not odd)
    report.tell("the slowest", f"{slowest[0]:.2f} s: {slowest[1]}")
    report.require("RSS at the peak", f"{peak:.0f} MiB", f"<= {plan.memory} MiB", peak <= plan.memory)
    report.figures |= {
        "seed": plan.seed,
        "count": plan.count,
        "outcomes": dict(outcomes),
        "slowest": slowest[0],
        "peak": peak,
    }
    return report
