"""What the client's tests share: servers on real sockets, clients of them, a photo, and the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dorian.v1.admin_pb2_grpc import add_AdminServicer_to_server
from dorian.v1.face_aging_pb2_grpc import add_FaceAgingServicer_to_server
from dorian_client import Client
from dorian_client.cli.main import main
from tests.clients.fake_server import FakeServer

MESSAGE_BYTES = 64 * 2**20


@pytest.fixture
def start_server() -> Iterator[Callable[..., FakeServer]]:
    """Starts servers on free ports, with TLS where they are given credentials; they stop with the test."""
    servers: list[tuple[grpc.Server, FakeServer]] = []

    def start(
        *, port: int = 0, max_bytes: int = MESSAGE_BYTES, credentials: grpc.ServerCredentials | None = None
    ) -> FakeServer:
        options = [("grpc.max_receive_message_length", max_bytes), ("grpc.max_send_message_length", MESSAGE_BYTES)]
        server = grpc.server(ThreadPoolExecutor(4), options=options)
        address = f"127.0.0.1:{port}"
        listens = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        fake = FakeServer(address=f"127.0.0.1:{listens}")
        add_FaceAgingServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
        add_AdminServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
        server.start()
        servers.append((server, fake))
        return fake

    yield start
    for server, fake in servers:
        if fake.held is not None:
            fake.held.set()
        server.stop(None).wait()


@pytest.fixture
def fake(start_server: Callable[..., FakeServer]) -> FakeServer:
    return start_server()


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    """A client that takes the first refusal for an answer."""
    with Client(fake.address, timeout=10, retries=0) as client:
        yield client


@pytest.fixture
def pixels() -> npt.NDArray[np.uint8]:
    """A photo as an array (48, 64, 3), every pixel another, so that turned or mirrored photos differ."""
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def photo(pixels: npt.NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo in the working folder of the command."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("portrait.png")
    return Path("portrait.png")


@pytest.fixture
def run(fake: FakeServer, photo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the dorian command beside the photo, with a server, whose first refusal it takes for an answer."""
    monkeypatch.setenv("DORIAN_SERVER", fake.address)
    monkeypatch.setenv("DORIAN_RETRIES", "0")
    return lambda *arguments: CliRunner().invoke(main, arguments)
