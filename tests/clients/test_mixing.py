"""Mixing styles by the SDK and by ``dorian mix``, against the fake server: what is sent, what comes back, what is rejected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import (
    Client,
    InternalError,
    InvalidRequest,
    PhotoError,
    Reference,
    StylePreset,
    UsedReference,
    compose,
)
from dorian_client.testing import FakeServer

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]


# --- the SDK ---


def test_references_are_sent_as_photos(client: Client, fake: FakeServer, pixels: Pixels, photo: Path) -> None:
    result = client.mix(pixels, str(photo), preset="alternating-3", strength=0.5, blend="replace", faces="largest")
    (request,) = fake.requests
    assert [reference.image.data for reference in request.references] == [photo.read_bytes()]
    assert not request.references[0].HasField("face")
    assert (request.preset, list(request.levels), request.HasField("chosen")) == ("alternating-3", [], False)
    assert (request.strength, request.blend) == (0.5, pb.BLEND_REPLACE)
    assert list(request.faces) == [pb.FaceSelector(largest=True)]
    np.testing.assert_array_equal(result.picture.to_array()[1:], 255 - pixels[1:])
    (report,) = result.faces
    assert (report.target, report.estimated_age_after, report.error) == (None, 56.75, None)
    (reference,) = result.references
    assert (reference.index, reference.levels, reference.chosen_for, reference.gender) == (0, (9, 11), None, None)
    assert reference.face is not None
    assert reference.face.estimated_age == 34.25
    assert (result.provenance.method, result.faces_found, result.seconds) == ("other", 2, 0.5)


def test_references_have_faces_and_levels_of_their_own(client: Client, fake: FakeServer, pixels: Pixels) -> None:
    references = [Reference(pixels, face=1, levels=[9, 11]), Reference(pixels, levels=(10, 12))]
    result = client.mix(pixels, references)
    (request,) = fake.requests
    assert [list(reference.levels) for reference in request.references] == [[9, 11], [10, 12]]
    assert [reference.face for reference in request.references] == [pb.FaceSelector(index=1), pb.FaceSelector()]
    assert request.preset == "", "the levels are given"
    assert [reference.levels for reference in result.references] == [(9, 11), (10, 12)]


@pytest.mark.parametrize(
    ("options", "preset", "levels"),
    [({}, "mid", []), ({"levels": [9, 11]}, "", [9, 11]), ({"preset": "top"}, "top", [])],
)
def test_levels_are_those_of_a_preset_unless_others_are_given(
    client: Client, fake: FakeServer, pixels: Pixels, options: dict[str, Any], preset: str, levels: list[int]
) -> None:
    client.mix(pixels, pixels, **options)
    assert (fake.requests[0].preset, list(fake.requests[0].levels)) == (preset, levels)


def test_the_server_chooses_references_of_an_age(client: Client, fake: FakeServer, pixels: Pixels) -> None:
    result = client.mix(pixels, to=70, count=2, gender="woman")
    assert fake.requests[0].chosen == pb.ReferenceChoice(age=pb.Age(years=70), count=2, gender=pb.GENDER_WOMAN)
    assert [report.target for report in result.faces] == [70, 70]
    expected = UsedReference(1, (9, 11), None, 0, 60, 69, "woman")
    assert result.references[1] == expected
    assert [reference.chosen_for for reference in result.references] == [0, 0, 1, 1]
    client.mix(pixels, to="60+")
    assert fake.requests[1].chosen == pb.ReferenceChoice(age=pb.Age(group="60+"))


def test_a_delta_makes_the_picture_of_the_photo(client: Client, pixels: Pixels) -> None:
    result = client.mix(pixels, pixels, with_delta=True, format="png")
    assert result.delta is not None
    assert result.delta.format == "png"
    assert compose(pixels, result.delta).size == (64, 48)


def test_a_server_that_sends_no_delta_is_at_fault(client: Client, fake: FakeServer, pixels: Pixels) -> None:
    def bare(response: pb.MixStylesResponse) -> pb.MixStylesResponse:
        response.result.ClearField("delta")
        return response

    fake.on_response = bare
    with pytest.raises(InternalError, match="sent no delta"):
        client.mix(pixels, pixels, with_delta=True)


@pytest.mark.parametrize(
    ("references", "options", "error", "message"),
    [
        (None, {"count": 3}, ValueError, "count and gender are for references that the server chooses"),
        (None, {"to": 70, "gender": "x"}, ValueError, "a gender cannot be 'x'; give one of woman, man"),
        (None, {"to": 70, "count": 2.5}, TypeError, "a count cannot be float; give how many references"),
        (b"x", {"levels": ["9"]}, TypeError, "a level cannot be str; give numbers from 1"),
        (b"x", {"levels": [2**40]}, ValueError, "a level cannot be 1099511627776"),
        (b"x", {"source": 20}, TypeError, "unexpected keyword argument 'source'; the options are to, count"),
        (b"x", {"blend": "magic"}, ValueError, "a blend cannot be 'magic'"),
        ("nowhere.jpg", {}, PhotoError, "no photo at nowhere.jpg"),
        ([b"x", 3], {}, PhotoError, "a photo cannot be int"),
    ],
)
def test_arguments_that_cannot_be_sent(
    client: Client, fake: FakeServer, pixels: Pixels, references: Any, options: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        client.mix(pixels, references, **options)
    assert fake.requests == []


def test_errors_of_the_server_are_raised(client: Client, fake: FakeServer, pixels: Pixels) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.mix(pixels)
    assert (caught.value.reason, caught.value.field) == ("REFERENCE_MISSING", "references")
    with pytest.raises(InvalidRequest) as caught:
        client.mix(pixels, [pixels, b"no photo"])
    assert (caught.value.reason, caught.value.field) == ("IMAGE_UNREADABLE", "references[1].image.data")


def test_methods_say_how_they_mix(client: Client) -> None:
    inverter, other, _ = client.methods()
    assert (inverter.style_levels, inverter.style_presets) == (0, ())
    assert other.style_levels == 12
    assert other.style_presets[1:] == (
        StylePreset("alternating-3", ((9, 11),)),
        StylePreset("two-styles", ((9, 11), (10, 12))),
    )


# --- the command ---


@pytest.fixture
def old(photo: Path) -> Path:
    """Another photo beside the first."""
    with Image.open(photo) as image:
        image.transpose(Image.Transpose.ROTATE_180).save("old.png")
    return Path("old.png")


def fails(result: Result, code: int, message: str) -> None:
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_photo_is_mixed(run: Run, fake: FakeServer, old: Path, pixels: Pixels) -> None:
    arguments = ["--preset", "alternating-3", "--strength", "0.5", "--face", "0", "--keep-metadata"]
    result = run("mix", "portrait.png", "--reference", "old.png", "-o", "older.png", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), by other with levels 9, 11 of old.png (34), looks 57 after, similarity 0.88",
        "changed 1 of 2 faces in 0.50 s",
        "wrote older.png",
    ]
    (request,) = fake.requests
    assert [reference.image.data for reference in request.references] == [old.read_bytes()]
    assert (request.preset, request.strength) == ("alternating-3", 0.5)
    assert request.output == pb.OutputOptions(format=pb.IMAGE_FORMAT_PNG, keep_metadata=True)
    np.testing.assert_array_equal(np.asarray(Image.open("older.png"))[1:], 255 - pixels[1:])


def test_references_are_chosen(run: Run, fake: FakeServer, photo: Path) -> None:
    arguments = ["--to", "70", "--references", "2", "--gender", "woman", "-o", "older.jpg", "--face", "largest"]
    result = run("mix", "portrait.png", *arguments)
    assert result.stdout.splitlines()[0] == (
        "face 0: 32x40 at (8, 4), by other with levels 9, 11 of woman 0 (60 to 69), woman 1 (60 to 69), looks 57 after, "
        "similarity 0.88"
    )
    (request,) = fake.requests
    assert request.chosen == pb.ReferenceChoice(age=pb.Age(years=70), count=2, gender=pb.GENDER_WOMAN)
    assert request.preset == "mid"


def test_levels_are_of_all_references_or_of_each(run: Run, fake: FakeServer, old: Path) -> None:
    both = ["--reference", "old.png", "--reference", "portrait.png", "-o", "mixed.png"]
    assert run("mix", "portrait.png", *both, "--levels", "9,11").exit_code == 0
    result = run("mix", "portrait.png", *both, "--levels", "9,11", "--levels", "10")
    assert "with levels 9, 11 of old.png (34) and levels 10 of portrait.png (34), looks 57" in result.stdout
    shared, own = fake.requests
    assert (list(shared.levels), [list(item.levels) for item in shared.references]) == ([9, 11], [[], []])
    assert (list(own.levels), [list(item.levels) for item in own.references]) == ([], [[9, 11], [10]])


def test_a_sheet_of_references_by_presets(run: Run, fake: FakeServer, old: Path, pixels: Pixels) -> None:
    shutil.copy(old, "other.png")
    result = run("mix", "portrait.png", "--reference", "old.png", "--reference", "other.png", "--sheet", "sheet.png")
    assert result.exit_code == 0, result.output
    mixing = [request for request in fake.requests if isinstance(request, pb.MixStylesRequest)]
    assert [request.preset for request in mixing] == ["mid", "alternating-3"] * 2, "those of one group"
    assert result.stdout.splitlines()[-1] == "wrote sheet.png"
    sheet = np.asarray(Image.open("sheet.png").convert("RGB"))
    inner = np.s_[1:, 1:]  # without the pixel that the fake server writes a number into
    for picture, rows in ((pixels, 2), (255 - pixels, 4), (pixels[::-1, ::-1], 2)):
        windows = np.lib.stride_tricks.sliding_window_view(sheet, picture[inner].shape)[:, :, 0]
        assert len(np.argwhere((windows == picture[inner]).all(axis=(2, 3, 4)))) == rows


def test_a_sheet_of_ages(run: Run, fake: FakeServer, photo: Path) -> None:
    arguments = ["--to", "8", "--to", "70", "--references", "3", "--preset", "top", "--sheet", "sheets/"]
    result = run("mix", "portrait.png", *arguments)
    assert result.exit_code == 0, result.output
    assert [(request.chosen.age.years, request.chosen.count, request.preset) for request in fake.requests] == [
        (8, 3, "top"),
        (70, 3, "top"),
    ]
    assert Path("sheets/portrait-mixed.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.png"], "no references: give --reference PHOTO, or --to AGE"),
        (["--to", "70"], "give either -o OUT for the photo, or --sheet OUT"),
        (["--to", "70", "-o", "x.png", "--sheet", "y.png"], "give either -o OUT"),
        (["--to", "70", "--reference", "old.png", "-o", "x.png"], "--reference and --to cannot go together"),
        (["--reference", "old.png", "--references", "3", "-o", "x.png"], "are for references that the server chooses"),
        (["--to", "70", "--references", "9", "-o", "x.png"], "9 is not in the range 1<=x<=8"),
        (["--to", "70", "--levels", "9;11", "-o", "x.png"], "levels cannot be '9;11'; give numbers like 9,11"),
        (["--reference", "old.png", "--levels", "9", "--levels", "11", "-o", "x.png"], "2 groups of levels for 1 refe"),
        (["--to", "70", "--to", "8", "-o", "x.png"], "several ages or presets need a sheet"),
        (["--to", "70", "--preset", "a", "--preset", "b", "-o", "x.png"], "several ages or presets need a sheet"),
        (["--to", "70", "--levels", "9", "--sheet", "x.png"], "leave out --levels and --keep-metadata"),
        (["--to", "70", "-o", "x.gif"], "x.gif"),
        (
            ["--to", "70", "--sheet", "x.png", *[part for i in range(65) for part in ("--preset", f"p{i}")]],
            "at most 64",
        ),
        (["--to", "70", "--sheet", "x.png", "--method", "inverter"], "inverter has no presets"),
    ],
)
def test_invalid_command_lines(run: Run, fake: FakeServer, old: Path, arguments: list[str], message: str) -> None:
    fails(run("mix", "portrait.png", *arguments), 2, message)
    assert not any(isinstance(request, pb.MixStylesRequest) for request in fake.requests)


def test_what_the_server_rejects_ends_the_command(run: Run, fake: FakeServer, old: Path) -> None:
    fake.fail("LEVELS_UNSUITABLE", "levels: there is no level 13; levels go from 1 to 12", field="levels")
    fails(run("mix", "portrait.png", "--to", "70", "--levels", "13", "-o", "x.png"), 3, "there is no level 13")
    assert not Path("x.png").exists()
    fake.recover()
    Path("broken.png").write_bytes(b"no photo")
    fails(
        run("mix", "portrait.png", "--reference", "broken.png", "--sheet", "x.png"),
        3,
        "the reference broken.png cannot",
    )
