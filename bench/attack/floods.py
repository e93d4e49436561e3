"""Attacks on the connection: streams that never send their request, and floods of frames. Each is bounded by its seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from dorian.v1 import face_aging_pb2 as pb
from tests.raw_http2 import RawConnection

_DETECT, _METHODS, _CHECK, _WATCH = (
    "/dorian.v1.FaceAging/DetectFaces",
    "/dorian.v1.FaceAging/ListMethods",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
)
_HALF = b"\0" + (15 * 2**20).to_bytes(4, "big") + bytes(4000)  # the beginning of a message of 15 MiB
_CONNECTIONS, _STREAMS = 5, 80
_FLOODERS = 2
_WINDOW = 4  # the setting of HTTP/2 for how much of an answer the caller takes

Attack = Callable[[str, threading.Event], None]


@contextmanager
def attacking(attack: Attack, address: str) -> Iterator[threading.Event]:
    """Attack for the time of the context, on a thread; gives what is set when it is over."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(attack, address, over)
        try:
            yield over
        finally:
            over.set()
        future.result()


# --- streams that stay open ---


def _hold(method: str, beginning: bytes | None, address: str, over: threading.Event) -> None:
    """Open 400 streams on five connections, and open them again where the server has ended them."""
    while not over.is_set():
        with ExitStack() as stack, suppress(OSError):
            connections = [stack.enter_context(RawConnection(address)) for _ in range(_CONNECTIONS)]
            for connection in connections:
                connection.send(frame for _ in range(_STREAMS) for frame in connection.half_open(method, beginning))
            over.wait(2)


def _hold_answers(address: str, over: threading.Event) -> None:
    """Call for 400 answers that the callers never take, as their windows are of no byte."""
    request = pb.ListMethodsRequest().SerializeToString()
    with ExitStack() as stack, suppress(OSError):
        for _ in range(_CONNECTIONS):
            connection = stack.enter_context(RawConnection(address, {_WINDOW: 0}))
            connection.send(frame for _ in range(_STREAMS) for frame in connection.call(_METHODS, request))
        over.wait()


# --- floods ---


def _flood(frames: Callable[[RawConnection], list[bytes]], address: str, over: threading.Event) -> None:
    """Send ``frames`` as fast as the server takes them, on two connections; a connection that the server has closed is opened again."""

    def send() -> None:
        while not over.is_set():
            with suppress(OSError), RawConnection(address) as connection:
                while connection.is_open and not over.is_set():
                    connection.send(frames(connection))
            time.sleep(0.01)

    with ThreadPoolExecutor(_FLOODERS) as pool:
        for future in [pool.submit(send) for _ in range(_FLOODERS)]:
            future.result()


def _resets(connection: RawConnection) -> list[bytes]:
    return [frame for _ in range(20) for frame in connection.reset(_DETECT)]


def _pings(connection: RawConnection) -> list[bytes]:
    return [connection.ping()] * 100


def _settings(connection: RawConnection) -> list[bytes]:
    return [connection.settings()] * 100


def _endless_headers(connection: RawConnection) -> list[bytes]:
    return connection.endless_headers(2**20)


def _idle_frames(connection: RawConnection) -> list[bytes]:
    return connection.half_open(_DETECT) + connection.idle_frames() * 200


def _odd_calls(connection: RawConnection) -> list[bytes]:
    """Return calls whose compression, length, encoding or type is not what it says."""
    message = pb.DetectFacesRequest(image=pb.Image(data=b"x" * 100)).SerializeToString()
    ways: list[Mapping[str, str]] = [
        {"grpc_encoding": "gzip"},
        {"grpc_encoding": "br"},
        {"grpc_timeout": "99999999999H"},
        {"content_type": "text/html"},
        {"te": "gzip"},
    ]
    frames = [frame for way in ways for frame in connection.call(_DETECT, message, True, **way)]
    return frames + connection.half_open(_DETECT, b"\x07\xff\xff\xff\xff") + connection.call("x", message)


ATTACKS: Mapping[str, Attack] = {
    "nothing": lambda address, over: None,
    "400 calls of headers alone": partial(_hold, _DETECT, None),
    "400 halves of a message": partial(_hold, _DETECT, _HALF),
    "400 health checks without a request": partial(_hold, _CHECK, None),
    "400 watches without a request": partial(_hold, _WATCH, None),
    "400 answers that nobody takes": _hold_answers,
    "calls begun and reset at once": partial(_flood, _resets),
    "pings": partial(_flood, _pings),
    "settings": partial(_flood, _settings),
    "headers without an end": partial(_flood, _endless_headers),
    "empty data, priorities, windows": partial(_flood, _idle_frames),
    "compression and headers that lie": partial(_flood, _odd_calls),
}
