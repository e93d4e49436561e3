"""Requests that no client of ours sends: odd values in any field, broken messages, odd metadata, methods, compression and deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from bench.attack.mutations import damage
from bench.load import photos
from bench.load.calls import SERVICE, outcome
from dorian.v1 import face_aging_pb2 as pb

_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 120.0, 121.0, 1e-45, 1e38, -1e38, math.nan, math.inf, -math.inf)
_INTEGERS = (0, 1, -1, 2, 31, 33, 100, 101, 500, 501, 2**31 - 1, -(2**31))
_TEXTS = (
    "",
    "a",
    "60+",
    "old",
    "age_cgan",
    "../../etc/passwd",
    "\0",
    "\u202e",
    "😀" * 50,
    "%n%s",
    "x" * 100_000,
    "' OR 1=1 --",
)
_COUNTS = (0, 1, 2, 32, 33, 500)
_NUMBERS_OF_LATENT = (0, 1, 100, 4096, 4097, 100_000)
_MANY_ENTRIES = 2_000_000
_METHODS = (
    "/",
    "//",
    "",
    "/x",
    f"{SERVICE}",
    f"{SERVICE}agetransform",
    f"{SERVICE}AgeTransform/",
    f"{SERVICE}%41geTransform",
)
_OTHER_SERVICES = (
    "/dorian.v1.Admin/ReloadBundle",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/List",
)
_METADATA = (
    ("dorian-priority", "x" * 500),
    ("x-request-id", "x" * 4000),
    ("x-request-id", ";'{}%"),
    ("traceparent", "00-00-00-00"),
    ("traceparent", f"00-{'f' * 32}-{'f' * 16}-ff"),
    ("authorization", "Bearer "),
    ("authorization", "Basic " + "A" * 2000),
    ("grpc-accept-encoding", "snappy, ,,,gzip;q=2"),
    ("content-length", "-1"),
    ("cookie", "a=b; " * 100),
    ("x-bin", b"\0\xff" * 500),
    ("dorian-priority", "batch"),
)
_SECONDS = 60

Requester: TypeAlias = Callable[[grpc.aio.Channel], Any]
_MAKERS: dict[str, Callable[[], Message]] = {
    "AgeTransform": lambda: pb.AgeTransformRequest(image=pb.Image(data=photos.head()), targets=[pb.Age(years=60)]),
    "DetectFaces": lambda: pb.DetectFacesRequest(image=pb.Image(data=photos.head())),
    "CompareFaces": lambda: pb.CompareFacesRequest(
        first=pb.Image(data=photos.head()), second=pb.Image(data=photos.other_head())
    ),
    "Reconstruct": lambda: pb.ReconstructRequest(image=pb.Image(data=photos.head())),
    "Optimize": lambda: pb.OptimizeRequest(image=pb.Image(data=photos.head()), search=pb.SearchOptions(max_steps=3)),
    "ListMethods": pb.ListMethodsRequest,
}


@dataclass(frozen=True)
class OddRequest:
    """A request's name, for people, and how to send it over a channel."""

    name: str
    send: Requester


def make_request(seed: int, number: int) -> OddRequest:
    """Return request ``number`` of a ``seed``; the same at each call."""
    random = Random(f"request {seed}/{number}")
    kind: Callable[[Random], tuple[str, Requester]] = random.choice(_KINDS)
    name, send = kind(random)
    return OddRequest(f"{number} {name}", send)


async def _unary(
    channel: grpc.aio.Channel, method: str, data: bytes, metadata: Sequence[tuple[str, Any]] = (), **more: Any
) -> str:
    more.setdefault("timeout", _SECONDS)
    if method.endswith("/Optimize"):
        return await outcome(_drain(channel.unary_stream(method)(data, metadata=metadata, **more)))
    return await outcome(channel.unary_unary(method)(data, metadata=metadata, **more))


async def _drain(call: Any) -> None:
    async for _ in call:
        pass


# --- values ---


def _spoil_fields(random: Random) -> tuple[str, Requester]:
    method, message = _make_message(random)
    data = message.SerializeToString()
    return f"fields of {method}", lambda channel: _unary(channel, f"{SERVICE}{method}", data)


def _make_message(random: Random) -> tuple[str, Message]:
    method = random.choice(list(_MAKERS))
    message = _MAKERS[method]()
    for _ in range(random.randint(1, 3)):
        _spoil(random, message)
    return method, message


def _spoil(random: Random, message: Message) -> None:
    """Give one field of ``message``, or of a message in it, an odd value."""
    field: FieldDescriptor = random.choice(list(message.DESCRIPTOR.fields))
    if field.name in ("bundle", "method", "max_steps") and random.random() < 0.8:
        return  # else most requests would end at an unknown name, and searches take as long as they may
    if field.is_repeated:
        _spoil_repeated(random, message, field)
    elif field.message_type is not None:
        _spoil(random, getattr(message, field.name))
    else:
        setattr(message, field.name, _odd_value(random, field))


def _spoil_repeated(random: Random, message: Message, field: FieldDescriptor) -> None:
    values = getattr(message, field.name)
    if field.message_type is None:
        values.extend([_odd_value(random, field)] * random.choice(_NUMBERS_OF_LATENT))
        return
    for _ in range(random.choice(_COUNTS)):
        _spoil(random, values.add())
    if random.random() < 0.02:
        message.MergeFrom(type(message).FromString(bytes([field.number << 3 | 2, 0]) * _MANY_ENTRIES))


