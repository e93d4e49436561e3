"""Memory of a server by the size of photos and the number of workers: at its peak, and afterwards."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.load import photos
from bench.load.calls import OK, ageing, close_all, connect_all
from bench.load.report import Report
from bench.load.server import Server, running
from bench.load.watch import MEBIBYTE

_WARM_UP = 3  # calls
_BACK = 1.2  # times the memory before


@dataclass(frozen=True)
class Plan:
    """Megapixels of the photos, and numbers of workers; as many photos as workers are sent at once."""

    megapixels: Sequence[int] = (3, 12, 24, 48)
    workers: Sequence[int] = (1, 2, 4)


def memory(plan: Plan, flags: Sequence[str]) -> Report:
    report = Report("memory: MiB at the peak, by megapixels of the photos, of which each worker has one")
    files = {megapixels: _photo(megapixels) for megapixels in plan.megapixels}
    table: dict[str, dict[str, float]] = {}
    for workers in plan.workers:
        with running(("--workers", str(workers), *flags)) as server:
            table[str(workers)] = asyncio.run(_measure(server, workers, files, report))
    report.figures["peaks"] = table
    return report


async def _measure(server: Server, workers: int, files: dict[int, bytes], report: Report) -> dict[str, float]:
    """Tell the peak of each size, and return them, with the memory before and after them."""
    (process,) = server.ids
    channels = connect_all(server.address, workers)
    for _ in range(_WARM_UP):
        await asyncio.gather(*(ageing(channel, photos.head())() for channel in channels))
    figures = {"before": _memory(process, "VmRSS")}
    for megapixels, file in files.items():
        Path(f"/proc/{process}/clear_refs").write_text("5")  # forgets the peak
        ended = await asyncio.gather(*(ageing(channel, file)() for channel in channels))
        peak = figures[f"{megapixels} megapixels"] = _memory(process, "VmHWM")
        others = [word for word in ended if word != OK]
        report.tell(f"{workers} workers, {megapixels} megapixels", f"{peak:.0f}{f', {others}' if others else ''}")
    await asyncio.gather(*(ageing(channel, photos.head())() for channel in channels))
    after = figures["after"] = _memory(process, "VmRSS")
    seen = f"{after:.0f}, {after / figures['before']:.2f} times"
    met = after <= _BACK * figures["before"]
    report.require(f"{workers} workers, afterwards, of {figures['before']:.0f} before", seen, f"<= {_BACK:g}", met)
    await close_all(channels)
    return figures


def _memory(process: int, name: str) -> float:
    """A line of a process's status, in MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MEBIBYTE
    raise LookupError(name)


def _photo(megapixels: int) -> bytes:
    """A photo of a person, 4 to 3, enlarged."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    file = io.BytesIO()
    Image.open(io.BytesIO(photos.person())).resize((height * 4 // 3, height)).save(file, "JPEG", quality=85)
    return file.getvalue()
