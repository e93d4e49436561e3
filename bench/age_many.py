"""A folder of photos by `Client.age_many` and by plain threads, against one server, in turns.

Prints photos a second of each way in each round, and the ratio of their medians. Repeat `--threads` to search the best fixed number.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.load.server import Server, running
from dorian_client import Client

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
TARGET = 60


def by_age_many(client: Client, photos: Sequence[Path]) -> int:
    """Age the photos with `age_many`; return how many failed."""
    return sum(outcome.error is not None for outcome in client.age_many(photos, TARGET))


def by_threads(client: Client, photos: Sequence[Path], threads: int) -> int:
    """Age the photos with so many threads, each with a call at a time; return how many failed."""

    def age(photo: Path) -> bool:
        try:
            client.age(photo, TARGET)
        except Exception:
            return True
        return False

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(age, photos))


def ways_of(photos: Sequence[Path], threads: Sequence[int]) -> dict[str, Callable[[Client], int]]:
    """Return the ways to age photos, by name: `age_many` first, then numbers of threads."""
    ways: dict[str, Callable[[Client], int]] = {"age_many": lambda client: by_age_many(client, photos)}
    for number in threads:
        ways[f"{number} threads"] = lambda client, number=number: by_threads(client, photos, number)
    return ways


def cpu_seconds(server: Server) -> float:
    """Return the processor time that the server's processes have had."""
    ticks = 0
    for process in server.ids:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "examples" / "faces", help="with photos")
    parser.add_argument("--count", type=int, default=60, help="photos a round; the folder's are repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="a number of plain threads; 2 unless given")
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    photos = [files[index % len(files)] for index in range(arguments.count)]
    ways = ways_of(photos, arguments.threads or [2])
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with running([]) as server, Client(server.address) as client:
        by_age_many(client, photos[:6])
        for number in range(arguments.rounds):
            for way in list(ways) if number % 2 == 0 else list(ways)[::-1]:
                begin, cpu = time.perf_counter(), cpu_seconds(server)
                failed = ways[way](client)
                seconds = time.perf_counter() - begin
                rates[way].append(len(photos) / seconds)
                cores = (cpu_seconds(server) - cpu) / seconds
                print(
                    f"{way:>12}: {rates[way][-1]:5.2f} photos/s, {failed} failed, server on {cores:.2f} cores",
                    flush=True,
                )
    medians = {way: statistics.median(rates[way]) for way in ways}
    for way in list(ways)[1:]:
        print(f"age_many is {medians['age_many'] / medians[way]:.2f} times as fast as {way}")


if __name__ == "__main__":
    main()
