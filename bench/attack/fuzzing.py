"""Thousands of fuzzed pictures, each sent to be looked at or aged: none may stop the server, be answered INTERNAL, or take long."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import grpc

from bench.attack.pictures import make_picture
from bench.load.calls import FULL, OK, SERVICE, Send, close_all, connect_all, outcome
from bench.load.report import Report
from bench.load.server import Server
from bench.load.watch import MEBIBYTE
from dorian.v1 import face_aging_pb2 as pb

SLOWEST = 5.0  # seconds that a picture may take
_RETRIES, _PAUSE = 50, 0.1  # of a call that finds no room, and seconds between
_AGED = 0.4  # share of pictures that are aged, and not only looked at
_REASONS = {
    OK,
    "NO_FACE",
    "IMAGE_EMPTY",
    "IMAGE_UNREADABLE",
    "IMAGE_TOO_SMALL",
    "IMAGE_TOO_LARGE",
    "IMAGE_BYTES_EXCEEDED",
    "FACE_UNUSABLE",
    "TARGET_TOO_MANY",  # the answer would be too large
}


@dataclass(frozen=True)
class Plan:
    """``count`` pictures of a ``seed``, from the number ``first`` on, to a server that may take ``memory`` MiB."""

    count: int = 10_000
    seed: int = 1
    first: int = 0
    memory: int = 1536


@dataclass
class _Seen:
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    odd: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


async def fuzz(server: Server, plan: Plan) -> Report:
    """Send the pictures and return what became of them."""
    (process,) = server.ids
    before = read_memory(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")  # forgets the peak
    channels = connect_all(server.address, server.flags.at_once)
    seen, numbers, begin = _Seen(), iter(range(plan.first, plan.first + plan.count)), time.perf_counter()
    await asyncio.gather(*(_send_all(channel, plan, numbers, seen) for channel in channels))
    seconds = time.perf_counter() - begin
    await close_all(channels)
    lives = server.process.poll() is None
    peak = read_memory(process, "VmHWM") if lives else 0.0
    report = Report(f"pictures: {plan.count:,} from number {plan.first} on of seed {plan.seed}, in {seconds:.0f} s")
    report.require("the server lives", lives, "True", lives)
    for name, count in seen.outcomes.most_common():
        report.tell(f"answered {name}", f"{count:,}")
    faults = server.faults()
    report.require("INTERNAL, and faults in the log", f"{seen.outcomes['INTERNAL']}, {len(faults)}", "0, 0", not faults)
    report.require("answered otherwise", seen.odd[:10] or "none", "none", not seen.odd)
    report.tell("the slowest", f"{seen.slowest[0]:.2f} s: {seen.slowest[1]}")
    report.require("slower than allowed", seen.late[:10] or "none", f"none above {SLOWEST:g} s", not seen.late)
    report.require(
        "RSS at the peak", f"{peak:.0f} MiB, {before:.0f} before", f"<= {plan.memory} MiB", peak <= plan.memory
    )
    report.figures |= {
        "seed": plan.seed,
        "count": plan.count,
        "seconds": seconds,
        "outcomes": dict(seen.outcomes),
        "slowest": seen.slowest[0],
        "peak": peak,
    }
    return report


async def _send_all(channel: grpc.aio.Channel, plan: Plan, numbers: Iterator[int], seen: _Seen) -> None:
    for number in numbers:
        name, picture = make_picture(plan.seed, number)
        ages = Random(f"{plan.seed}/{number}/call").random() < _AGED
        begin = time.perf_counter()
        word = await send_until_room(partial(_call, channel, picture, ages))
        seconds = time.perf_counter() - begin
        seen.outcomes[word] += 1
        seen.slowest = max(seen.slowest, (seconds, name))
        if word not in _REASONS:
            seen.odd.append(f"{name}: {word}")
        if seconds > SLOWEST:
            seen.late.append(f"{name}: {seconds:.1f} s")


async def send_until_room(send: Send) -> str:
    """Return the outcome of a call that is sent again while there is no room for it."""
    for _ in range(_RETRIES):
        word = await send()
        if word != FULL:
            return word
        await asyncio.sleep(_PAUSE)
    return FULL


async def _call(channel: grpc.aio.Channel, picture: bytes, ages: bool) -> str:
    image = pb.Image(data=picture)
    request: pb.AgeTransformRequest | pb.DetectFacesRequest = pb.DetectFacesRequest(image=image)
    if ages:
        output = pb.OutputOptions(keep_metadata=True)
        request = pb.AgeTransformRequest(image=image, targets=[pb.Age(years=70)], output=output, with_delta=True)
    method = "AgeTransform" if ages else "DetectFaces"
    return await outcome(channel.unary_unary(f"{SERVICE}{method}")(request.SerializeToString(), timeout=60))


def read_memory(process: int, name: str) -> float:
    """Return a line of a process's status, in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MEBIBYTE
    raise LookupError(name)
