"""Samples a server from outside once a second: memory, threads and files from /proc, and its metrics."""

from __future__ import annotations

import asyncio
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.server import Server

QUEUES = ("dorian_queue_requests", "dorian_queue_seconds", "dorian_working_requests", "dorian_graph_queue")
_PATIENCE = 5.0  # seconds for an answer to the question for metrics
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Sample:
    """All processes together, ``at`` a moment of ``time.perf_counter``; ``rss`` in bytes."""

    at: float
    rss: int
    threads: int
    files: int
    metrics: dict[str, float] = field(default_factory=dict)

    def sum(self, name: str, label: str = "") -> float:
        """Of all metrics called ``name`` whose labels hold ``label``."""
        return sum(
            value
            for series, value in self.metrics.items()
            if series.partition("{")[0] == name and label in series.partition("{")[2]
        )


class Watch:
    """Samples of ``server``, kept in their order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.samples: list[Sample] = []

    async def sample(self) -> Sample:
        """One more sample, now."""
        rss = threads = files = 0
        for process in self._server.ids:
            with suppress(OSError):  # it may end meanwhile
                figures = _status(process)
                rss += figures["VmRSS"] * 1024
                threads += figures["Threads"]
                files += sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
        metrics = await asyncio.to_thread(read_metrics, self._server.metrics_ports)
        sample = Sample(time.perf_counter(), rss, threads, files, metrics)
        self.samples.append(sample)
        return sample

    @asynccontextmanager
    async def each(self, seconds: float = 1.0) -> AsyncIterator[None]:
        """Within the context, a sample after every so many ``seconds``."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(seconds)
                await self.sample()

        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def between(self, begin: float, end: float) -> list[Sample]:
        """The samples from ``begin`` to ``end``."""
        return [sample for sample in self.samples if begin <= sample.at <= end]


def median_rss(samples: Sequence[Sample]) -> float:
    """In MiB."""
    return statistics.median(sample.rss for sample in samples) / MEBIBYTE


def proportional(server: Server) -> float:
    """Memory of all processes in MiB, with what they share counted once."""
    total = 0
    for process in {server.process.pid, *server.ids}:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def read_metrics(ports: Sequence[int]) -> dict[str, float]:
    """The sums of the metrics of the processes on ``ports``; one that does not answer counts as nothing."""
    result: dict[str, float] = {}
    for port in ports:
        with suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE) as answer:
                text = answer.read().decode()
            for line in text.splitlines():
                if line.startswith(("dorian_", "grpc_")) and "_bucket" not in line:
                    series, _, value = line.rpartition(" ")
                    result[series] = result.get(series, 0.0) + float(value)
    return result


def _status(process: int) -> dict[str, int]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(value.split()[0]) for name, value in pairs if name in ("VmRSS", "Threads")}
