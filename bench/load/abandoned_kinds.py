"""Calls that their callers abandon: cancelled, timed out, cut off, and incomplete bytes on the socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from random import Random

from bench.load import photos
from bench.load.calls import LEFT, OK, PATIENCE, SERVICE, connect, outcome
from bench.load.kinds import Kind, Server, age_request, kind, optimize_request, read_all
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

_SOON = 0.3  # seconds within which callers leave
_LONG_SEARCH = 200  # steps
_GONE = "gone"  # nobody waited for an answer
_TIMES_UP = ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _HEADERS, _DATA = 4, 1, 0  # kinds of frames
_END_HEADERS, _END_STREAM = 4, 1


def abandoned_kinds() -> list[Kind]:
    return [
        kind("cancelled", 6, _cancelled, LEFT, OK),
        kind("timed out", 6, _timed_out, *_TIMES_UP, OK),
        kind("search, cancelled midway", 1, _search_cancelled, LEFT),
        kind("search, timed out", 0.5, _search_timed_out, *_TIMES_UP),
        kind("connection closed", 3, _closed, LEFT, "UNAVAILABLE", OK),
        Kind("socket cut off", 3, _cut_off, frozenset([_GONE])),
    ]


async def _cancelled(server: Server, choice: Random) -> str:
    call = server.stub.AgeTransform(age_request(photos.head(), 1, choice), timeout=PATIENCE)
    asyncio.get_running_loop().call_later(choice.uniform(0, _SOON), call.cancel)
    return await outcome(call)


def _timed_out(server: Server, choice: Random) -> Awaitable[str]:
    request = age_request(photos.head(), 1, choice)
    return outcome(server.stub.AgeTransform(request, timeout=choice.uniform(0.001, _SOON)))


async def _search_cancelled(server: Server, choice: Random) -> str:
    """Reads some of the steps of a search that would be long, and leaves."""
    call = server.stub.Optimize(optimize_request(_LONG_SEARCH), timeout=PATIENCE)

    async def read_some() -> None:
        for _ in range(choice.randint(1, 6)):
            await call.read()
        call.cancel()
        await read_all(call)

    return await outcome(read_some())


def _search_timed_out(server: Server, choice: Random) -> Awaitable[str]:
    call = server.stub.Optimize(optimize_request(_LONG_SEARCH), timeout=choice.uniform(0.01, _SOON))
    return outcome(read_all(call))


async def _closed(server: Server, choice: Random) -> str:
    """Closes its connection while it waits."""
    channel = connect(server.address)
    call = FaceAgingStub(channel).AgeTransform(age_request(photos.head(), 1, choice), timeout=PATIENCE)
    waiting = asyncio.ensure_future(outcome(call))
    await asyncio.sleep(choice.uniform(0, _SOON))
    await channel.close()
    return await waiting


async def _cut_off(server: Server, choice: Random) -> str:
    """Sends a part of a call over a socket of its own, and goes without a word."""
    host, _, port = server.address.rpartition(":")
    data = choice.choice(_PARTS)(choice)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await asyncio.sleep(choice.uniform(0, _SOON / 3))
    if choice.random() < 0.5:  # at once, by a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    return _GONE


def _half_a_greeting(choice: Random) -> bytes:
    return _PREFACE[: choice.randint(1, len(_PREFACE) - 1)]


def _noise(choice: Random) -> bytes:
    return choice.randbytes(choice.randint(1, 500))


def _half_a_head(choice: Random) -> bytes:
    head = _head()
    return _greeting() + head[: choice.randint(1, len(head) - 1)]


def _half_a_message(choice: Random) -> bytes:
    body = _body()
    return _greeting() + _head() + body[: choice.randint(1, len(body) - 1)]


def _whole(choice: Random) -> bytes:
    """A complete call whose sender does not wait for the response."""
    return _greeting() + _head() + _body()


_PARTS: tuple[Callable[[Random], bytes], ...] = (_half_a_greeting, _noise, _half_a_head, _half_a_message, _whole)


def _greeting() -> bytes:
    return _PREFACE + _frame(_SETTINGS, 0, 0, b"")


def _head() -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"{SERVICE}AgeTransform",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # Literals without indexing and without Huffman's code: RFC 7541, section 6.2.2.
    packed = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return _frame(_HEADERS, _END_HEADERS, 1, packed)


def _body() -> bytes:
    message = age_request(photos.head()).SerializeToString()
    return _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)


def _text(text: str) -> bytes:
    assert len(text) < 127, "longer ones have a length of several bytes"
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
