"""Memory: what there is, how it is shared out, and that work takes no more than it is reckoned to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dorian_server.admission.cost import Cost
from dorian_server.admission.memory import MEBIBYTE, MemoryBudget, available_memory, photo_file_bytes
from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller
from dorian_server.domain.errors import OverloadError, RequestError, StartupError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images import encode, read_photo_header
from dorian_server.settings import Limits
from tests.server.waiting import SECONDS, wait_until

Write = Callable[..., bytes]
PHYSICAL = available_memory(Path("/nowhere"), Path("/nowhere/cgroup"))


def memory_in(folder: Path, membership: str, **files: str) -> int:
    """The memory found in a ``folder`` with these cgroup ``files`` (two underscores for a slash)."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("memory_max", "memory.max")
        path = path.with_name(path.name.replace("memory_limit", "memory.limit"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (folder / "self").write_text(membership)
    return available_memory(folder, folder / "self")


# --- what there is ---


@pytest.mark.parametrize(("limit", "expected"), [("1073741824", 2**30), ("max", PHYSICAL), (str(2**62), PHYSICAL)])
def test_version_2(tmp_path: Path, limit: str, expected: int) -> None:
    assert memory_in(tmp_path, "0::/\n", memory_max=limit) == expected


def test_the_narrowest_group_around_the_process_counts(tmp_path: Path) -> None:
    files = {"pod__memory_max": "600000000", "pod__app__memory_max": "max", "other__memory_max": "100000000"}
    assert memory_in(tmp_path, "0::/pod/app\n", memory_max="800000000", **files) == 600_000_000


def test_version_1(tmp_path: Path) -> None:
    files = {"memory__memory_limit_in_bytes": str(2**63 - 4096), "memory__app__memory_limit_in_bytes": "700000000"}
    assert memory_in(tmp_path, "7:memory:/app\n4:cpu:/\n", **files) == 700_000_000


def test_a_container_that_sees_the_hosts_path(tmp_path: Path) -> None:
    assert memory_in(tmp_path, "0::/docker/abc\n", memory_max="400000000") == 400_000_000
    assert memory_in(tmp_path, "0::/../../elsewhere\n", memory_max="400000000") == 400_000_000


def test_the_machine_has_some() -> None:
    assert 2**28 < available_memory() <= PHYSICAL


# --- how it is shared out ---


class Process:
    """A process that takes as much as it is told to, and half of a gigabyte without photos."""

    def __init__(self, limit: int = 1536 * MEBIBYTE) -> None:
        self.resident, self.trims = 512 * MEBIBYTE, 0
        self.budget = MemoryBudget(limit, lambda: self.resident, self._trim)

    def _trim(self) -> None:
        self.trims += 1


def test_photos_get_what_the_process_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    with caplog.at_level(logging.INFO):
        process.budget.open()
    expected = 7 / 8 * (0.9 * 1536 - 512)
    assert process.budget.for_photos == pytest.approx(expected * MEBIBYTE, abs=2)
    assert f"memory: 1,536 MiB, of which photos may take {expected:,.0f} MiB" in caplog.text


def test_a_server_with_too_little_for_any_photo_does_not_start() -> None:
    with pytest.raises(StartupError, match="takes 512 MiB without any photo; --memory must be larger than 600 MiB"):
        Process(600 * MEBIBYTE).budget.open()


def test_what_is_taken_without_photos_is_measured_again_when_there_are_none() -> None:
    process = Process()
    process.budget.open()
    before = process.budget.for_photos
    process.budget.begin(300 * MEBIBYTE)
    process.resident = 900 * MEBIBYTE
    process.budget.tidy()
    assert process.budget.for_photos == before, "a photo is worked on"
    assert process.budget.end(300 * MEBIBYTE)
    process.resident = 612 * MEBIBYTE
    process.budget.tidy()
    assert process.budget.for_photos == pytest.approx(before - 87.5 * MEBIBYTE, abs=2)
    process.resident = 512 * MEBIBYTE
    process.budget.check(before)  # which looks again before it rejects


def test_memory_is_given_back_after_large_calls_and_not_after_small_ones() -> None:
    """It takes time, and small calls use the memory of those before."""
    budget = Process().budget
    budget.open()
    for _ in range(1000):
        budget.begin(40 * MEBIBYTE)
        assert not budget.end(40 * MEBIBYTE)
    budget.begin(100 * MEBIBYTE)
    assert budget.end(100 * MEBIBYTE), "and nothing else is worked on"
    budget.tidy()
    budget.begin(40 * MEBIBYTE)
    ends = []
    for _ in range(6):
        budget.begin(100 * MEBIBYTE)
        ends.append(budget.end(100 * MEBIBYTE))
    assert ends == [False] * 5 + [True]


class Kitchen:
    """An admission with two workers and 700 MiB for photos, and calls that stay until they are released."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        process = Process(limit=round((512 + 800) / 0.9) * MEBIBYTE)
        process.budget.open()
        self.admission = Admission(2, max_wait=100.0, memory=process.budget)
        self.release, self._pool = threading.Event(), pool

    def send(self, megabytes: int, message_megabytes: int = 0) -> tuple[threading.Event, object]:
        begun = threading.Event()

        def visit() -> None:
            cost = Cost({"rest": 1}, memory=megabytes * MEBIBYTE, message_bytes=message_megabytes * MEBIBYTE)
            with self.admission.admit(cost, Caller()):
                begun.set()
                assert self.release.wait(SECONDS)

        return begun, self._pool.submit(visit)


@pytest.fixture
def kitchen() -> Iterator[Kitchen]:
    with ThreadPoolExecutor(32) as pool:
        kitchen = Kitchen(pool)
        yield kitchen
        kitchen.release.set()


def test_photos_wait_for_memory_though_a_worker_is_free(kitchen: Kitchen) -> None:
    first, _ = kitchen.send(500)
    assert first.wait(SECONDS)
    second, _ = kitchen.send(300)
    assert wait_until(lambda: len(kitchen.admission._waiting) == 1)
    assert not second.is_set()
    kitchen.release.set()
    assert second.wait(SECONDS)


def test_what_fits_beside_begins_at_once(kitchen: Kitchen) -> None:
    for _ in range(2):
        begun, _ = kitchen.send(340)
        assert begun.wait(SECONDS)


def test_what_never_fits_is_rejected_at_once_and_says_what_would(kitchen: Kitchen) -> None:
    _, visit = kitchen.send(701)
    with pytest.raises(RequestError) as caught:
        visit.result(SECONDS)  # type: ignore[attr-defined]
    assert (caught.value.reason, caught.value.field) == ("IMAGE_TOO_LARGE", "image.data")
    assert str(caught.value) == (
        "the photo, and what is to be made of it, may take 701 MiB of memory; this server has 700 MiB for them; "
        "send a smaller photo, ask for fewer targets, or for JPEG"
    )


def test_requests_that_wait_take_memory_too(kitchen: Kitchen) -> None:
    for _ in range(2):
        begun, _ = kitchen.send(10)
        assert begun.wait(SECONDS)
    for count in range(1, 7):
        kitchen.send(10, message_megabytes=15)
        assert wait_until(lambda count=count: len(kitchen.admission._waiting) == count)  # type: ignore[misc]
    _, visit = kitchen.send(10, message_megabytes=15)
    with pytest.raises(OverloadError, match="all the memory"):
        visit.result(SECONDS)  # type: ignore[attr-defined]


# --- files ---


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    ("kind", "quality"),
    [("JPEG", 50), ("JPEG", 89), ("JPEG", 92), ("JPEG", 95), ("JPEG", 100), ("PNG", 92), ("WEBP", 92), ("WEBP", 100)],
)
def test_no_file_is_larger_than_it_is_reckoned_to_be(
    kind: ImageFormat, quality: int, alpha: bool, write: Write
) -> None:
    """Noise has no smaller file."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 4), dtype=np.uint8)
    header = read_photo_header(write(noise if alpha else noise[..., :3].copy()), Limits())
    file = encode(noise[..., :3].copy(), kind, quality, noise[..., 3] if alpha else None)
    assert len(file) <= photo_file_bytes(header, kind, quality)
