"""Reloads bundles by SIGHUP while the server is called: unchanged, changed and broken ones."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench.load import photos
from bench.load.calls import PATIENCE, Done, Send, close_all, connect_all
from bench.load.kinds import age_request, checked, wrong_pictures
from bench.load.loops import closed, milliseconds, outcomes, quantile, seconds_of, unknown, until
from bench.load.report import Report
from bench.load.server import ROOT, Server
from bench.load.watch import Watch, median_rss
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

_GROWTH = 1.05
_PATIENCE = 30.0  # seconds for a bundle to be opened
_BUNDLE = ROOT / "models" / "default"


@dataclass(frozen=True)
class Plan:
    """``reloads`` of other bundles, one of every four broken, with a pause of so many seconds after each."""

    reloads: int = 20
    pause: float = 1.0
    unloaded: float = 10.0


@dataclass
class Versions:
    """A bundle's folder whose version changes, and what answers said of it."""

    folder: Path
    written: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # seconds from the signal to the first answer of it

    def write(self, number: int) -> None:
        """The same models under another version."""
        version = f"0.0.{number}"
        text = json.loads((_BUNDLE / "manifest.json").read_text())
        self._replace(json.dumps({**text, "version": version}))
        self.written.append(version)

    def spoil(self) -> None:
        """A manifest that cannot be read."""
        self._replace("{")

    def _replace(self, text: str) -> None:
        """At once, as a deployment would."""
        new = self.folder / "manifest.new"
        new.write_text(text)
        new.replace(self.folder / "manifest.json")


@contextmanager
def versions() -> Iterator[Versions]:
    """A copy of the embedded bundle."""
    with TemporaryDirectory() as folder:
        copy = Versions(Path(shutil.copytree(_BUNDLE, Path(folder) / "bundle")))
        copy.write(0)
        yield copy


async def reload(server: Server, plan: Plan, bundle: Versions) -> Report:
    watch, channels = Watch(server), connect_all(server.address, server.flags.at_once)
    sends = [_ageing(channel, bundle) for channel in channels]
    await closed(sends, plan.unloaded / 2)
    before = await closed(sends, plan.unloaded)
    begin = time.perf_counter()
    async with watch.each():
        signals = asyncio.create_task(_signal(server, plan, bundle))
        during = await until(sends, lambda done: signals.done())
        await signals
    end = time.perf_counter()
    await close_all(channels)
    report = Report(f"SIGHUP under load: {plan.reloads} times")
    _judge_calls(report, before, during, bundle)
    _judge_memory(report, watch, begin, end)
    report.require("faults in the server's log", len(server.faults()), "0", not server.faults())
    return report


def _ageing(channel: grpc.aio.Channel, bundle: Versions) -> Send:
    stub, request = FaceAgingStub(channel), age_request(photos.head())

    def wrong(answer: pb.AgeTransformResponse) -> str:
        bundle.seen.append(answer.provenance.bundle_version)
        return wrong_pictures(answer, 1, photos.HEAD_SIZE)

    return lambda: checked(stub.AgeTransform(request, timeout=PATIENCE), wrong)


async def _signal(server: Server, plan: Plan, bundle: Versions) -> None:
    for number in range(1, plan.reloads + 1):
        await asyncio.sleep(plan.pause)
        if number % 4 == 0:
            bundle.spoil()
            server.signal(signal.SIGHUP)
        else:
            bundle.write(number)
            server.signal(signal.SIGHUP)
            await _served(bundle)


async def _served(bundle: Versions) -> None:
    """Returns when an answer has the last version, or when that takes too long."""
    begin = time.perf_counter()
    while time.perf_counter() < begin + _PATIENCE:
        if bundle.seen[-1] == bundle.written[-1]:
            bundle.took.append(time.perf_counter() - begin)
            return
        await asyncio.sleep(0.02)


def _judge_calls(report: Report, before: list[Done], during: list[Done], bundle: Versions) -> None:
    strange = unknown([*before, *during])
    report.tell("calls before and during", f"{outcomes(before)}, {outcomes(during)}")
    report.require("calls that failed", strange or "none", "none", not strange)
    counted = Counter(bundle.seen)
    report.require(
        "versions that were served",
        f"{len(counted)} of {len(bundle.written)}",
        "all",
        set(counted) == set(bundle.written),
    )
    took = sorted(bundle.took)
    report.tell(
        "from the signal to the first answer: median, slowest", f"{quantile(took, 0.5):.1f}, {quantile(took, 1):.1f} s"
    )
    last = bundle.seen[-1] if bundle.seen else "none"
    report.require("the last answer's version", last, bundle.written[-1], last == bundle.written[-1])
    calm, loaded = (quantile(seconds_of(done), 0.99) for done in (before, during))
    report.tell("p99 before and during", f"{milliseconds(calm)}, {milliseconds(loaded)}")
    report.figures |= {"outcomes": outcomes(during), "versions": dict(counted), "p99": [calm, loaded]}


def _judge_memory(report: Report, watch: Watch, begin: float, end: float) -> None:
    """After the first third: until then, old models and new ones have been in memory together for the first times."""
    third = (end - begin) / 3
    parts = [watch.between(begin + number * third, begin + (number + 1) * third) for number in range(3)]
    if not all(parts):
        report.tell("RSS", "too short to tell")
        return
    first, middle, last = map(median_rss, parts)
    report.require(
        "RSS, by thirds",
        f"{first:.0f}, {middle:.0f}, {last:.0f} MiB",
        "last < 5 % above middle",
        last < _GROWTH * middle,
    )
    report.figures["rss"] = [first, middle, last]
