"""Closed loops of calls, where each waits for the one before, and open ones, where none does."""

from __future__ import annotations

import asyncio
import math
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from bench.load.calls import FULL, OK, Done, Send, timed

AGAIN = 0.1  # seconds after which one who was refused comes again
_TICK = 0.005  # seconds between looks at how late the client itself is


@dataclass
class Client:
    """What the client itself took and did: ``cpu`` in cores, ``late`` seconds of its loop, worst last."""

    cpu: float = 0.0
    late: list[float] = field(default_factory=list)


@asynccontextmanager
async def watched_client() -> AsyncIterator[Client]:
    """Measures this process for the time of the context."""
    client, begin, cpu = Client(), time.perf_counter(), _cpu()

    async def tick() -> None:
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            client.late.append(max(0.0, time.perf_counter() - due))

    task = asyncio.create_task(tick())
    try:
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        client.cpu = (_cpu() - cpu) / (time.perf_counter() - begin)
        client.late.sort()


async def closed(sends: Sequence[Send], seconds: float) -> list[Done]:
    """Each of ``sends`` over and over for so many ``seconds``; one that is refused waits a little."""
    end = time.perf_counter() + seconds
    return await until(sends, lambda done: time.perf_counter() >= end)


async def until(sends: Sequence[Send], over: Callable[[Done], bool]) -> list[Done]:
    """Each of ``sends`` over and over, until ``over`` says of its last call that it was the last."""
    result: list[Done] = []

    async def caller(send: Send) -> None:
        while True:
            done = await timed(send)
            result.append(done)
            if over(done):
                return
            if done.outcome != OK:
                await asyncio.sleep(AGAIN)

    await asyncio.gather(*(caller(send) for send in sends))
    return result


async def flood(sends: Sequence[Send], rate: float, seconds: float) -> tuple[list[Done], Callable[[], Awaitable[None]]]:
    """``rate`` calls a second from all of ``sends`` in turn, whatever becomes of them, for so many ``seconds``.

    What is done by then; the list grows until the other, a wait for the rest, is over.
    """
    result: list[Done] = []
    under_way: set[asyncio.Task[None]] = set()

    async def one(send: Send) -> None:
        result.append(await timed(send))

    begin, number = time.perf_counter(), 0
    while (now := time.perf_counter()) < begin + seconds:
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - now))
        task = asyncio.create_task(one(sends[number % len(sends)]))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        number += 1

    async def rest() -> None:
        while under_way:
            await asyncio.wait(under_way)

    return result, rest


def seconds_of(done: Sequence[Done], outcome: str = OK) -> list[float]:
    """How long those took that ended so, shortest first."""
    return sorted(call.seconds for call in done if call.outcome == outcome)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``ordered`` do not exceed; NaN of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def rate_of(done: Sequence[Done]) -> float:
    """Good answers in a second."""
    span = max(call.ended for call in done) - min(call.sent for call in done)
    return len(seconds_of(done)) / span


def outcomes(done: Sequence[Done]) -> dict[str, int]:
    """How many ended how, the most first."""
    return dict(Counter(call.outcome for call in done).most_common())


def unknown(done: Sequence[Done], expected: Sequence[str] = (OK, FULL)) -> dict[str, int]:
    """How many ended in another way than ``expected``."""
    return {word: count for word, count in outcomes(done).items() if word not in expected}


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
