"""A server that may take 1.5 GB, and what would take several times as much: it is answered or rejected, and nothing is killed."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from tests.e2e.server_process import ROOT, ServerProcess, start_server
from tests.server.process_memory import read_memory
from tests.server.rejections import Rejection

LIMIT_MIB = 1536
MEBIBYTE = 2**20
SECONDS = 590  # a busy machine takes its time
REJECTED = {"QUEUE_FULL", "IMAGE_TOO_LARGE", "TARGET_TOO_MANY", "IMAGE_UNREADABLE", "NO_FACE"}
JPEG = pb.IMAGE_FORMAT_JPEG
YEARS = [pb.Age(years=years) for years in range(20, 52)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def group() -> Iterator[Path | None]:
    """A cgroup with the limit, below that of the tests; ``None`` where none can be made."""
    folder = None
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        for _, controllers, path in (line.split(":", 2) for line in lines):
            version_1 = "memory" in controllers.split(",")
            mount = Path("/sys/fs/cgroup/memory" if version_1 else "/sys/fs/cgroup")
            file = "memory.limit_in_bytes" if version_1 else "memory.max"
            if (mount / path.lstrip("/") / file).is_file():
                folder = mount / path.lstrip("/") / f"dorian-test-{os.getpid()}"
                folder.mkdir()
                (folder / file).write_text(str(LIMIT_MIB * MEBIBYTE))
                break
    yield folder
    if folder is not None:
        folder.rmdir()


@pytest.fixture(scope="module")
def limited(group: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server in the cgroup, which finds the limit itself; or elsewhere one that is told of it."""
    log = tmp_path_factory.mktemp("limited") / "server.log"
    flags = ("--bundle", "models/default", "--workers", "2")
    if group is None:
        running = start_server(*flags, "--memory", str(LIMIT_MIB), log=log)
    else:
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        running = start_server(*flags, log=log, prefix=enter)
    yield running
    assert running.process.poll() is None, "it was killed"
    assert running.stop() == 0


@pytest.fixture(scope="module")
def stub(limited: ServerProcess) -> Iterator[FaceAgingStub]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(limited.address, options=options) as channel:
        yield FaceAgingStub(channel)


@pytest.fixture(scope="module")
def photo_of_48_megapixels() -> bytes:
    return enlarged((8000, 6000))


def enlarged(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.open(ROOT / "examples" / "astronaut.jpg").resize(size).save(file, "JPEG", quality=85)
    return file.getvalue()


def request_of(
    photo: bytes, targets: int = 1, output: pb.ImageFormat = pb.IMAGE_FORMAT_UNSPECIFIED
) -> pb.AgeTransformRequest:
    options = pb.OutputOptions(format=output)
    return pb.AgeTransformRequest(image=pb.Image(data=photo), targets=YEARS[:targets], output=options)


def outcome(stub: FaceAgingStub, request: pb.AgeTransformRequest) -> str:
    try:
        response = stub.AgeTransform(request, timeout=SECONDS)
    except grpc.RpcError as error:
        return Rejection(error).info.reason or error.code().name
    return "OK" if len(response.results) == len(request.targets) else "incomplete"


def test_nothing_is_killed_and_the_memory_comes_back(
    limited: ServerProcess, stub: FaceAgingStub, photo_of_48_megapixels: bytes
) -> None:
    process = limited.process.pid
    small = request_of((ROOT / "examples" / "astronaut.jpg").read_bytes())
    for _ in range(3):
        assert outcome(stub, small) == "OK"
    before = read_memory("VmRSS", process)
    flat = io.BytesIO()
    Image.new("RGB", (7999, 7999)).save(flat, "WEBP", lossless=True, method=0)
    lie = b"VP8L" + struct.pack("<I", 18) + b"\x2f" + struct.pack("<I", 7998 | 7998 << 14) + bytes(13)
    large = photo_of_48_megapixels
    waves = {
        "40 of 48 megapixels": [request_of(large)] * 40,
        "WebP that lies": [request_of(b"RIFF" + struct.pack("<I", 4 + len(lie)) + b"WEBP" + lie, 1, JPEG)] * 40,
        "WebP of 34 bytes": [request_of(flat.getvalue(), 1, JPEG)] * 4,
        "large answers": [
            request_of(large, 4, pb.IMAGE_FORMAT_PNG),
            request_of(enlarged((4000, 3000)), 32, pb.IMAGE_FORMAT_PNG),
        ],
        "others": [request_of(large, 1, pb.IMAGE_FORMAT_WEBP), request_of(large, 2)],
    }
    with ThreadPoolExecutor(40) as pool:
        outcomes = {
            name: list(pool.map(lambda request: outcome(stub, request), requests)) for name, requests in waves.items()
        }
    for name, reasons in outcomes.items():
        assert set(reasons) <= {"OK"} | REJECTED, (name, reasons)
    assert "OK" in outcomes["40 of 48 megapixels"]
    assert outcomes["large answers"][0] in ("TARGET_TOO_MANY", "IMAGE_TOO_LARGE")
    assert outcome(stub, small) == "OK"
    assert read_memory("VmHWM", process) < LIMIT_MIB * MEBIBYTE
    end = time.monotonic() + 30
    while (after := read_memory("VmRSS", process)) > 1.2 * before and time.monotonic() < end:
        outcome(stub, small)
    assert after <= 1.2 * before, f"{after / MEBIBYTE:.0f} MiB after, {before / MEBIBYTE:.0f} before"


def test_the_limit_is_found_and_told(limited: ServerProcess) -> None:
    lines = [line["message"] for line in limited.lines() if str(line["message"]).startswith("memory: ")]
    assert lines[0].startswith("memory: 1,536 MiB, of which photos may take ")
