"""The dorian command and single faces: detect, compare, --face, and warnings about faces that fail."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._rendering import BOX_COLOUR, LANDMARK_COLOUR

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
SECOND = pb.FaceSelector(box=pb.Box(x=50, y=6, width=12, height=14))
EXIF_ORIENTATION, TURN_LEFT = 0x0112, 8


def _aged(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line.startswith(("face ", "changed "))]


def test_detect(run: Run, fake: Any) -> None:
    fake.faces[1] = dataclasses.replace(fake.faces[1], estimated_age=None)
    result = run("detect", "portrait.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), score 0.75, age 34",
        "face 1: 12x14 at (50, 6), score 0.50, age unknown",
    ]
    assert [path.name for path in Path().iterdir()] == ["portrait.png"]


def test_detect_as_json(run: Run) -> None:
    result = json.loads(run("detect", "portrait.png", "--json").stdout)
    assert [face["index"] for face in result["faces"]] == [0, 1]
    face = result["faces"][0]
    assert face["box"] == {"x": 8, "y": 4, "width": 32, "height": 40}
    assert face["landmarks"]["left_eye"] == [30, 20.5]
    assert (face["score"], face["estimated_age"]) == (0.75, 34.25)
    assert (result["width"], result["height"], result["times"]) == (64, 48, {"detect": 0.125})


def test_a_photo_without_a_face_is_no_error(run: Run, fake: Any, pixels: Pixels) -> None:
    fake.faces = []
    result = run("detect", "portrait.png", "--draw", "drawn.png")
    assert (result.exit_code, result.stdout) == (0, "no face found\nwrote drawn.png\n")
    np.testing.assert_array_equal(np.asarray(Image.open("drawn.png")), pixels)
    result = run("detect", "portrait.png", "--json")
    assert (result.exit_code, json.loads(result.stdout)["faces"]) == (0, [])


@pytest.mark.parametrize("out", ["drawn.png", "new/"])
def test_drawing_faces(out: str, run: Run) -> None:
    result = run("detect", "portrait.png", "--draw", out)
    assert result.exit_code == 0, result.output
    path = Path("drawn.png" if out == "drawn.png" else "new/portrait-faces.png")
    assert result.stdout.splitlines()[-1] == f"wrote {path}"
    drawing = np.asarray(Image.open(path))
    assert (drawing[24:44, 8] == BOX_COLOUR).all()  # the left edge of the largest face's
    assert (drawing[34, 19] == LANDMARK_COLOUR).all()  # the right corner of its mouth


def test_drawing_beside_json_leaves_the_json_whole(run: Run) -> None:
    result = run("detect", "portrait.png", "--draw", "drawn.png", "--json")
    assert len(json.loads(result.stdout)["faces"]) == 2
    assert result.stderr == "wrote drawn.png\n"


def test_drawings_are_upright(run: Run, pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURN_LEFT
    Image.fromarray(np.rot90(pixels, -1)).save("turned.png", exif=exif)
    for photo, out in (("turned.png", "a.png"), ("portrait.png", "b.png")):
        assert run("detect", photo, "--draw", out).exit_code == 0
    turned, upright = (Image.open(name) for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(np.asarray(turned), np.asarray(upright))
    assert turned.getexif().get(EXIF_ORIENTATION, 1) == 1


@pytest.mark.parametrize(
    ("similarity", "verdict"),
    [(0.75, "same person: similarity 0.75"), (0.25, "different people: similarity 0.25")],
)
def test_compare(similarity: float, verdict: str, run: Run, fake: Any) -> None:
    fake.similarity = similarity
    result = run("compare", "portrait.png", "portrait.png")
    assert (result.exit_code, result.stdout) == (0, f"{verdict}, threshold 0.44 (1 in 1,000 false accepts)\n")


def test_compare_single_faces(run: Run, fake: Any, pixels: Pixels) -> None:
    Image.fromarray(255 - pixels).save("other.png")
    arguments = ["--first", "largest", "--second", "50,6,12,14", "--false-accept-rate", "1e-2"]
    result = run("compare", "portrait.png", "other.png", *arguments, "--json")
    (request,) = fake.requests
    assert [request.first.data, request.second.data] == [
        Path(name).read_bytes() for name in ("portrait.png", "other.png")
    ]
    assert (request.first_face, request.second_face) == (pb.FaceSelector(largest=True), SECOND)
    answer = json.loads(result.stdout)
    assert (answer["same_person"], answer["false_accept_rate"], answer["first_embedding"]) == (True, 0.01, [1, 0])
    assert [answer["first"]["index"], answer["second"]["index"]] == [0, 1]


def test_comparing_a_face_that_is_not_there(run: Run) -> None:
    result = run("compare", "portrait.png", "portrait.png", "--second", "7")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == "dorian: no such face"
    assert result.stderr.splitlines()[1].startswith("hint: 'dorian detect PHOTO' lists the faces")


def test_one_face_of_several(run: Run) -> None:
    assert _aged(run("age", "portrait.png", "--to", "60+", "--face", "1", "-o", "a.png")) == [
        "face 1: 12x14 at (50, 6), by inverter from 8 (estimated) to 60+, looks 30 after, similarity 0.75",
        "changed 1 of 2 faces in 0.75 s",
    ]


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("largest", pb.FaceSelector(largest=True)),
        ("0", pb.FaceSelector(index=0)),
        ("-1", pb.FaceSelector(index=-1)),
        ("50,6,12.0,14", SECOND),
        ("-2.5,6,12,14", pb.FaceSelector(box=pb.Box(x=-2.5, y=6, width=12, height=14))),
    ],
)
def test_faces_as_they_are_written(text: str, selector: pb.FaceSelector, run: Run, fake: Any) -> None:
    run("age", "portrait.png", "--to", "8", "--face", text, "--face", "1", "-o", "a.png")
    run("age", "portrait.png", "--face", f"{text}=19-29", "--face", "1=45.5", "-o", "a.png")
    run("reconstruct", "portrait.png", "--face", text, "--face", "1", "-o", "a.png")
    shared, own, recorded = fake.requests
    assert list(shared.faces) == list(recorded.faces) == [selector, pb.FaceSelector(index=1)]
    assert (list(shared.face_targets), list(own.faces), list(own.targets)) == ([], [], [])
    assert list(own.face_targets) == [
        pb.FaceTarget(face=selector, target=pb.Age(group="19-29")),
        pb.FaceTarget(face=pb.FaceSelector(index=1), target=pb.Age(years=45.5)),
    ]


def test_ages_of_their_own_give_one_picture(run: Run, pixels: Pixels) -> None:
    lines = _aged(run("age", "portrait.png", "--face", "0=60+", "--face", "1=45", "--from", "30", "-o", "new/"))
    assert [line.split(", looks")[0] for line in lines] == [
        "face 0: 32x40 at (8, 4), by inverter from 30 (given) to 60+",
        "face 1: 12x14 at (50, 6), by inverter from 30 (given) to 45",
        "changed 2 of 2 faces in 0.75 s",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open("new/portrait-aged.png"))[1:], 255 - pixels[1:])


def test_an_age_of_its_own_beside_several(run: Run) -> None:
    result = run("age", "portrait.png", "--to", "20", "--to", "30", "--face", "1=45", "-o", "{age}.png")
    assert _aged(result) == [
        "face 0: 32x40 at (8, 4), by inverter from 34 (estimated)",
        "face 1: 12x14 at (50, 6), by inverter from 8 (estimated) to 45, looks 30 after, similarity 0.75",
        "changed 2 of 2 faces in 0.75 s",
    ]
    assert [line for line in result.stdout.splitlines() if line.startswith("  to")] == [
        "  to 20, looks 57 after, similarity 0.88",
        "  to 30, looks 57 after, similarity 0.88",
    ]
    assert all(Path(name).exists() for name in ("20.png", "30.png"))


def test_a_sheet_is_labelled_with_its_targets(run: Run) -> None:
    sheets = []
    for arguments in (["--face", "0=45"], ["--face", "1=45"], []):
        assert run("age", "portrait.png", "--sweep", *arguments, "-o", "a.png").exit_code == 0
        sheets.append(np.asarray(Image.open("a.png")))
    np.testing.assert_array_equal(sheets[0], sheets[2])  # not with the one of the largest face
    np.testing.assert_array_equal(sheets[1], sheets[2])


def test_faces_that_fail_beside_others(run: Run, fake: Any) -> None:
    fake.unusable_faces = {0}
    result = run(
        "age", "portrait.png", "--to", "20", "--to", "30", "--face", "0", "--face", "1", "--face", "7", "-o", "new/"
    )
    assert result.stderr.splitlines() == [
        "warning: face 0: the face is seen from the side",
        "warning: the photo has no such face",
    ]
    assert _aged(result) == [
        "face 1: 12x14 at (50, 6), by inverter from 8 (estimated)",
        "changed 1 of 2 faces in 0.75 s",
    ]
    assert len(list(Path("new").iterdir())) == 2


def test_reconstructions_that_fail_beside_others(run: Run, fake: Any) -> None:
    fake.unusable_faces = {0}
    result = run("reconstruct", "portrait.png", "-o", "seen.png")
    assert result.exit_code == 0, result.output
    assert result.stderr == "warning: face 0: the face is seen from the side\n"
    assert result.stdout.splitlines()[1:] == ["drew 1 face in 0.50 s", "wrote seen.png"]


@pytest.mark.parametrize("command", [["age", "--to", "8"], ["age", "--sweep"], ["reconstruct"]])
def test_if_all_faces_fail_nothing_is_written(command: list[str], run: Run, fake: Any) -> None:
    fake.unusable_faces = {0, 1}
    result = run(*command, "portrait.png", "-o", "a.png")
    assert (result.exit_code, result.stdout) == (3, "")
    message = "dorian: face 0: the face is seen from the side; face 1: the face is seen from the side"
    assert result.stderr.splitlines()[0] == message
    assert result.stderr.splitlines()[1].startswith("hint: take a photo")
    assert not Path("a.png").exists()


@pytest.mark.parametrize("command", [["detect"], ["compare", "portrait.png"]])
def test_errors_of_the_server(command: list[str], run: Run, fake: Any) -> None:
    fake.fail("IMAGE_TOO_SMALL", "the photo is too small")
    result = run(*command, "portrait.png")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "dorian: the photo is too small\n")
