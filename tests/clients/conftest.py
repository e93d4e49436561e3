"""Fixtures of the client's tests: servers on real sockets, clients of them, a photo, and the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dorian_client import Client
from dorian_client.cli.main import main
from dorian_client.testing import FakeServer


@pytest.fixture
def start_server() -> Iterator[Callable[..., FakeServer]]:
    """Return a function that starts a server, which stops with the test; it takes the arguments of FakeServer."""
    with ExitStack() as servers:
        yield lambda **arguments: servers.enter_context(FakeServer(**arguments))


@pytest.fixture
def fake(start_server: Callable[..., FakeServer]) -> FakeServer:
    return start_server()


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    """Return a client that does not retry."""
    with Client(fake.address, timeout=10, retries=0) as client:
        yield client


@pytest.fixture
def pixels() -> npt.NDArray[np.uint8]:
    """Return a photo as an array (48, 64, 3) of noise, so that turned or mirrored photos differ."""
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def photo(pixels: npt.NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a photo in the working folder of the command."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("portrait.png")
    return Path("portrait.png")


@pytest.fixture
def run(fake: FakeServer, photo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs the dorian command beside the photo, on a server and without retries."""
    monkeypatch.setenv("DORIAN_SERVER", fake.address)
    monkeypatch.setenv("DORIAN_RETRIES", "0")
    return lambda *arguments: CliRunner().invoke(main, arguments)
