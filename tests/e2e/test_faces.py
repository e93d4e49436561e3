"""Several faces of a photo from outside: found, compared, chosen, each at an age of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_client import Box, Client
from dorian_client.errors import InvalidRequest
from tests.e2e.server_process import ServerProcess, dorian

Pixels = NDArray[np.uint8]
Run = Callable[..., CompletedProcess[str]]

# Where her head, the photo's 256 pixels at 96, 0, lies in the collage: left, top, side.
PLACES = ((220, 40, 256), (20, 90, 160))
HEAD = (96, 0, 352, 256)
FACE = (178, 63, 92, 116)  # in the photo itself


@pytest.fixture(scope="module")
def collage(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 500×330 pixels with two copies of her, the larger one on the right."""
    with Image.open(photo) as whole:
        head = whole.convert("RGB").crop(HEAD)
    both = Image.new("RGB", (500, 330), (120, 130, 140))
    for left, top, side in PLACES:
        both.paste(head.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    path = tmp_path_factory.mktemp("collage") / "two.png"
    both.save(path)
    return path


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def run(server: ServerProcess, environment: dict[str, str]) -> Run:
    """Runs the command, which must not fail."""

    def run(*arguments: object) -> CompletedProcess[str]:
        done = dorian(server, environment, *arguments)
        assert done.returncode == 0, done.stderr
        return done

    return run


def pixels(path: Path) -> Pixels:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _around(place: tuple[int, int, int], margin: float) -> tuple[slice, slice]:
    """Rows and columns of the face at ``place``, and so much of its height and width beside it."""
    left, top, side = place
    scale = side / 256
    x, y, width, height = FACE[0] - HEAD[0], FACE[1], FACE[2], FACE[3]
    first_row, first_column = (y - margin * height) * scale, (x - margin * width) * scale
    last_row, last_column = (y + (1 + margin) * height) * scale, (x + (1 + margin) * width) * scale
    return (
        slice(max(0, top + round(first_row)), top + round(last_row)),
        slice(max(0, left + round(first_column)), left + round(last_column)),
    )


def changed(before: Pixels, after: Pixels) -> list[bool]:
    """Whether each of the two faces has changed; nothing may have changed far from both and their hair."""
    change = np.abs(after.astype(int) - before).max(axis=2)
    changes = [bool(change[_around(place, 0.5)].any()) for place in PLACES]
    for place in PLACES:
        change[_around(place, 1.0)] = 0
    assert not change.any(), "only the faces may change"
    return changes


def lies_on(face: Mapping[str, Any], place: tuple[int, int, int]) -> bool:
    """Whether the middle of a face's box is that of her face in the collage."""
    left, top, side = place
    box, scale = face["box"], side / 256
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expected = (left + (FACE[0] - HEAD[0] + FACE[2] / 2) * scale, top + (FACE[1] + FACE[3] / 2) * scale)
    return bool(np.abs(np.subtract(middle, expected)).max() < 15 * scale)


# --- finding and comparing ---


def test_detect_lists_the_faces_largest_first(run: Run, collage: Path) -> None:
    response = json.loads(run("detect", collage, "--json").stdout)
    assert (response["width"], response["height"]) == (500, 330)
    assert [face["index"] for face in response["faces"]] == [0, 1]
    for face, place in zip(response["faces"], PLACES, strict=True):
        assert lies_on(face, place)
        assert 0.5 < face["score"] <= 1
        assert 10 < face["estimated_age"] < 80
        assert face["landmarks"]["right_eye"][0] < face["landmarks"]["left_eye"][0]
        assert face["landmarks"]["left_eye"][1] < face["landmarks"]["left_mouth"][1]
    assert response["provenance"]["bundle"]
    assert list(response["times"]) == ["decode", "detect", "align", "read"]


def test_detect_as_text_and_drawn(run: Run, collage: Path, tmp_path: Path) -> None:
    done = run("detect", collage, "--draw", tmp_path / "faces.png")
    assert (
        len(
            re.findall(
                r"^face \d: \d+x\d+ at \(\d+, \d+\), score 0\.\d\d, age \d+ \(\d+ to \d+\), seen from .*, \d+% visible$",
                done.stdout,
                re.MULTILINE,
            )
        )
        == 2
    )
    assert (pixels(tmp_path / "faces.png") != pixels(collage)).any()


def test_a_photo_without_a_face_is_no_error(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), (90, 120, 150)).save(tmp_path / "wall.png")
    assert run("detect", tmp_path / "wall.png").stdout.startswith("no face found")
    assert json.loads(run("detect", tmp_path / "wall.png", "--json").stdout)["faces"] == []


def test_compare_knows_a_photo_again(run: Run, photo: Path, collage: Path, client: Client) -> None:
    assert run("compare", photo, photo).stdout.startswith("same person: similarity 1.00, threshold ")
    comparison = json.loads(run("compare", photo, collage, "--second", 1, "--json").stdout)
    assert (comparison["first"]["index"], comparison["second"]["index"]) == (0, 1)
    assert comparison["distance"] == pytest.approx(2 - 2 * comparison["similarity"], abs=1e-5)
    assert np.linalg.norm(comparison["second_embedding"]) == pytest.approx(1, abs=1e-3)
    strict = client.compare(photo, collage, false_accept_rate=min(client.bundle().false_accept_rates))
    assert strict.threshold >= comparison["threshold"]
    assert strict.same_person == (strict.similarity >= strict.threshold)


