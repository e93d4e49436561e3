"""A connection that was dropped silently on the way is found while a call waits on it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from dorian_client import Client, ConnectionFailed
from dorian_client.testing import FakeServer


def relay(source: socket.socket, target: socket.socket, dropped: threading.Event) -> None:
    """Pass on what comes until the connection is ``dropped``; then read it, and pass on nothing."""
    with suppress(OSError):
        while data := source.recv(65536):
            if not dropped.is_set():
                target.sendall(data)


@pytest.mark.slow
def test_a_dropped_connection_is_found_within_30_seconds(fake: FakeServer) -> None:
    dropped = threading.Event()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(("127.0.0.1", int(fake.address.rpartition(":")[2]))) as server,
    ):

        def serve() -> None:
            with listener.accept()[0] as caller:
                threading.Thread(target=relay, args=(server, caller, dropped), daemon=True).start()
                relay(caller, server, dropped)

        threading.Thread(target=serve, daemon=True).start()
        with Client(f"127.0.0.1:{listener.getsockname()[1]}", timeout=60, retries=0) as client:
            client.bundle()
            dropped.set()
            start = time.monotonic()
            with pytest.raises(ConnectionFailed):
                client.bundle()
            assert time.monotonic() - start < 30
