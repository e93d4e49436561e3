"""A server process on the embedded bundle, for every test that calls it from outside."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dorian_bundle import Bundle
from tests.e2e.server_process import ROOT, ServerProcess, start_server
from tests.server.tiny_bundles import rewrite as rewrite_manifest
from tests.server.tiny_searches import photo_of, write_search_bundle


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One server for the whole run: no test may bring it down."""
    running = start_server("--bundle", "models/default")
    yield running
    assert running.process.poll() is None, "the server died during the tests"
    assert running.stop() == 0


@pytest.fixture(scope="session")
def photo() -> Path:
    return ROOT / "examples" / "astronaut.jpg"


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of commands that tests start; without what could send them to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DORIAN_")}


# --- tiny bundles, and servers that a test may bring down ---


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Bundle:
    """A bundle whose graphs are of a few nodes each; see ``tiny_searches`` of the server's tests."""
    return write_search_bundle(tmp_path / "bundle", "searching")


@pytest.fixture
def rewrite() -> Callable[..., Bundle]:
    """Changes fields of a folder's manifest, as ``tiny_bundles`` of the server's tests does."""
    return rewrite_manifest


@pytest.fixture
def tiny_photo() -> bytes:
    """A photo that has one face for ``tiny_bundle``."""
    buffer = io.BytesIO()
    Image.fromarray(photo_of((220, 160, 60))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def serve(tiny_bundle: Bundle, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a server on ``tiny_bundle``, with a log and further flags; it is killed after the test if it still runs."""
    with ExitStack() as stack:

        def begin(*flags: str, **more: Any) -> ServerProcess:
            log = tmp_path / "server.log"
            running = start_server("--bundle", str(tiny_bundle.folder), "--threads", "1", *flags, log=log, **more)
            stack.enter_context(running.process)
            stack.callback(running.process.kill)
            return running

        yield begin
