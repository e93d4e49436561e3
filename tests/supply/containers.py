"""Docker, for tests of images: what they need of it, and docker-compose in projects that are taken down again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 1800

Compose = Callable[..., str]


def run(*command: str, environment: Mapping[str, str] | None = None, seconds: float = 120, merge: bool = False) -> str:
    """Run a command that must succeed; return what it prints, with ``merge`` errors included."""
    result = subprocess.run(
        command, env=os.environ | dict(environment or {}), cwd=ROOT, capture_output=True, text=True, timeout=seconds
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout + (result.stderr if merge else "")


def require_engine(*images: str) -> None:
    """Skip where there is no Docker with docker-compose, or one of the images is not here and cannot be pulled."""
    if shutil.which("docker") is None or shutil.which("docker-compose") is None:
        pytest.skip("docker and docker-compose are not installed here")
    if not _succeeds("docker", "version"):
        pytest.skip("no Docker engine runs here")
    for image in images:
        if not _succeeds("docker", "image", "inspect", image) and not _succeeds("docker", "pull", image):
            pytest.skip(f"the image {image} is not here, and cannot be pulled")


@contextmanager
def composed(file: Path, environment: Mapping[str, str]) -> Iterator[Compose]:
    """Yield what runs docker-compose with a file, in a project of its own that is taken down in the end.

    Args:
        file: The docker-compose.yml.
        environment: Variables that the file reads.
    """
    settings = {
        "COMPOSE_PROJECT_NAME": f"dorian-test-{os.getpid()}-{file.parent.name}",
        "DOCKER_BUILDKIT": "0",  # which the engine of this test may lack
    } | dict(environment)

    def call(*arguments: str, seconds: float = 120) -> str:
        return run("docker-compose", "--file", str(file), *arguments, environment=settings, seconds=seconds)

    try:
        yield call
    finally:
        call("down", "--volumes")


def _succeeds(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode
