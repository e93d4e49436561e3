"""The image, as docker-compose.yml builds and runs it: it ages photos, may do little else, keeps within its memory, and stops at once."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dorian_client import Busy, Client, ConnectionFailed, DeadlineExceeded
from tests.ports import free_port
from tests.supply.containers import BUILD_SECONDS, ROOT, Compose, composed, require_engine, run

MEBIBYTE = 2**20
LIMIT = 1536 * MEBIBYTE

pytestmark = pytest.mark.slow


class Container:
    """A running container of the image, by its id."""

    def __init__(self, id: str, port: int) -> None:
        self.id, self.port = id, port

    def inspect(self) -> dict[str, Any]:
        (content,) = json.loads(run("docker", "inspect", self.id))
        return dict(content)

    def state(self) -> dict[str, Any]:
        return dict(self.inspect()["State"])

    def execute(self, script: str) -> str:
        """What a shell in it prints, errors included."""
        return run("docker", "exec", self.id, "sh", "-c", f"{{ {script}; }} 2>&1 || true").strip()

    def peak(self) -> int:
        """The most memory that its cgroup has had, in bytes."""
        files = "/sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
        return int(self.execute(f"cat {files} 2>/dev/null"))

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + 120
        while (health := self.state()["Health"]["Status"]) != "healthy":
            assert time.monotonic() < deadline, health
            time.sleep(0.5)


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """docker-compose, in a project of its own that is taken down again; the image is built."""
    require_engine()
    environment = {"DORIAN_PUBLISHED_PORT": str(free_port()), "DORIAN_CONTAINER_MEMORY": str(LIMIT)}
    with composed(ROOT / "docker-compose.yml", environment) as call:
        call("build", "server", seconds=BUILD_SECONDS)
        yield call


@pytest.fixture(scope="module")
def container(compose: Compose) -> Container:
    """The server, healthy."""
    compose("up", "--detach", "server")
    id = compose("ps", "--quiet", "server").strip()
    published, *_ = json.loads(run("docker", "inspect", id))[0]["NetworkSettings"]["Ports"]["50051/tcp"]
    container = Container(id, int(published["HostPort"]))
    container.wait_until_healthy()
    return container


@pytest.fixture(scope="module")
def photo() -> bytes:
    return (ROOT / "examples" / "astronaut.jpg").read_bytes()


def test_a_photo_is_aged_through_the_sdk(container: Container, photo: bytes) -> None:
    with Client(f"127.0.0.1:{container.port}") as client:
        (aged,) = client.age(photo, "60+").photos
    (face,) = aged.faces
    assert face.error is None
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).astype(int)  # (512, 512, 3)
    after = aged.picture.to_array().astype(int)
    assert after.shape == before.shape
    left, top, right, bottom = (
        int(side) for side in (face.box.x, face.box.y, face.box.x + face.box.width, face.box.y + face.box.height)
    )
    assert np.abs(after - before).max(axis=2)[top:bottom, left:right].mean() > 2


def test_it_runs_as_nobody_in_particular_and_may_write_nowhere(container: Container) -> None:
    assert container.execute("id -u") == "10001"
    assert "Read-only file system" in container.execute("touch /srv/dorian/x")
    assert "Permission denied" not in container.execute("touch /tmp/x")
    status = container.execute("grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status")
    assert status.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


def test_it_holds_what_the_lock_says(container: Container) -> None:
    lock = (ROOT / "requirements" / "serve.lock").read_text()
    locked = {(name, version) for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE)}
    listing = "import importlib.metadata as m; print(*{d.name + ' ' + d.version for d in m.distributions()}, sep='\\n')"
    installed = {tuple(line.split()) for line in container.execute(f'python3 -c "{listing}"').splitlines()}
    assert {name for name, _ in locked} <= {name.lower().replace("_", "-") for name, _ in installed}
    of_lock = {name for name, _ in locked}
    normalised = {(name.lower().replace("_", "-"), version) for name, version in installed}
    assert {entry for entry in normalised if entry[0] in of_lock} <= locked
    assert not {name for name, _ in normalised} & {"torch", "onnx", "dorian-client"}


def test_large_photos_do_not_get_it_killed(container: Container) -> None:
    """Six photos of 24 megapixels at once: each is aged, or told to come again, within the container's memory."""
    buffer = io.BytesIO()
    with Image.open(ROOT / "examples" / "astronaut.jpg") as face:
        face.resize((4900, 4900)).save(buffer, "JPEG", quality=80)

    def is_aged(_: int) -> bool:
        with Client(f"127.0.0.1:{container.port}", timeout=240) as client:
            try:
                return len(client.age(buffer.getvalue(), "60+").photos) == 1
            except (Busy, DeadlineExceeded):
                return False

    with ThreadPoolExecutor(6) as pool:
        assert any(pool.map(is_aged, range(6)))
    content = container.inspect()
    assert (content["State"]["OOMKilled"], content["State"]["Running"], content["RestartCount"]) == (False, True, 0)
    assert content["HostConfig"]["Memory"] == LIMIT
    assert 200 * MEBIBYTE < container.peak() < LIMIT
    assert "memory: 1,536 MiB" in run("docker", "logs", container.id, merge=True)


def test_docker_stop_ends_it_at_once(container: Container, photo: bytes) -> None:
    begin = time.monotonic()
    run("docker", "stop", container.id)
    assert time.monotonic() - begin < 5
    state = container.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    with (
        Client(f"127.0.0.1:{container.port}", timeout=2) as client,
        pytest.raises((ConnectionFailed, DeadlineExceeded)),
    ):
        client.age(photo, ["60+"])
