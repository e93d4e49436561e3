"""The main job from outside: a real photo, a server process, a socket, the SDK and the command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dorian_client import Client
from tests.e2e.server_process import ROOT, ServerProcess, dorian, start_server

METHODS = json.loads((ROOT / "models" / "default" / "manifest.json").read_bytes())["methods"]
GROUPS = ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")


def test_sdk_ages_the_face_and_nothing_else(server: ServerProcess, photo: Path) -> None:
    before = np.asarray(Image.open(photo).convert("RGB"), dtype=int)
    with Client(server.address) as client:
        result = client.age(photo, "60+", source="30-39", format="png")
    (aged,) = result.photos
    after = aged.picture.to_array().astype(int)
    (face,) = aged.faces
    assert (face.source, face.source_given, face.target) == ("30-39", True, "60+")
    assert after.shape == before.shape
    changed = np.abs(after - before).max(axis=2)
    box = face.box
    inner = (slice(int(box.y), int(box.y + box.height)), slice(int(box.x), int(box.x + box.width)))
    assert changed[inner].mean() > 2  # the networks did change the face
    rows, columns = np.nonzero(changed)
    assert rows.min() > box.y - box.height
    assert rows.max() < box.y + 2 * box.height
    assert columns.min() > box.x - box.width
    assert columns.max() < box.x + 2 * box.width
    default = METHODS[0]
    assert result.provenance.method == default["name"]
    encode = ["encode"] if default["family"] == "age_cgan" else []
    stages = ["decode", "detect", "align", "read", *encode, "generate", "paste", "reread", "write"]
    assert list(result.times) == stages


def test_source_as_target_changes_nothing(server: ServerProcess, photo: Path) -> None:
    with Client(server.address) as client:
        (aged,) = client.age(photo, "40-49", source="40-49", format="png").photos
    assert np.array_equal(aged.picture.to_array(), np.asarray(Image.open(photo).convert("RGB")))


def test_years_between_groups_differ_from_both(server: ServerProcess, photo: Path) -> None:
    with Client(server.address) as client:
        photos = client.age(photo, [34.5, 39.5, 44.5, "30-39"], source=24, format="png").photos
    at_35, at_40, at_45, of_group = (aged.picture.to_array().astype(int) for aged in photos)
    assert np.array_equal(at_35, of_group)
    assert np.abs(at_40 - at_35).max() > 0
    assert np.abs(at_40 - at_45).max() > 0


def test_command_ages_a_photo(server: ServerProcess, environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    done = dorian(server, environment, "age", photo, "--to", "60+", "-o", tmp_path / "older.webp")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "older.webp") as older, Image.open(photo) as original:
        assert (older.format, older.size) == ("WEBP", original.size)


def test_command_sweeps_all_groups(
    server: ServerProcess, environment: dict[str, str], photo: Path, tmp_path: Path
) -> None:
    done = dorian(server, environment, "age", photo, "--sweep", "-o", tmp_path / "sheet.jpg")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 3 * sheet.height
    assert all(group in done.stdout for group in GROUPS)


def test_command_reconstructs(server: ServerProcess, environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    done = dorian(server, environment, "reconstruct", photo, "-o", tmp_path / "seen.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "seen.png") as recorded:
        assert recorded.width > recorded.height


def test_command_lists_methods(server: ServerProcess, environment: dict[str, str]) -> None:
    done = dorian(server, environment, "methods")
    assert done.returncode == 0, done.stderr
    assert all(method["name"] in done.stdout for method in METHODS)
    assert all(group in done.stdout for group in GROUPS)


def test_half_precision_gives_nearly_the_same(server: ServerProcess, photo: Path) -> None:
    half = start_server("--bundle", "models/default", "--precision", "fp16")
    try:
        with Client(half.address) as client:
            rough = client.age(photo, "60+", source="30-39", format="png").photos[0].picture.to_array()
    finally:
        assert half.stop() == 0
    with Client(server.address) as client:
        exact = client.age(photo, "60+", source="30-39", format="png").photos[0].picture.to_array()
    assert np.abs(rough.astype(int) - exact.astype(int)).max() <= 10


def test_demo_leaves_a_sheet(environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "before_after.jpg"
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), str(photo), str(sheet)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as picture:
        assert picture.width > 6 * picture.height / 2


@pytest.mark.parametrize("module", ["torch", "torchvision"])
def test_this_environment_has_no_torch(module: str) -> None:
    """What passes here passes without torch: the server, the SDK and all of the above."""
    assert importlib.util.find_spec(module) is None


def test_many_photos_pass_a_queue_that_rejects(server: ServerProcess, photo: Path) -> None:
    """Plain calls of as many threads lose some; `age_many` loses none, and goes past what cannot be aged."""
    photos: list[Path | bytes] = [photo] * 9
    photos[4] = b"no image"
    with Client(server.address, priority="batch", timeout=120) as client:
        workers = client.bundle().workers
        assert workers >= 1
        outcomes = list(client.age_many(photos, ["19-29", "60+"], concurrency=workers + 8))
    assert [outcome.index for outcome in outcomes] == list(range(9))
    assert [type(outcome.error).__name__ for outcome in outcomes if outcome.error is not None] == ["InvalidRequest"]
    pictures = {outcome.unwrap().photos[1].picture.data for outcome in outcomes if outcome.error is None}
    assert len(pictures) == 1, "the same photo, aged alike"


def test_hair_goes_grey_and_may_be_kept(server: ServerProcess, photo: Path) -> None:
    before = np.asarray(Image.open(photo).convert("RGB"), dtype=int)
    with Client(server.address) as client:
        changes = {method.name for method in client.methods() if method.changes_hair}
        assert changes == {"age_translator", "age_translator_research"}
        grey, kept = (
            client.age(photo, 75, source=30, format="png", keep_hair=keep_hair).photos[0] for keep_hair in (False, True)
        )
    box = grey.faces[0].box
    middle = round(box.x + box.width / 2)
    above = np.s_[round(box.y - 0.25 * box.height) : round(box.y - 0.1 * box.height), middle - 15 : middle + 15]
    colour = np.ptp(before[above], axis=2).mean()
    assert colour > 40  # it is blond
    assert np.ptp(grey.picture.to_array()[above].astype(int), axis=2).mean() < 0.8 * colour
    assert np.array_equal(kept.picture.to_array()[above], before[above])
