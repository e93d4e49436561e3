"""The compiler of the contract, in an environment of its own with an old protobuf."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-proto" / "bin" / "python"
CONTRACT = sorted((ROOT / "proto" / "dorian" / "v1").glob("*.proto"))


@pytest.fixture(scope="session")
def old_python() -> Callable[..., str]:
    """Runs the old environment's Python from the project's root, with the committed stubs; returns what it prints."""
    if not PYTHON.exists():
        pytest.skip(".venv-proto is not there; `make .venv-proto/done`, or `make test`, makes it")

    def run(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "proto" / "src")}
        command = [str(PYTHON), *arguments]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.fixture(scope="session")
def protoc(old_python: Callable[..., str]) -> Callable[..., None]:
    """Runs protoc on the contract, as ``make proto`` does."""

    def run(*options: str) -> None:
        files = [str(file.relative_to(ROOT)) for file in CONTRACT]
        old_python("-W", "ignore", "-m", "grpc_tools.protoc", "-Iproto", *options, *files)

    return run
