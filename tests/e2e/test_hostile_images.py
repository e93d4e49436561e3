"""Hostile and odd files from outside: every one gets an answer, and the server is as well after them as before."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from tests.e2e.server_process import ServerProcess, start_server
from tests.hostile_images import MEGABYTE, hostile_images

REASONS = {"IMAGE_EMPTY", "IMAGE_UNREADABLE", "IMAGE_TOO_SMALL", "IMAGE_TOO_LARGE", "NO_FACE"}
EVERY = 4
GROWTH = 48 * MEGABYTE  # in a second round of the same files; some megabytes come and go
SECONDS = 60


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Each fourth, and all that ask for much."""
    every = hostile_images()
    return {name: data for index, (name, data) in enumerate(every.items()) if index % EVERY == 0 or "bomb" in name}


@pytest.fixture(scope="module")
def own_server() -> Iterator[ServerProcess]:
    """A server for these files alone, whose memory no other test grows."""
    running = start_server("--bundle", "models/default")
    yield running
    assert running.process.poll() is None, "the server died of a picture"
    assert running.stop() == 0


@pytest.fixture(scope="module")
def stub(own_server: ServerProcess) -> Iterator[FaceAgingStub]:
    with grpc.insecure_channel(own_server.address) as channel:
        yield FaceAgingStub(channel)


def aged(stub: FaceAgingStub, data: bytes) -> pb.AgeTransformResponse:
    request = pb.AgeTransformRequest(image=pb.Image(data=data), targets=[pb.Age(group="60+")])
    return stub.AgeTransform(request, timeout=SECONDS)


def outcome(stub: FaceAgingStub, data: bytes) -> str:
    """``aged``, or the reason in the one ErrorInfo of a rejection."""
    try:
        aged(stub, data)
    except grpc.RpcError as error:
        return reason(error)
    return "aged"


def reason(error: grpc.RpcError) -> str:
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    status = rpc_status.from_call(error)
    assert status is not None
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    info = error_details_pb2.ErrorInfo()
    assert infos[0].Unpack(info)
    assert info.domain == "dorian.v1"
    assert info.reason in REASONS
    assert status.message
    return info.reason


def resident(server: ServerProcess) -> int:
    """Bytes of memory that the server holds, or 0 where the system does not say."""
    memory = Path(f"/proc/{server.process.pid}/statm")
    return int(memory.read_text().split()[1]) * resource.getpagesize() if memory.exists() else 0


def test_every_file_gets_an_answer_and_the_server_stays_well(
    own_server: ServerProcess, stub: FaceAgingStub, files: dict[str, bytes], photo: Path
) -> None:
    good = photo.read_bytes()
    assert len(aged(stub, good).results) == 1
    first = {name: outcome(stub, data) for name, data in files.items()}
    before = resident(own_server)
    second = {name: outcome(stub, data) for name, data in files.items()}
    assert resident(own_server) - before < GROWTH
    assert first == second
    assert all(first[name] not in ("aged", "NO_FACE") for name in files if name.startswith("refused/"))
    assert all(first[name] in ("aged", "NO_FACE") for name in files if name.startswith("whole/"))
    assert len(Counter(first.values())) >= 4
    assert len(aged(stub, good).results) == 1