# --- ages for single faces ---


def test_each_face_has_its_own_age(client: Client, collage: Path) -> None:
    before = pixels(collage)
    result = client.age(collage, face_ages={0: "60+", 1: 8}, source=30)
    (aged,) = result.photos
    assert result.faces_found == 2
    assert aged.target is None
    assert [(report.face.index, report.source, report.target) for report in aged.faces] == [(0, 30, "60+"), (1, 30, 8)]
    assert changed(before, aged.picture.to_array()) == [True, True]
    assert all(-1 <= report.identity_similarity <= 1 for report in aged.faces)
    for index, target in ((0, "60+"), (1, 8)):
        (alone,) = client.age(collage, target, faces=index, source=30).photos
        assert changed(before, alone.picture.to_array()) == [index == 0, index == 1]
        left = slice(0, 200) if index else slice(200, 500)
        assert np.array_equal(alone.picture.to_array()[:, left], aged.picture.to_array()[:, left])


def test_a_face_named_by_its_box(client: Client, collage: Path) -> None:
    _, small = client.detect(collage).faces
    near = Box(small.box.x + 3, small.box.y - 3, small.box.width, small.box.height)
    (aged,) = client.age(collage, "60+", faces=near, source="19-29").photos
    assert [report.face for report in aged.faces] == [small]
    assert changed(pixels(collage), aged.picture.to_array()) == [False, True]


def test_command_gives_each_face_its_own_age(run: Run, collage: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done = run("age", collage, "--face", "0=60+", "--face", "1=8", "-o", out)
    assert changed(pixels(collage), pixels(out)) == [True, True]
    assert re.search(
        r"^face 0: .*\(estimated\) to 60\+, looks \d+ \(\d+ to \d+\) after, similarity -?\d\.\d\d",
        done.stdout,
        re.MULTILINE,
    )
    assert re.search(r"^face 1: .*\(estimated\) to 8, looks \d+ \(\d+ to \d+\) after", done.stdout, re.MULTILINE)
    assert "changed 2 of 2 faces" in done.stdout


def test_command_ages_one_face_to_two_ages(run: Run, collage: Path, tmp_path: Path) -> None:
    done = run("age", collage, "--face", 1, "--to", "0-18", "--to", "60+", "--from", 30, "-o", f"{tmp_path}/")
    younger, older = (pixels(tmp_path / f"two-{age}.png") for age in ("0-18", "60+"))
    assert changed(pixels(collage), younger) == changed(pixels(collage), older) == [False, True]
    assert not np.array_equal(younger, older)
    assert "changed 1 of 2 faces" in done.stdout


@pytest.mark.parametrize("blend", ["delta", "replace"])
def test_as_much_of_the_change_is_made_as_is_asked_for(client: Client, photo: Path, blend: str) -> None:
    before, sums = pixels(photo).astype(int), []
    for strength in (0, 0.5, 1):
        result = client.age(photo, "60+", source=30, blend=blend, strength=strength, format="png")
        sums.append(np.abs(result.photos[0].picture.to_array() - before).sum())
    assert sums[0] == 0
    assert sums[1] / sums[2] == pytest.approx(0.5, abs=0.05)


def test_command_passes_strength_and_blend_on(client: Client, run: Run, collage: Path, tmp_path: Path) -> None:
    flags = ("--to", "60+", "--from", 30, "--strength", 0.6, "--blend", "replace")
    run("age", collage, *flags, "-o", tmp_path / "out.png")
    (aged,) = client.age(collage, "60+", source=30, strength=0.6, blend="replace").photos
    assert np.array_equal(pixels(tmp_path / "out.png"), aged.picture.to_array())


def test_a_name_of_no_face_is_a_warning_beside_others_and_an_error_alone(
    server: ServerProcess, environment: dict[str, str], run: Run, client: Client, collage: Path, tmp_path: Path
) -> None:
    done = run("age", collage, "--to", "60+", "--face", 7, "--face", 1, "-o", tmp_path / "out.png")
    assert "warning: no face is at index 7; 2 faces were found" in done.stderr
    assert changed(pixels(collage), pixels(tmp_path / "out.png")) == [False, True]
    failed = dorian(server, environment, "age", collage, "--to", "60+", "--face", 7, "-o", tmp_path / "none.png")
    assert failed.returncode == 3
    assert "no face is at index 7; 2 faces were found" in failed.stderr
    assert not (tmp_path / "none.png").exists()
    with pytest.raises(InvalidRequest) as caught:
        client.age(collage, "60+", strength=2)
    assert (caught.value.reason, caught.value.field) == ("SETTING_OUT_OF_RANGE", "strength")


def test_metadata_is_kept_where_it_is_asked_for(run: Run, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "NASA"
    with Image.open(photo) as picture:
        picture.save(tmp_path / "signed.jpg", exif=exif, quality=95)
    for flags, author in [((), None), (("--keep-metadata",), "NASA")]:
        run("age", tmp_path / "signed.jpg", "--to", "60+", *flags, "-o", tmp_path / "aged.jpg")
        with Image.open(tmp_path / "aged.jpg") as aged:
            assert aged.getexif().get(0x013B) == author


def test_named_faces_are_reconstructed(client: Client, collage: Path) -> None:
    (face,) = client.reconstruct(collage, faces=1).faces
    assert face.face == client.detect(collage).faces[1]
    assert face.crop.to_array().shape == face.picture.to_array().shape
    assert -1 <= face.identity_similarity <= 1
