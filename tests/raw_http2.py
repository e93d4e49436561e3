"""A connection that speaks HTTP/2 frame by frame, to do what no well-behaved client does; see RFC 9113."""

from __future__ import annotations

import socket
import struct
import threading
import types
from collections.abc import Iterable, Mapping
from types import TracebackType

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, _ACKNOWLEDGED = 1, 4, 1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SECONDS = 60


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header as HPACK has it that is neither indexed nor compressed; both shorter than 127 bytes."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


class RawConnection:
    """A connection to a gRPC server; whatever the server sends is read and thrown away.

    Args:
        address: The server's, as host:port.
        settings: What the first frame of settings holds: numbers of settings and their values.
    """

    def __init__(self, address: str, settings: Mapping[int, int] = types.MappingProxyType({})) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), _SECONDS)
        self._next = 1
        said = b"".join(struct.pack(">HI", *setting) for setting in settings.items())
        self._socket.sendall(_PREFACE + _frame(SETTINGS, 0, 0, said))
        self._socket.recv(65_536)  # the server's settings
        self._socket.sendall(_frame(SETTINGS, _ACKNOWLEDGED, 0))
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it."""
        return self._reader.is_alive()

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames at once."""
        self._socket.sendall(b"".join(frames))

    def half_open(self, method: str, beginning: bytes | None = None, **more: str) -> list[bytes]:
        """The frames that open a stream for a call without its request, or with its ``beginning``: five bytes of gRPC, then the message.

        ``more``: further headers, or others in place of the usual ones, with _ for -.
        """
        stream, self._next = self._next, self._next + 2
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        } | {name.replace("_", "-"): value for name, value in more.items()}
        frames = [_frame(HEADERS, END_HEADERS, stream, b"".join(_literal(*item) for item in headers.items()))]
        if beginning is not None:
            frames.append(_frame(DATA, 0, stream, beginning))
        return frames

    def reset(self, method: str) -> list[bytes]:
        """The frames that open a stream and cancel it at once."""
        frames, stream = self.half_open(method), self._next - 2
        return [*frames, _frame(RESET, 0, stream, struct.pack(">I", 8))]

    def call(self, method: str, message: bytes, is_compressed: bool = False, **more: str) -> list[bytes]:
        """The frames of a whole call, with ``more`` headers as ``half_open`` has them."""
        data = bytes([is_compressed]) + struct.pack(">I", len(message)) + message
        frames, stream = self.half_open(method, **more), self._next - 2
        return [*frames, _frame(DATA, END_STREAM, stream, data)]

    def endless_headers(self, size: int) -> list[bytes]:
        """The frames that open a stream whose headers go on: one, and ``size`` bytes of continuations without an end."""
        stream, self._next = self._next, self._next + 2
        header = _literal("x", "y" * 100)
        part = header * (16_000 // len(header))
        frames = [_frame(HEADERS, 0, stream, _literal(":method", "POST"))]
        return frames + [_frame(CONTINUATION, 0, stream, part)] * (size // len(part))

    def idle_frames(self) -> list[bytes]:
        """The frames of a stream that say nothing: empty data, priorities, windows of one byte more, and a kind that nobody knows."""
        stream = self._next - 2
        priority = _frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 15))
        window = _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))
        return [_frame(DATA, 0, stream), priority, window, _frame(0xBA, 0, 0, b"?")]

    def ping(self) -> bytes:
        """The frame of a ping."""
        return _frame(PING, 0, 0, bytes(8))

    def settings(self) -> bytes:
        """The frame of settings that change nothing."""
        return _frame(SETTINGS, 0, 0)

    def _drain(self) -> None:
        try:
            while self._socket.recv(65_536):
                pass
        except OSError:
            pass
