"""How large requests may be: what gRPC itself rejects, what the server rejects with a message, and the connection that goes on."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.settings import Limits, Load
from tests.server.rejections import SECONDS, expect, rejected, rejected_at_once
from tests.server.tiny_searches import photo_of

Serve = Callable[..., FaceAgingStub]

MIB = 2**20
SMALL_FILE = 1000  # bytes
DATA = "image.data"
OLD = pb.Age(years=70)


def request_of(size: int) -> pb.DetectFacesRequest:
    """A request of so many bytes, with all that is in it."""
    request = pb.DetectFacesRequest(image=pb.Image(data=bytes(size)))
    request.image.data = bytes(size - (request.ByteSize() - size))
    assert request.ByteSize() == size
    return request


@pytest.fixture
def photo(write: Callable[..., bytes]) -> pb.Image:
    return pb.Image(data=write(photo_of((200, 200, 200))))


def code_of(stub: FaceAgingStub, request: pb.DetectFacesRequest) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        stub.DetectFaces(request, timeout=SECONDS)
    return str(caught.value.code().name)


def test_requests_have_16_mib_unless_another_limit_is_set(serve: Serve, searching_bundle: Bundle) -> None:
    assert Limits().max_message_bytes == 16 * MIB
    stub = serve(searching_bundle)
    assert code_of(stub, request_of(16 * MIB)) == "INVALID_ARGUMENT", "it was read"
    assert code_of(stub, request_of(16 * MIB + 1)) == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("limit", [2048, MIB, 40 * MIB])
def test_another_limit(serve: Serve, searching_bundle: Bundle, limit: int) -> None:
    stub = serve(searching_bundle, limits=Limits(max_message_bytes=limit))
    assert code_of(stub, request_of(limit)) == "INVALID_ARGUMENT"
    assert code_of(stub, request_of(limit + 1)) == "RESOURCE_EXHAUSTED"


def test_the_connection_survives_a_request_that_is_too_large(
    serve: Serve, searching_bundle: Bundle, photo: pb.Image
) -> None:
    """Neither it nor another call on it is lost."""
    stub = serve(searching_bundle, limits=Limits(max_message_bytes=100_000, max_steps=10_000), load=Load(workers=2))
    search = pb.SearchOptions(max_steps=10_000, optimizer=pb.OPTIMIZER_ADAM)
    running = stub.Optimize(pb.OptimizeRequest(image=photo, search=search), timeout=SECONDS)
    next(running)
    large = request_of(3 * MIB)
    for _ in range(5):
        assert code_of(stub, large) == "RESOURCE_EXHAUSTED"
        assert len(stub.DetectFaces(pb.DetectFacesRequest(image=photo), timeout=SECONDS).faces) == 1
    steps = [next(running).progress.step for _ in range(5)]
    assert steps == list(range(1, 6))
    running.cancel()


def test_photos_of_too_many_bytes_are_rejected_with_a_message(
    serve: Serve, searching_bundle: Bundle, photo: pb.Image
) -> None:
    stub = serve(searching_bundle, limits=Limits(max_image_bytes=SMALL_FILE))
    assert len(photo.data) < SMALL_FILE
    for data in (bytes(SMALL_FILE + 1), photo.data + bytes(SMALL_FILE + 1 - len(photo.data))):
        image = pb.Image(data=data)
        reason, message = "IMAGE_BYTES_EXCEEDED", "the image has 1,001 bytes; at most 1,000"
        expect(rejected(stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD])), reason, DATA, message)
        expect(rejected(stub.Reconstruct, pb.ReconstructRequest(image=image)), reason, DATA, message)
        expect(rejected(stub.DetectFaces, pb.DetectFacesRequest(image=image)), reason, DATA, message)
        expect(rejected_at_once(stub.Optimize, pb.OptimizeRequest(image=image)), reason, DATA, message)
        request = pb.CompareFacesRequest(first=photo, second=image)
        expect(rejected(stub.CompareFaces, request), reason, "second.data", f"the second photo: {message}")
    assert len(stub.DetectFaces(pb.DetectFacesRequest(image=photo), timeout=SECONDS).faces) == 1
