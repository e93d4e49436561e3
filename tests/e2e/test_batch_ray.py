"""A folder aged by workers of Ray that hold the bundle themselves: byte for byte what a server's process draws."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server_process import ROOT, ServerProcess, dorian
from tests.e2e.test_batch import make_folder

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray (ray[data]) is not installed")


def report(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a report, without what they took: a server may refuse a call for a moment, which is tried again."""
    lines = (folder / "dorian-report.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in ("seconds", "attempts")}
        for line in lines
    ]


def test_the_pictures_are_those_of_the_server(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    make_folder(tmp_path / "photos")
    options = ("--to", "60+", "--to", "8", "--format", "jpeg")
    served, held = tmp_path / "served", tmp_path / "held"
    assert dorian(server, environment, "batch", tmp_path / "photos", "-o", served, *options).returncode == 3
    command = [sys.executable, "-m", "dorian_client.cli", "batch", str(tmp_path / "photos"), "-o", str(held), *options]
    command += ["--engine", "ray", "--ray-bundle", "models/default", "--ray-workers", "1"]
    home = {"HOME": str(tmp_path)}  # where Ray keeps its token
    done = subprocess.run(command, env={**environment, **home}, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr
    assert "10 of 13 photos aged; 3 rejected" in done.stdout
    pictures = {path.relative_to(served) for path in served.glob("?/*.jpg")}
    assert len(pictures) == 20
    assert pictures == {path.relative_to(held) for path in held.glob("?/*")}, "no part is left"
    for picture in pictures:
        assert (held / picture).read_bytes() == (served / picture).read_bytes(), picture
    assert report(held) == report(served)
    again = dorian(server, environment, "batch", tmp_path / "photos", "-o", held, *options)
    assert "13 from earlier runs" in again.stdout, "the server goes on where the workers ended"
