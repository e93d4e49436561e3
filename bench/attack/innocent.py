"""An innocent caller and a health check, in a process of their own, so that those who attack take none of their time but the machine's.

``python -m bench.attack.innocent ADDRESS`` reads a line as an attack begins, its name, and another as it ends; then it writes what it saw,
in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

from grpc_health.v1 import health_pb2

from bench.load.calls import Send, ageing, connect, outcome, timed
from bench.load.loops import watched_client
from bench.load.photos import head
from bench.load.server import ROOT

_PAUSE = 0.02  # seconds between two calls
_CHECK = health_pb2.HealthCheckRequest().SerializeToString()


@dataclass
class Seen:
    """What the two saw during one attack: seconds of each call, their outcomes, and how late the process itself was at worst."""

    name: str
    health: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    late: float = 0.0


async def watch(address: str, name: str, over: asyncio.Event) -> Seen:
    """Call until ``over``, each of the two on a connection of its own."""
    seen, outcomes = Seen(name), Counter[str]()
    async with connect(address) as one, connect(address) as other, watched_client() as client:
        check = one.unary_unary("/grpc.health.v1.Health/Check")

        async def call(send: Send, seconds: list[float]) -> None:
            while not over.is_set():
                done = await timed(send)
                outcomes[done.outcome] += 1
                seconds.append(done.seconds)
                await asyncio.sleep(_PAUSE)

        await asyncio.gather(
            call(lambda: outcome(check(_CHECK, timeout=30)), seen.health), call(ageing(other, head()), seen.calls)
        )
    seen.outcomes, seen.late = dict(outcomes), max(client.late, default=0.0)
    return seen


async def _run(address: str) -> None:
    loop = asyncio.get_running_loop()
    while name := await loop.run_in_executor(None, sys.stdin.readline):
        over = asyncio.Event()
        task = asyncio.create_task(watch(address, name.strip(), over))
        await loop.run_in_executor(None, sys.stdin.readline)
        over.set()
        print(json.dumps(asdict(await task)), flush=True)


class Innocent:
    """The process, as those who attack see it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def begin(self, name: str) -> None:
        """Have it call until ``end``; ``name``: of the attack."""
        self._stdin.write(f"{name}\n".encode())
        await self._stdin.drain()

    async def end(self) -> Seen:
        """Return what it saw since ``begin``."""
        self._stdin.write(b"\n")
        await self._stdin.drain()
        return Seen(**json.loads(await asyncio.wait_for(self._stdout.readline(), 90)))


@asynccontextmanager
async def innocent_caller(address: str) -> AsyncIterator[Innocent]:
    """Run the process for the time of the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.attack.innocent", address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
        cwd=ROOT,
    )
    try:
        yield Innocent(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
