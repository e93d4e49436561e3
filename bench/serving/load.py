"""Load in a closed loop: each caller calls again as soon as it has its response. A process of its own is controlled by lines on stdin.

Each line it reads is ``CALLERS SECONDS``; each that it writes a ``Load`` as JSON, after a first ``ready``.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

Call = Callable[[], bytes]


class RefusedError(Exception):
    """The server is full: ask again after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"refused for {seconds:g} s")
        self.seconds = seconds


@dataclass
class Load:
    """What callers saw: ``latencies`` in seconds, from the first try on; ``elapsed`` from the first call to the last answer.

    ``cpu``: seconds that this process computed meanwhile. ``pictures``: those that came, without repeats, in base64.
    """

    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0
    refusals: int = 0
    pictures: list[str] = field(default_factory=list)


def run(calls: Sequence[Call], seconds: float) -> Load:
    """Each of ``calls`` over and over on a thread of its own, at least once, until ``seconds`` are over."""
    load, pictures, lock = Load(), set(), threading.Lock()
    cpu, begin = time.process_time(), time.perf_counter()

    def caller(call: Call) -> None:
        while True:
            since = time.perf_counter()
            picture, refusals = _answered(call)
            now = time.perf_counter()
            with lock:
                load.latencies.append(now - since)
                load.refusals += refusals
                pictures.add(picture)
            if now >= begin + seconds:
                return

    with ThreadPoolExecutor(len(calls)) as callers:
        for _ in callers.map(caller, calls):
            pass
    load.elapsed, load.cpu = time.perf_counter() - begin, time.process_time() - cpu
    load.pictures = [base64.b64encode(picture).decode() for picture in sorted(pictures)]
    return load


def _answered(call: Call) -> tuple[bytes, int]:
    refusals = 0
    while True:
        try:
            return call(), refusals
        except RefusedError as refused:
            refusals += 1
            time.sleep(refused.seconds)


def obey(connect: Callable[[], Call]) -> None:
    """Do what standard input says, with connections of ``connect``, until it ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        callers, seconds = line.split()
        load = run([connect() for _ in range(int(callers))], float(seconds))
        print(json.dumps(asdict(load)), flush=True)
