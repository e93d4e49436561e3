"""A folder with broken photos among good ones, aged by the command and a server's process, and interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from tests.e2e.server_process import ROOT, ServerProcess, dorian


def make_folder(folder: Path) -> None:
    """Fill a folder: ten photos in two folders, and three that cannot be aged."""
    for index, face in enumerate(sorted((ROOT / "examples" / "faces").glob("*.webp"))[:10]):
        place = folder / str(index % 2) / face.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(face.read_bytes())
    whole = place.read_bytes()
    (folder / "cut.webp").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("this is no image")
    Image.new("RGB", (256, 256), (90, 120, 60)).save(folder / "meadow.png")


def test_broken_photos_are_reported_and_nothing_is_done_twice(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    make_folder(tmp_path / "photos")
    out = tmp_path / "aged"
    command = ("batch", tmp_path / "photos", "-o", out, "--to", "60+", "--to", "8", "--priority", "batch")
    arguments = [sys.executable, "-m", "dorian_client.cli", *map(str, command), "--server", server.address]
    process = subprocess.Popen(
        arguments, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("?/*-8.webp")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("?/[0-9]*.webp")}
    assert before, "it was killed after its first photo"

    done = dorian(server, environment, *command)
    assert done.returncode == 3, done.stderr
    assert "10 of 13 photos aged" in done.stdout
    assert len(list(out.rglob("*-60+.webp"))) == len(list(out.rglob("*-8.webp"))) == 10
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was done is left as it is"
    records = [json.loads(line) for line in (out / "dorian-report.jsonl").read_text().splitlines()]
    reasons = {Path(record["photo"]).name: record["reason"] for record in records if record["status"] == "rejected"}
    assert reasons == {"cut.webp": "IMAGE_UNREADABLE", "text.jpg": "IMAGE_UNREADABLE", "meadow.png": "NO_FACE"}
    for record in records:
        for picture in record.get("pictures", []):
            assert 0 < picture["faces"][0]["similarity"] < 1
            with Image.open(out / picture["path"]) as aged, Image.open(record["photo"]) as photo:
                assert aged.size == photo.size
    again = dorian(server, environment, *command)
    assert "10 of 13 photos aged; 13 from earlier runs" in again.stdout
