"""A server process on the embedded bundle, for every test that calls it from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ROOT, ServerProcess, start_server


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
