"""Bad input from outside: a status with details over the wire, the same as a message of the command, and a server that stays up."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from tests.e2e.server_process import ROOT, ServerProcess, dorian

ASTRONAUT = (ROOT / "examples" / "astronaut.jpg").read_bytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def plain_png(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {
    "empty": (b"", "IMAGE_EMPTY"),
    "text": (b"Dear server, please make me younger.", "IMAGE_UNREADABLE"),
    "truncated": (ASTRONAUT[: len(ASTRONAUT) // 2], "IMAGE_UNREADABLE"),
    "one pixel": (plain_png(1), "IMAGE_TOO_SMALL"),
    "huge header": (png_header(30_000, 30_000), "IMAGE_TOO_LARGE"),
    "16 MB": (ASTRONAUT + bytes(16_000_000), "IMAGE_BYTES_EXCEEDED"),
    "no face": (plain_png(256), "NO_FACE"),
}
AGES = {
    "unknown group": (pb.Age(group="61-77"), "AGE_GROUP_UNKNOWN"),
    "below": (pb.Age(years=-3), "AGE_OUT_OF_RANGE"),
    "above": (pb.Age(years=200), "AGE_OUT_OF_RANGE"),
    "unset": (pb.Age(), "TARGET_MISSING"),
}


def request(data: bytes = ASTRONAUT, age: pb.Age | None = None, method: str = "") -> pb.AgeTransformRequest:
    return pb.AgeTransformRequest(image=pb.Image(data=data), targets=[age or pb.Age(group="60+")], method=method)


def rejected(server: ServerProcess, message: pb.AgeTransformRequest) -> tuple[grpc.StatusCode, str, str]:
    """Status, reason, and the field at fault, of a call that must fail; then proof that the server still answers."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        stub = FaceAgingStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.AgeTransform(message, timeout=60)
        assert stub.ListMethods(pb.ListMethodsRequest(), timeout=10).methods
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert info.domain == "dorian.v1"
    assert status.message == bad.field_violations[0].description
    return caught.value.code(), info.reason, bad.field_violations[0].field


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_over_the_wire(server: ServerProcess, name: str) -> None:
    data, reason = PICTURES[name]
    assert rejected(server, request(data)) == (grpc.StatusCode.INVALID_ARGUMENT, reason, "image.data")


@pytest.mark.parametrize("name", AGES)
def test_ages_over_the_wire(server: ServerProcess, name: str) -> None:
    age, reason = AGES[name]
    assert rejected(server, request(age=age)) == (grpc.StatusCode.INVALID_ARGUMENT, reason, "targets[0]")


def test_unknown_method_over_the_wire(server: ServerProcess) -> None:
    rejection = rejected(server, request(method="time_machine"))
    assert rejection == (grpc.StatusCode.NOT_FOUND, "METHOD_UNKNOWN", "method")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "empty"),
        ("text", "cannot be decoded"),
        ("truncated", "cannot be decoded"),
        ("one pixel", "1×1"),
        ("huge header", "30000×30000"),
        ("16 MB", "bytes"),
        ("no face", "no face"),
    ],
)
def test_messages_for_photos(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "photo").write_bytes(PICTURES[name][0])
    done = dorian(server, environment, "age", tmp_path / "photo", "--to", "60+", "-o", tmp_path / "out.jpg")
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.jpg").exists()


def test_a_photo_too_large_for_any_message(server: ServerProcess, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(ASTRONAUT + bytes(40_000_000))
    done = dorian(server, environment, "age", tmp_path / "photo", "--to", "60+", "-o", tmp_path / "out.jpg")
    assert done.returncode == 3
    assert "send a smaller photo" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--to", "61-77"], "0-18, 19-29, 30-39, 40-49, 50-59, 60+"),
        (["--to=-3"], "between 0 and 120"),
        (["--to", "200"], "between 0 and 120"),
        (["--to", "60+", "--method", "time_machine"], "; it has age_"),
    ],
)
def test_messages_for_ages_and_methods(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path, flags: list[str], message: str
) -> None:
    photo = ROOT / "examples" / "astronaut.jpg"
    done = dorian(server, environment, "age", photo, *flags, "-o", tmp_path / "out.jpg")
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr
