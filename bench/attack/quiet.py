"""Serving without leaving or telling anything: the server opens no file for writing, calls nobody and looks up no name."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.attack.traces import ProcWatch, read_strace, strace_command
from bench.load import kinds
from bench.load.calls import connect
from bench.load.kinds import good_kinds
from bench.load.rejected_kinds import rejected_kinds
from bench.load.report import Report
from bench.load.server import Server, running
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}  # and the package that each needs
_MAX_TOLD = 10


@dataclass(frozen=True)
class Plan:
    """Calls of all kinds for so many ``seconds``, of a ``seed``."""

    seconds: float = 60.0
    seed: int = 1


def installed_runtimes() -> list[str]:
    """Return the runtimes on the CPU whose package is installed."""
    return [name for name, package in _RUNTIMES.items() if importlib.util.find_spec(package)]


def watch(plan: Plan, flags: Sequence[str], runtimes: Sequence[str]) -> Report:
    """Serve with each of ``runtimes`` from an empty home, from the start of the process to its end, and tell what it did."""
    report = Report(f"quiet: {plan.seconds:g} s of calls of all kinds, and the start and the end before and after them")
    for runtime in runtimes:
        with tempfile.TemporaryDirectory() as folder:
            _watch_one(plan, (*flags, "--runtime", runtime), Path(folder), report, runtime)
    return report


def _watch_one(plan: Plan, flags: Sequence[str], folder: Path, report: Report, runtime: str) -> None:
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = strace_command(trace)
    with running(flags, command, environment) as server, ExitStack() as stack:
        proc = None if command else stack.enter_context(ProcWatch(server.process.pid))
        calls = asyncio.run(_call(server, plan))
    odd = sorted(proc.seen) if proc else read_strace(trace.read_text(errors="replace").splitlines())
    left = [str(path.relative_to(home)) for path in home.rglob("*")]
    how = "strace" if command else "/proc, 100 times a second"
    report.tell(f"{runtime}: calls", sum(calls.values()))
    name = f"{runtime}: files written, calls to others, names looked up ({how})"
    report.require(name, odd[:_MAX_TOLD] or "none", "none", not odd)
    report.require(f"{runtime}: files left in its home", left[:_MAX_TOLD] or "none", "none", not left)
    report.figures[runtime] = {"calls": sum(calls.values()), "odd": odd, "left": left, "how": how}


async def _call(server: Server, plan: Plan) -> Counter[str]:
    """Make calls of all kinds, good and bad, one after the other, and read the metrics beside them; returns their outcomes."""
    random, outcomes = Random(plan.seed), Counter[str]()
    everything = [*good_kinds(), *rejected_kinds()]
    order = random.sample(everything, len(everything))
    end = time.perf_counter() + plan.seconds
    async with connect(server.address) as channel:
        target = kinds.Server(FaceAgingStub(channel), server.address)
        while time.perf_counter() < end:
            for kind in order:
                outcomes[await kind.make(target, random)] += 1
                if time.perf_counter() >= end:
                    break
            url = f"http://127.0.0.1:{server.metrics_ports[0]}/metrics"
            await asyncio.to_thread(_read, url)
    return outcomes


def _read(url: str) -> None:
    with urllib.request.urlopen(url, timeout=30) as answer:
        answer.read()
