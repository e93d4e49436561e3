"""Compares ways to serve the pipeline: the same graphs, photo and images, on one machine, one contender at a time.

``make bench`` runs it, and makes docs/performance.md of what it writes. Every round starts each contender afresh.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections import defaultdict
from pathlib import Path

from bench.serving.contenders import CONTENDERS, CORES, Contender, Setup
from bench.serving.environments import make_environment, version
from bench.serving.figures import median_window
from bench.serving.pictures import TOLERANCE, difference
from bench.serving.processes import NotServingError
from bench.serving.report import tables
from bench.serving.results import LIMIT, Result, Run, Window, write_run
from bench.serving.turns import turn


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="windows whose median counts (default: %(default)s)")
    parser.add_argument("--concurrency", default="1,8,32", help="callers at once (default: %(default)s)")
    parser.add_argument("--only", default="", help="parts of the names of those to compare to the limit: mosec,dorian")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args()


class Bench:
    """Rounds of turns. Every picture is compared with the first that the limit made; the run ends if one differs too much."""

    def __init__(self, concurrency: list[int], seconds: float) -> None:
        self.results: dict[Setup, Result] = {}
        self._concurrency, self._seconds = concurrency, seconds
        self._windows: dict[tuple[Setup, int], list[Window]] = defaultdict(list)
        self._reference = b""

    def prepare(self, contender: Contender) -> None:
        """Make its environment; whether that works or not, it has its results."""
        pinned = version(contender.requirements) if contender.requirements else ""
        for setup in contender.setups:
            self.results[setup] = Result(f"{contender.name} {pinned}".strip(), setup.words)
        try:
            make_environment(contender)
        except NotServingError as error:
            for setup in contender.setups:
                self.results[setup].failure = f"does not install: {error}"

    def play(self, contender: Contender) -> None:
        """A turn for each way to set it up."""
        for setup in contender.setups:
            result = self.results[setup]
            if result.failure:
                continue
            try:
                self._turn(setup, contender.callers or self._concurrency, result)
            except NotServingError as error:
                result.failure = str(error)
                print(f"{result.name}, {result.set_up}: {error}", flush=True)

    def _turn(self, setup: Setup, concurrency: tuple[int, ...] | list[int], result: Result) -> None:
        with turn(setup) as begun:
            for callers in concurrency:
                window, pictures = begun.window(callers, self._seconds)
                for picture in filter(None, pictures):
                    self._compare(picture, result)
                self._windows[setup, callers].append(window)
                result.figures[callers] = median_window(self._windows[setup, callers])
                print(
                    f"{result.name:>30} {callers:>3} callers {window.rate:6.2f}/s  others {window.others:4.0%}  {result.set_up}",
                    flush=True,
                )

    def _compare(self, picture: bytes, result: Result) -> None:
        self._reference = self._reference or picture
        levels, pixels = difference(self._reference, picture)
        result.difference = max(result.difference, (levels, pixels))
        if levels > TOLERANCE:
            sys.exit(f"{result.name}: the picture differs from that of {LIMIT} by {levels} levels in {pixels} pixels")


def machine() -> str:
    """The processor's name, and the system's."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{names[0] if names else platform.processor()}, {CORES} cores, Python {platform.python_version()}"


def main() -> None:
    requested = parse()
    expected = [part.strip().lower() for part in requested.only.split(",")]
    selected = [
        contender
        for contender in CONTENDERS
        if contender.name == LIMIT or any(part in contender.name.lower() for part in expected)
    ]
    bench = Bench([int(callers) for callers in requested.concurrency.split(",")], requested.seconds)
    for contender in selected:
        bench.prepare(contender)
    for _ in range(requested.rounds):  # interleaved, so that a slow minute of the machine meets all alike
        for contender in selected:
            bench.play(contender)
    run = Run(machine(), CORES, requested.seconds, requested.rounds, list(bench.results.values()))
    print(tables(run))
    if requested.json:
        write_run(run, requested.json)


if __name__ == "__main__":
    main()
