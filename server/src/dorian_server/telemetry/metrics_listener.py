"""Answering Prometheus over HTTP, on the terms that calls have: TLS, and an API key.

A thread of its own runs a small event loop, so that strangers who only connect, or send their requests byte by byte, take neither
threads nor the place of Prometheus: the connection that has been open longest makes way for a new one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.throttle import Throttle

log = logging.getLogger(__name__)

_PATH = "/metrics"
_SECONDS = 10.0  # that a connection has for everything
_MAX_CONNECTIONS = 64
_MAX_HEAD_BYTES = 16 * 2**10
_HEAD_END = b"\r\n\r\n"
_PAUSE = 0.1  # seconds after which to accept again where the system could not


@dataclass(frozen=True)
class Access:
    """Who may read the metrics.

    Args:
        tls: Returns TLS's settings for a new connection; ``None``: connections are unencrypted.
        check: Raises ``RequestError`` unless the values of the header ``authorization`` let a request through; ``None``: all do.
    """

    tls: Callable[[], ssl.SSLContext] | None = None
    check: Callable[[Sequence[str]], object] | None = None


OPEN = Access()


@contextmanager
def listening(
    host: str, port: int, registry: CollectorRegistry, access: Access, on_reject: Callable[[Reason], None]
) -> Iterator[int]:
    """Answer Prometheus for the time of the context.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        registry: What is answered.
        access: Who may read it.
        on_reject: Called with the reason of each request that may not.

    Yields:
        The port.

    Raises:
        OSError: The port is taken, or there is no such address.
    """
    listener = _listen(host, port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="metrics", daemon=True)
    thread.start()
    server = _Server(listener, registry, access, on_reject)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.create_server(address[:2], family=family, backlog=_MAX_CONNECTIONS)
    listener.setblocking(False)
    return listener


class _Server:
    """The connections to one listening socket. All but its creation happens on the event loop."""

    def __init__(
        self, listener: socket.socket, registry: CollectorRegistry, access: Access, on_reject: Callable[[Reason], None]
    ) -> None:
        self._listener, self._registry, self._access = listener, registry, access
        self._on_reject, self._log = on_reject, Throttle()
        self._connections: dict[asyncio.Task[None], None] = {}  # in the order in which they began

    async def start(self) -> None:
        """Begin to accept connections."""
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """End all connections, and accept no more."""
        tasks = [self._accepting, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # no descriptor is left, or the caller has gone
                log.warning("a connection for metrics could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            if len(self._connections) >= _MAX_CONNECTIONS:
                oldest = next(iter(self._connections))
                del self._connections[oldest]
                oldest.cancel()
            task = loop.create_task(self._serve(connection))
            self._connections[task] = None
            task.add_done_callback(lambda task: self._connections.pop(task, None))
            await asyncio.sleep(0)  # lets it begin, so that it closes what it was given

    async def _serve(self, connection: socket.socket) -> None:
        with suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                await self._answer(connection)

    async def _answer(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_MAX_HEAD_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        context = None if self._access.tls is None else self._access.tls()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        try:
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            head = await reader.readuntil(_HEAD_END)
            writer.write(self._response(head.decode("latin-1")))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        finally:
            transport.abort()

    def _response(self, head: str) -> bytes:
        """Return the answer to a request whose first line and headers are ``head``."""
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _text(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        try:
            if self._access.check is not None:
                self._access.check(headers.get("authorization", []))
        except RequestError as error:
            return self._reject(error)
        if target.partition("?")[0] != _PATH:
            return _text(HTTPStatus.NOT_FOUND, f"there is nothing but {_PATH}")
        if method != "GET":
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "use GET", "Allow: GET")
        encoder, kind = choose_encoder(", ".join(headers.get("accept", [])))
        return _message(HTTPStatus.OK, encoder(self._registry), kind)

    def _reject(self, error: RequestError) -> bytes:
        self._on_reject(error.reason)
        skipped = self._log.skipped()
        if skipped is not None:
            others = f", as {skipped} unlogged before it" if skipped else ""
            log.warning("rejected a request for metrics: %s%s", error.reason, others)
        if error.reason is Reason.SCOPE_MISSING:
            return _text(HTTPStatus.FORBIDDEN, str(error))
        return _text(HTTPStatus.UNAUTHORIZED, str(error), "WWW-Authenticate: Bearer")


def _text(status: HTTPStatus, text: str, *headers: str) -> bytes:
    return _message(status, f"{text}\n".encode(), "text/plain; charset=utf-8", *headers)


def _message(status: HTTPStatus, body: bytes, kind: str, *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
