"""What the client's tests share: servers on real sockets, clients of them, a photo, and the command."""

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
    """Starts servers, which stop with the test; takes the arguments of FakeServer."""
    with ExitStack() as servers:
        yield lambda **arguments: servers.enter_context(FakeServer(**arguments))


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
