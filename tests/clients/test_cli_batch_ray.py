"""dorian batch --engine ray: the same pictures, ledger and report, by workers of a cluster that is started once for all tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dorian_client.testing import FakeServer
from tests.clients.batches import files_of, make_photo, records, sent

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray (ray[data]) is not installed")
PROGRAM = (sys.executable, "-m", "tests.clients.ray_cluster")
DORIAN = (sys.executable, "-m", "dorian_client.cli")


def environment(home: Path) -> dict[str, str]:
    """Return the variables of processes: their own home, the token of their cluster, and the tests on their path."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a token of these tests, long enough"}
    return {**os.environ, **token, "HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A cluster of two cores, as the engine starts one on this machine, and what is known of it."""
    home = tmp_path_factory.mktemp("home")
    with subprocess.Popen(
        [*PROGRAM, "keep_cluster"], env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        facts = process.stdout.readline()
        assert facts, "there is no cluster"  # why not is among the test's captured errors
        yield {**json.loads(facts), "home": home}
        process.stdin.close()
        assert process.wait(60) == 0


@needs_ray
def test_ray_tells_nobody_and_has_no_dashboard(cluster: dict[str, Any]) -> None:
    assert cluster["workers"] == 2
    assert not cluster["usage"]
    assert not cluster["dashboard"]


@needs_ray
def test_an_interrupted_batch_goes_on(cluster: dict[str, Any], photo: Path, fake: FakeServer) -> None:
    names = [f"photos/{number // 8}/{number:02}.png" for number in range(24)]
    for number, name in enumerate(names):
        make_photo(name, number)
    Path("photos/broken.png").write_bytes(b"no image")
    command = [*DORIAN, "batch", "photos", "--to", "60+", "--to", "8", "--server", fake.address]
    subprocess.run([*command, "-o", "undisturbed"], capture_output=True)
    fake.requests.clear()
    fake.delay = 0.2
    command += ["-o", "aged", "--engine", "ray", "--ray-address", cluster["address"], "--ray-workers", "2"]
    process = subprocess.Popen(command, env=environment(cluster["home"]), stdout=subprocess.DEVNULL)
    # Results come back a task at a time, so that some are noted only when the first tasks of both workers have ended.
    while len(files_of("aged")) < 20 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still at work"

    fake.delay = 0
    finished = subprocess.run(command, env=environment(cluster["home"]), capture_output=True, text=True)
    assert finished.returncode == 3, finished.stderr
    assert "24 of 25 photos aged" in finished.stdout
    assert "from earlier runs" in finished.stdout
    assert files_of("aged") == files_of("undisturbed")
    for name in files_of("aged"):
        assert Path("aged", name).read_bytes() == Path("undisturbed", name).read_bytes()

    def essence(folder: str) -> list[dict[str, Any]]:
        return [{name: value for name, value in record.items() if name != "seconds"} for record in records(folder)]

    assert essence("aged") == essence("undisturbed"), "the report is the same"
    fake.requests.clear()
    again = subprocess.run(command[: command.index("--engine")], capture_output=True, text=True)
    assert "25 from earlier runs" in again.stdout, "the other engine has the same ledger"
    assert sent(fake) == []


@needs_ray
def test_an_error_that_would_meet_every_photo_ends_the_batch(
    cluster: dict[str, Any], photo: Path, fake: FakeServer
) -> None:
    for number in range(40):
        make_photo(f"photos/{number}.png", number)
    command = [*DORIAN, "batch", "photos", "-o", "aged", "--to", "99+", "--server", fake.address, "--engine", "ray"]
    command += ["--ray-address", cluster["address"]]
    result = subprocess.run(command, env=environment(cluster["home"]), capture_output=True, text=True)
    assert result.returncode == 3
    assert "no age group 99+" in result.stderr
    assert "left: give the same command again to go on" in result.stdout


@needs_ray
def test_a_photo_that_kills_workers_takes_no_other_with_it(cluster: dict[str, Any], photo: Path) -> None:
    for name in [f"{number:02}" for number in range(30)] + ["deadly"]:
        make_photo(f"photos/{name}.png", 0)
    command = [*PROGRAM, "hand_out_deadly", cluster["address"]]
    result = subprocess.run(command, env=environment(cluster["home"]), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    reasons = json.loads(result.stdout.splitlines()[-1])
    assert len(reasons) == 31
    assert reasons.pop("photos/deadly.png") == "WORKER_LOST"
    assert set(reasons.values()) == {"NO_FACE"}


# --- without a cluster ---


def test_without_ray(run: Run, photo: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    result = run("batch", "portrait.png", "-o", "aged", "--to", "8", "--engine", "ray")
    assert result.exit_code == 2
    assert "--engine ray needs Ray" in result.stderr
    assert "install dorian-client[ray]" in result.stderr


def test_without_the_server_package(run: Run, photo: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dorian_bundle", None)
    result = run("batch", "portrait.png", "-o", "aged", "--to", "8", "--engine", "ray", "--ray-bundle", ".")
    assert result.exit_code == 2
    assert "--ray-bundle needs the server's package" in result.stderr
    assert "install dorian-client[ray]" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray-workers", "2"], "--ray-bundle and --ray-workers need --engine ray"),
        (["--engine", "ray", "--ray-bundle", "nowhere"], "nowhere"),
        (["--engine", "spark"], "'spark' is not one of"),
    ],
)
def test_wrong_options(options: list[str], message: str, run: Run, fake: FakeServer) -> None:
    result = run("batch", "portrait.png", "-o", "aged", "--to", "8", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert fake.requests == []
