"""A proxy on this machine that lets nothing through and keeps what it hears."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fake_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the proxy's URL, and the first bytes of each connection to it."""
    heard: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heard.append(self.request.recv(65536))
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://somebody:password@127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()
