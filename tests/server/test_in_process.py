"""The service in this process answers as a server does: the same response, the same error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from grpc_status import rpc_status
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server.domain.errors import StartupError
from dorian_server.serving.in_process import InProcessService
from dorian_server.serving.server import start
from dorian_server.settings import Load, Settings
from tests.server.tiny_searches import photo_of, write_search_bundle


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write_search_bundle(folder, "searching")
    return Settings(folder, host="127.0.0.1", port=0, threads=1, load=Load(workers=1))


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[InProcessService]:
    service = InProcessService(settings, on_overdue=lambda: None)
    yield service
    service.close()


@pytest.fixture(scope="module")
def stub(settings: Settings) -> Iterator[face_aging_pb2_grpc.FaceAgingStub]:
    server = start(settings)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield face_aging_pb2_grpc.FaceAgingStub(channel)  # type: ignore[no-untyped-call]
    server.stop()


def photo(format: str) -> pb.Image:
    buffer = io.BytesIO()
    Image.fromarray(photo_of((220, 160, 60))).save(buffer, format)
    return pb.Image(data=buffer.getvalue())


def without_times(response: Message) -> bytes:
    response.ClearField("times")
    return response.SerializeToString(deterministic=True)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_responses_are_those_of_a_server(
    format: str, service: InProcessService, stub: face_aging_pb2_grpc.FaceAgingStub
) -> None:
    request = pb.AgeTransformRequest(image=photo(format), targets=[pb.Age(years=20), pb.Age(years=70)])
    response = service.age(request)
    assert len(response.results) == 2
    assert without_times(response) == without_times(stub.AgeTransform(request))


@pytest.mark.parametrize(
    "request_",
    [
        pb.AgeTransformRequest(),
        pb.AgeTransformRequest(image=pb.Image(data=b"no image"), targets=[pb.Age(years=20)]),
        pb.AgeTransformRequest(image=photo("PNG"), targets=[pb.Age(years=20)], method="nothing"),
        pb.AgeTransformRequest(image=photo("PNG"), targets=[pb.Age(years=20)], bundle="nothing"),
        pb.AgeTransformRequest(image=photo("PNG"), targets=[pb.Age(group="99+")]),
    ],
)
def test_errors_are_those_of_a_server(
    request_: pb.AgeTransformRequest, service: InProcessService, stub: face_aging_pb2_grpc.FaceAgingStub
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as here:
        service.age(request_)
    with pytest.raises(grpc.RpcError) as there:
        stub.AgeTransform(request_)
    assert rpc_status.from_call(here.value) == rpc_status.from_call(there.value)


def test_a_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="manifest"):
        InProcessService(Settings(tmp_path), on_overdue=lambda: None)
