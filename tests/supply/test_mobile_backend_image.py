"""The example of a mobile backend in its image, beside the server's, as its docker-compose.yml builds and runs them."""

from __future__ import annotations

import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from tests.clients.secure_server import add_key
from tests.ports import free_port
from tests.supply.containers import BUILD_SECONDS, ROOT, composed, require_engine, run

COMPOSE = ROOT / "examples" / "mobile-backend" / "docker-compose.yml"
KEYS = COMPOSE.parent / "keys.json"  # which .gitignore names
PHOTO = ROOT / "examples" / "astronaut.jpg"
BASES = ("python:3.11-slim-bookworm", "node:20-bookworm-slim")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Backend:
    """The backend's container, and the port at which an app finds it."""

    container: str
    port: int

    def post(self, path: str, photo: bytes) -> tuple[int, str, bytes]:
        """Upload a photo; return status, type and body of the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", photo)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.headers["Content-Type"], response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()

    def wait_until_served(self) -> None:
        """Return once it reaches the server."""
        deadline = time.monotonic() + 120
        while True:
            try:
                status, _, body = self.post("/age?to=60%2B", b"no photo")
                if status == 422:
                    assert json.loads(body)["reason"] == "IMAGE_UNREADABLE"
                    return
            except OSError:  # it does not listen yet
                pass
            assert time.monotonic() < deadline, run("docker", "logs", self.container, merge=True)
            time.sleep(0.5)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    require_engine(*BASES)
    if KEYS.exists():
        pytest.skip(f"{KEYS} is there already, and is not this test's")
    environment = {
        "BACKEND_PUBLISHED_PORT": str(free_port()),
        "DORIAN_API_KEY": add_key(KEYS, "backend", ["age", "optimize"]).strip(),
        "DORIAN_UID": str(os.getuid()),
    }
    try:
        with composed(COMPOSE, environment) as compose:
            compose("build", seconds=BUILD_SECONDS)
            compose("up", "--detach")
            container = compose("ps", "--quiet", "backend").strip()
            backend = Backend(container, int(environment["BACKEND_PUBLISHED_PORT"]))
            backend.wait_until_served()
            yield backend
    finally:
        KEYS.unlink()


def test_an_upload_comes_back_aged(backend: Backend) -> None:
    status, kind, body = backend.post("/age?to=60%2B", PHOTO.read_bytes())
    assert (status, kind) == (200, "image/jpeg")
    with Image.open(PHOTO) as photo, Image.open(io.BytesIO(body)) as aged:
        before, after = (np.asarray(image.convert("RGB")).astype(int) for image in (photo, aged))  # (512, 512, 3)
    assert after.shape == before.shape
    assert np.abs(after - before).max() > 40


def test_a_search_is_streamed(backend: Backend) -> None:
    status, kind, body = backend.post("/age/steps?to=60%2B", PHOTO.read_bytes())
    assert (status, kind) == (200, "text/event-stream")
    events = [event.partition("\n")[0] for event in body.decode().strip().split("\n\n")]
    assert events == ["event: step"] * (len(events) - 1) + ["event: photo"]
    assert len(events) > 2


def test_it_runs_as_nobody_in_particular_and_may_write_nowhere(backend: Backend) -> None:
    assert run("docker", "exec", backend.container, "id", "-un").strip() == "node"
    written = run("docker", "exec", backend.container, "sh", "-c", "touch /tmp/x 2>&1 || true")
    assert "Read-only file system" in written


def test_docker_stop_ends_it_at_once(backend: Backend) -> None:
    begin = time.monotonic()
    run("docker", "stop", backend.container)
    assert time.monotonic() - begin < 5
    assert json.loads(run("docker", "inspect", backend.container))[0]["State"]["ExitCode"] == 0
