"""A folder of photos by `Client.age_many`, by `dorian batch`, and by plain threads, against one server, in turns.

Prints for each turn photos a second, how busy the server kept the cores, how many photos were lost, and why broken files were not
aged; then the ratios of the medians. `dorian batch` is the command as a process of its own, which also writes pictures, ledger and
report: its rate counts from its first picture to its end, and in brackets from its start. Callers and server share the cores.
Repeat `--threads` to search the best fixed number. The command:

    python -m bench.age_many --count 500 --rounds 1 --threads 2 --threads 3 [--broken 3]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.load.server import Server, running
from bench.photos import add_broken, fill
from dorian_client import Client
from dorian_server.runtimes.cores import available_cores

ROOT = Path(__file__).resolve().parents[1]
TARGET = 60
WARM_UP = 6  # photos

Outcomes = list[tuple[Path, str | None]]  # photos that the caller was told of, and why they were not aged
Begin = Callable[[int], None]  # to be called when the work has begun, with how many photos are done by then
Way = Callable[[Begin], Outcomes]


def by_age_many(client: Client, photos: Sequence[Path], begin: Begin) -> Outcomes:
    """Age the photos with `age_many`."""
    begin(0)
    return [
        (outcome.photo, None if outcome.error is None else reason_of(outcome.error))
        for outcome in client.age_many(photos, TARGET)
    ]


def by_threads(client: Client, photos: Sequence[Path], threads: int, begin: Begin) -> Outcomes:
    """Age the photos with so many threads, each with a call at a time."""

    def age(photo: Path) -> tuple[Path, str | None]:
        try:
            client.age(photo, TARGET)
        except Exception as error:
            return photo, reason_of(error)
        return photo, None

    begin(0)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(age, photos))


def by_batch(address: str, photos: Path, begin: Begin) -> Outcomes:
    """Age a folder of photos with the command, into a folder that is thrown away; the outcomes are those of its report."""
    with tempfile.TemporaryDirectory() as name:
        out, log = Path(name, "aged"), Path(name, "log")
        command = ["batch", str(photos), "-o", str(out), "--to", str(TARGET), "--server", address]
        with (
            log.open("w") as output,
            subprocess.Popen(
                [sys.executable, "-m", "dorian_client.cli", *command], stdout=output, stderr=output
            ) as process,
        ):
            while not (done := len(list(out.rglob(f"[!.]*-{TARGET}.*")))) and process.poll() is None:
                time.sleep(0.02)
            begin(done)
        report = out / "dorian-report.jsonl"
        if not report.exists():
            raise RuntimeError(f"dorian batch failed: {log.read_text()[-2000:]}")
        records = map(json.loads, report.read_text().splitlines())
        told = [record for record in records if record["status"] != "open"]
        return [
            (Path(record["photo"]), None if record["status"] == "done" else str(record["reason"])) for record in told
        ]


def reason_of(error: Exception) -> str:
    """Return why a photo was not aged, in a word."""
    return str(getattr(error, "reason", None) or type(error).__name__)


@dataclass(frozen=True)
class Turn:
    """One way's turn.

    Attributes:
        outcomes: What came of the photos.
        early: Photos that were done by the time from which seconds count.
        start_up: Seconds before that.
        seconds: From then to the end.
        server_seconds: Processor time that the server had meanwhile.
    """

    outcomes: Outcomes
    early: int
    start_up: float
    seconds: float
    server_seconds: float

    @property
    def rate(self) -> float:
        """Photos a second, broken ones among them, without the start."""
        return (len(self.outcomes) - self.early) / self.seconds

    @property
    def whole_rate(self) -> float:
        """The same with the start."""
        return len(self.outcomes) / (self.start_up + self.seconds)

    def describe(self, photos: Sequence[Path], broken: Sequence[Path], cores: int) -> str:
        """Return the rate, the server's share of the cores, what was lost, and what was said of broken files."""
        reasons = dict(self.outcomes)
        lost = [photo for photo in photos if reasons.get(photo, "NOT_TOLD") is not None]
        told = Counter(reason for photo in broken if (reason := reasons.get(photo)) is not None)
        parts = [f"{self.rate:5.2f} photos/s", f"server busy on {self.server_seconds / self.seconds / cores:.0%} of {cores} cores"]  # fmt: skip
        if self.start_up > 0.1:
            parts[0] += f" ({self.whole_rate:.2f} with {self.start_up:.1f} s to its first picture)"
        parts.append(f"{len(lost)} of {len(photos)} lost")
        if broken:
            parts.append(f"{told.total()} of {len(broken)} broken reported {dict(told)}")
        return ", ".join(parts)


def take_turn(way: Way, server_seconds: Callable[[], float]) -> Turn:
    """Age the photos in a way, and measure it.

    Args:
        way: Ages them.
        server_seconds: Returns the processor time that the server has had.
    """
    marks: list[tuple[int, float, float]] = []
    start = time.perf_counter()
    outcomes = way(lambda done: marks.append((done, time.perf_counter(), server_seconds())))
    end, used = time.perf_counter(), server_seconds()
    early, begun, used_before = marks[0]
    return Turn(outcomes, early, begun - start, end - begun, used - used_before)


def ways_of(client: Client, address: str, folder: Path, photos: Sequence[Path], threads: Sequence[int]) -> dict[str, Way]:  # fmt: skip
    """Return the ways to age the photos of a folder, by name: those that find their pace first, then numbers of threads."""
    ways: dict[str, Way] = {
        "age_many": functools.partial(by_age_many, client, photos),
        "dorian batch": functools.partial(by_batch, address, folder),
    }
    return ways | {f"{number} threads": functools.partial(by_threads, client, photos, number) for number in threads}


def cpu_seconds(server: Server) -> float:
    """Return the processor time that the server's processes have had."""
    ticks = 0
    for process in server.ids:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "examples" / "faces", help="with photos")
    parser.add_argument("--count", type=int, default=60, help="photos a round; the folder's are repeated")
    parser.add_argument("--broken", type=int, default=0, help="files among them that are no photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="a number of plain threads; 2 unless given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running([]) as server, Client(server.address) as client:
        photos = fill(Path(name), arguments.folder, arguments.count)
        broken = add_broken(photos, arguments.broken)
        ways = ways_of(client, server.address, Path(name), sorted(photos + broken), arguments.threads or [2])
        by_age_many(client, photos[:WARM_UP], lambda done: None)
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(arguments.rounds):
            for way in list(ways) if number % 2 == 0 else list(ways)[::-1]:
                turn = take_turn(ways[way], lambda: cpu_seconds(server))
                rates[way].append(turn.rate)
                print(f"{way:>12}: {turn.describe(photos, broken, available_cores())}", flush=True)
    medians = {way: statistics.median(rates[way]) for way in ways}
    for paced in list(ways)[:2]:
        for way in list(ways)[2:]:
            print(f"{paced} is {medians[paced] / medians[way]:.2f} times as fast as {way}")


if __name__ == "__main__":
    main()
