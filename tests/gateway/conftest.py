"""A gateway before a fake server, for the tests of a file; both are real processes or servers on real sockets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
from PIL import Image

from dorian_client import Client
from dorian_client.testing import FakeServer
from tests.gateway.gateway_process import GatewayProcess, start_gateway


@pytest.fixture(scope="module")
def fake_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def fake(fake_server: FakeServer) -> Iterator[FakeServer]:
    """Return the fake server of the file's tests, without a trace of the tests before."""
    fake_server.requests.clear()
    fake_server.metadata.clear()
    fake_server.seconds_left.clear()
    fake_server.search_cancelled.clear()
    yield fake_server
    fake_server.recover()
    fake_server.delay, fake_server.pause_after, fake_server.on_response = 0.0, None, None


@pytest.fixture(scope="module")
def gateway(fake_server: FakeServer) -> Iterator[GatewayProcess]:
    running = start_gateway(fake_server.address)
    yield running
    assert running.process.poll() is None, "the gateway died during the tests"
    running.stop()


@pytest.fixture
def start(fake: FakeServer) -> Iterator[Callable[..., GatewayProcess]]:
    """Return a function that starts a gateway with flags before the fake server; it stops with the test."""
    with ExitStack() as stack:

        def begin(*flags: str, **environment: str) -> GatewayProcess:
            running = start_gateway(fake.address, *flags, **environment)
            stack.callback(running.stop)
            return running

        yield begin


@pytest.fixture
def http(gateway: GatewayProcess, fake: FakeServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    """Return the SDK's client of the same server, to compare with."""
    with Client(fake.address, timeout=20, retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def photo() -> bytes:
    """Return a PNG of noise, 64 by 48 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
