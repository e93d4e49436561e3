"""A folder of photos by `dorian batch --engine ray` with workers that hold the bundle: one, then two, and so on.

For each number of workers it prints photos a second of the whole run, with Ray's start and the loading of bundles, and of its middle: from
the moment at which a tenth of the pictures is there to that at which nine tenths are. All runs must leave the same bytes. The command:

    python -m bench.ray_workers --count 480 --workers 1 2
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.photos import SUFFIXES, fill

ROOT = Path(__file__).resolve().parents[1]


def run(photos: Path, out: Path, bundle: Path, workers: int) -> float:
    """Age the folder; return the seconds of the whole run."""
    command = ["batch", str(photos), "-o", str(out), "--to", "60+", "--engine", "ray", "--ray-bundle", str(bundle)]
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dorian_client.cli", *command, "--ray-workers", str(workers)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


def middle_rate(pictures: list[Path]) -> float:
    """Return photos a second between a tenth and nine tenths of the pictures."""
    times = sorted(picture.stat().st_mtime for picture in pictures)
    first, last = len(times) // 10, len(times) * 9 // 10
    return (last - first) / (times[last] - times[first])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "examples" / "faces", help="with photos")
    parser.add_argument("--count", type=int, default=480, help="photos of a run; the folder's are repeated")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "default")
    arguments = parser.parse_args()
    digests, rates = set(), []
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name, "photos"), arguments.folder, arguments.count)
        for workers in arguments.workers:
            out = Path(name, f"aged-{workers}")
            seconds = run(Path(name, "photos"), out, arguments.bundle, workers)
            pictures = sorted(path for path in out.rglob("*") if path.suffix in SUFFIXES)
            digests.add(hashlib.sha256(b"".join(path.read_bytes() for path in pictures)).hexdigest())
            rates.append((len(pictures) / seconds, middle_rate(pictures)))
            print(
                f"{workers} workers: {len(pictures)} photos, {rates[-1][0]:.2f} a second, in the middle {rates[-1][1]:.2f}"
            )
    for workers, (whole, middle) in zip(arguments.workers[1:], rates[1:], strict=True):
        print(
            f"{workers} workers: {whole / rates[0][0]:.2f} times {arguments.workers[0]}, in the middle {middle / rates[0][1]:.2f}"
        )
    print("the same pictures" if len(digests) == 1 else "PICTURES DIFFER")


if __name__ == "__main__":
    main()