def _odd_value(random: Random, field: FieldDescriptor) -> object:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return (
                random.randbytes(random.choice((0, 1, 100)))
                if field.type == field.TYPE_BYTES
                else random.choice(_TEXTS)
            )
        case FieldDescriptor.CPPTYPE_BOOL:
            return random.random() < 0.5
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return random.choice(_FLOATS)
    return random.choice(_INTEGERS)


# --- wire ---


def _break_wire(random: Random) -> tuple[str, Requester]:
    method, message = _make_message(random)
    data = message.SerializeToString()
    way = random.choice(_WIRES)
    broken = way(random, data)
    return f"{way.__name__.strip('_')} of {method}", lambda channel: _unary(channel, f"{SERVICE}{method}", broken)


def _unknown_fields(random: Random, data: bytes) -> bytes:
    tags = b"".join(_varint(random.randint(100, 2**29 - 1) << 3) + _varint(random.getrandbits(64)) for _ in range(1000))
    return data + tags * random.choice((1, 20))


def _cut_message(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _damaged_message(random: Random, data: bytes) -> bytes:
    return damage(random, data)


def _message_twice(random: Random, data: bytes) -> bytes:
    return data * random.choice((2, 10))


def _nested_groups(random: Random, data: bytes) -> bytes:
    depth = random.choice((10, 99, 101, 100_000))
    return data + _varint(999 << 3 | 3) * depth + _varint(999 << 3 | 4) * random.choice((0, depth))


def _noise(random: Random, data: bytes) -> bytes:
    return random.randbytes(random.choice((1, 10, 1000, 100_000)))


def _text_that_is_none(random: Random, data: bytes) -> bytes:
    return data + b"\x22\x04\xff\xfe\x80\xc0" + b"\x6a\x02\xc3\x28"


def _lengths_that_lie(random: Random, data: bytes) -> bytes:
    return data + _varint(random.randint(1, 15) << 3 | 2) + _varint(random.choice((2**31 - 1, 2**32, 2**63, 2**64 - 1)))


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


_WIRES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _unknown_fields,
    _cut_message,
    _damaged_message,
    _message_twice,
    _nested_groups,
    _noise,
    _text_that_is_none,
    _lengths_that_lie,
)


# --- around the message ---


def _odd_metadata(random: Random) -> tuple[str, Requester]:
    method, data = "DetectFaces", _MAKERS["DetectFaces"]().SerializeToString()
    entries = [*random.sample(_METADATA, random.randint(1, 4))] * random.choice((1, 1, 2, 30))
    return "metadata", lambda channel: _unary(channel, f"{SERVICE}{method}", data, tuple(entries))


def _odd_method(random: Random) -> tuple[str, Requester]:
    method = random.choice((*_METHODS, *_OTHER_SERVICES, SERVICE + "x" * 4000, "/" * 2000))
    data = random.choice((b"", b"\x0a\x00", random.randbytes(200)))
    return f"method {method[:60]}", lambda channel: _unary(channel, method, data)


def _compressed(random: Random) -> tuple[str, Requester]:
    way = random.choice((grpc.Compression.Gzip, grpc.Compression.Deflate))
    size = random.choice((0, 1000, 15 * 2**20, 40 * 2**20))
    data = pb.DetectFacesRequest(image=pb.Image(data=bytes(size))).SerializeToString()
    return f"{size} zeros, compressed", lambda channel: _unary(channel, f"{SERVICE}DetectFaces", data, compression=way)


def _odd_deadline(random: Random) -> tuple[str, Requester]:
    method, message = _make_message(random)
    seconds = random.choice((0.0, 0.001, 0.02, 1e6))
    data = message.SerializeToString()
    return f"deadline of {seconds:g} s", lambda channel: _unary(channel, f"{SERVICE}{method}", data, timeout=seconds)


def _several_messages(random: Random) -> tuple[str, Requester]:
    data, count = _MAKERS["DetectFaces"]().SerializeToString(), random.choice((0, 2, 20))

    async def send(channel: grpc.aio.Channel) -> str:
        async def requests() -> AsyncIterator[bytes]:
            for _ in range(count):
                yield data

        word = await outcome(channel.stream_unary(f"{SERVICE}DetectFaces")(requests(), timeout=_SECONDS))
        # gRPC's client says so where the server has answered the first message and ends the call; its log tells of faults of its own.
        return "ended early" if word == "INTERNAL" else word

    return f"{count} messages", send


def _given_up(random: Random) -> tuple[str, Requester]:
    data, seconds = _MAKERS["Optimize"]().SerializeToString(), random.choice((0.0, 0.01, 0.1))

    async def send(channel: grpc.aio.Channel) -> str:
        call = channel.unary_stream(f"{SERVICE}Optimize")(data, timeout=_SECONDS)
        await asyncio.sleep(seconds)
        call.cancel()
        return "given up"

    return "given up", send


_KINDS = (
    *(_spoil_fields,) * 8,
    *(_break_wire,) * 5,
    _odd_metadata,
    _odd_method,
    _compressed,
    _odd_deadline,
    _several_messages,
    _given_up,
)
