"""Calls that must be rejected, each with the reason that is expected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from random import Random

from bench.load import photos
from bench.load.calls import OK, PATIENCE, SERVICE, connect, outcome
from bench.load.kinds import Kind, Make, Server, age_request, kind
from dorian.v1 import face_aging_pb2 as pb
from tests.hostile_images import hostile_images

_REFUSED_FILE = (
    "IMAGE_EMPTY",
    "IMAGE_UNREADABLE",
    "IMAGE_TOO_SMALL",
    "IMAGE_TOO_LARGE",
    "IMAGE_BYTES_EXCEEDED",
)
_SMALL = 64 * 1024  # bytes; larger hostile files would keep the client busy
_TOO_MANY, _TOO_LONG = 33, 17 * 2**20  # targets; bytes of a message

Change = Callable[[pb.AgeTransformRequest], object]


def rejected_kinds() -> list[Kind]:
    """Bad requests of all sorts."""
    return [
        kind("hostile file, refused", 3, _hostile("refused"), *_REFUSED_FILE),
        kind("hostile file, either", 2, _hostile("either"), *_REFUSED_FILE, OK),
        kind("hostile file, whole", 1, _hostile("whole"), OK),
        _refused("no photo", "IMAGE_EMPTY", lambda request: request.image.Clear()),
        kind("garbage", 1, _garbage, "IMAGE_UNREADABLE"),
        kind("half a photo", 1, _half, "IMAGE_UNREADABLE"),
        _photo("nobody on it", photos.nobody, "NO_FACE"),
        _photo("tiny photo", photos.tiny, "IMAGE_TOO_SMALL"),
        _photo("vast photo", photos.vast, "IMAGE_TOO_LARGE"),
        _refused("unknown method", "METHOD_UNKNOWN", lambda request: _set(request, method="none")),
        _refused("unknown bundle", "BUNDLE_UNKNOWN", lambda request: _set(request, bundle="none")),
        _refused("no targets", "TARGET_MISSING", lambda request: request.ClearField("targets")),
        _refused("too many targets", "TARGET_TOO_MANY", lambda request: _add(request, [pb.Age(years=30)] * _TOO_MANY)),
        _refused("age out of range", "AGE_OUT_OF_RANGE", lambda request: _add(request, [pb.Age(years=200)])),
        _refused("age not a number", "AGE_OUT_OF_RANGE", lambda request: _add(request, [pb.Age(years=float("nan"))])),
        _refused("unknown group", "AGE_GROUP_UNKNOWN", lambda request: _add(request, [pb.Age(group="old")])),
        _refused("strength out of range", "SETTING_OUT_OF_RANGE", lambda request: _set(request, strength=9)),
        kind("too many steps", 1, _too_many_steps, "SETTING_OUT_OF_RANGE"),
        kind("too long a message", 0.2, _too_long, "RESOURCE_EXHAUSTED"),
        kind("no message at all", 0.5, _no_message, "INVALID_ARGUMENT"),
        Kind("no such call", 0.5, _no_such_call, frozenset(["UNIMPLEMENTED"])),
    ]


def _refused(name: str, reason: str, change: Change) -> Kind:
    """A good request for an age after ``change``, to be refused for ``reason``."""
    request = age_request(photos.head())
    change(request)

    def make(server: Server, choice: Random) -> Awaitable[str]:
        return outcome(server.stub.AgeTransform(request, timeout=PATIENCE))

    return kind(name, 1, make, reason)


def _set(request: pb.AgeTransformRequest, **fields: object) -> None:
    for name, value in fields.items():
        setattr(request, name, value)


def _add(request: pb.AgeTransformRequest, targets: list[pb.Age]) -> None:
    request.targets.extend(targets)


def _photo(name: str, photo: Callable[[], bytes], reason: str) -> Kind:
    def make(server: Server, choice: Random) -> Awaitable[str]:
        return outcome(server.stub.AgeTransform(age_request(photo()), timeout=PATIENCE))

    return kind(name, 1, make, reason)


def _hostile(verdict: str) -> Make:
    """One of the files that tests of decoding send, among those with this ``verdict``."""
    files = _hostile_files(verdict)

    def make(server: Server, choice: Random) -> Awaitable[str]:
        request = pb.DetectFacesRequest(image=pb.Image(data=choice.choice(files)))
        return outcome(server.stub.DetectFaces(request, timeout=PATIENCE))

    return make


@cache
def _hostile_files(verdict: str) -> list[bytes]:
    return [
        data for name, data in hostile_images().items() if name.startswith(f"{verdict}/") and 0 < len(data) <= _SMALL
    ]


def _garbage(server: Server, choice: Random) -> Awaitable[str]:
    photo = choice.randbytes(choice.randint(1, 20_000))
    return outcome(server.stub.AgeTransform(age_request(photo), timeout=PATIENCE))


def _half(server: Server, choice: Random) -> Awaitable[str]:
    whole = photos.head()
    photo = whole[: choice.randint(1, len(whole) // 2)]
    return outcome(server.stub.AgeTransform(age_request(photo), timeout=PATIENCE))


def _too_many_steps(server: Server, choice: Random) -> Awaitable[str]:
    request = pb.ReconstructRequest(
        image=pb.Image(data=photos.head()),
        mode=pb.RECONSTRUCTION_MODE_IDENTITY,
        search=pb.SearchOptions(max_steps=10**6),
    )
    return outcome(server.stub.Reconstruct(request, timeout=PATIENCE))


def _too_long(server: Server, choice: Random) -> Awaitable[str]:
    return outcome(server.stub.AgeTransform(age_request(bytes(_TOO_LONG)), timeout=PATIENCE))


async def _no_message(server: Server, choice: Random) -> str:
    return await _raw("DetectFaces", server, b"\xff" * choice.randint(1, 2_000))


async def _no_such_call(server: Server, choice: Random) -> str:
    return await _raw("Rejuvenate", server, b"")


async def _raw(method: str, server: Server, data: bytes) -> str:
    async with connect(server.address) as channel:
        return await outcome(channel.unary_unary(f"{SERVICE}{method}")(data, timeout=PATIENCE))
