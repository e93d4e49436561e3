"""MixStyles over a real socket: which levels of which references are drawn, what is said of them, and what is rejected."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle, write_manifest
from dorian_bundle.style_levels import PRESETS
from dorian_server.pipeline.style_mixing import StyleMixing
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from tests.server.rejections import expect, rejected
from tests.server.tiny_styles import LEVELS, STRUCTURE, level_weight, tiny_library, write_style_bundle

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]
Call = Callable[..., pb.MixStylesResponse]
Case = tuple[dict[str, Any], str, str, str]

SECONDS = 120
MIDDLE = np.s_[96:112, 104:120]  # of the portrait, where the mask of its face is whole
SHIFTS = ((0, 0, 0), (40, 0, -15), (-40, 0, 25))  # of the colours of reference photos
AT_70 = pb.Age(years=70)


@pytest.fixture(scope="module")
def photo(portrait: Pixels) -> Pixels:
    """The portrait, its values from 20 to 197, in full colour."""
    return (portrait // 2 + np.array([70, 45, 20], np.uint8)).astype(np.uint8)


@pytest.fixture(scope="module")
def style_bundle(default_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_style_bundle(default_bundle, tmp_path_factory.mktemp("styles") / "bundle")


@pytest.fixture(scope="module")
def service(style_bundle: Bundle) -> Iterator[FaceAgingStub]:
    server = start(Settings(style_bundle.folder, host="127.0.0.1", port=0, threads=1))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FaceAgingStub(channel)
    server.stop()


@pytest.fixture(scope="module")
def references(photo: Pixels, write: Write) -> list[bytes]:
    """The photo itself, redder and less blue, and less red and bluer."""
    return [write((photo.astype(int) + shift).clip(0, 255).astype(np.uint8)) for shift in SHIFTS]


@pytest.fixture(scope="module")
def styles(service: FaceAgingStub, references: list[bytes]) -> Floats:
    """The red and the blue that the encoder finds in the face of each reference, (references, 2)."""
    found = []
    for data in references:
        request = pb.ReconstructRequest(image=pb.Image(data=data), method="ae_stylegan")
        (face,) = service.Reconstruct(request, timeout=SECONDS).faces
        found.append(face.latent[STRUCTURE : STRUCTURE + 2])
    return np.array(found, np.float32)


@pytest.fixture(scope="module")
def mix(service: FaceAgingStub, photo: Pixels, write: Write) -> Call:
    """Calls MixStyles with the photo in a PNG."""
    data = write(photo)
    return lambda **fields: service.MixStyles(
        pb.MixStylesRequest(**{"image": pb.Image(data=data)} | fields), timeout=SECONDS
    )


def given(*data: bytes, **fields: Any) -> list[pb.StyleReference]:
    return [pb.StyleReference(image=pb.Image(data=item), **fields) for item in data]


def change_of(own: Floats, gifts: list[tuple[tuple[int, ...], Floats]], strength: float = 1) -> Floats:
    """The change of red, green and blue where faces of style ``own`` (2,) are given styles (2,) at levels."""
    red_and_green = sum((level_weight(levels) * (style - own) for levels, style in gifts), np.zeros(2, np.float32))
    return 255 * strength * np.array([*red_and_green, 0], np.float32)


def require_change(response: pb.MixStylesResponse, photo: Pixels, read: Read, change: Floats) -> None:
    assert np.abs(change).max() > 1.5, "a change that can be seen"
    pixels = read(response.result.image.data)[MIDDLE].astype(int)
    assert np.abs(pixels - (photo[MIDDLE] + change).clip(0, 255)).max() <= 0.51


# --- what is drawn ---


@pytest.mark.parametrize("preset", [name for name, groups in PRESETS.items() if len(groups) == 1])
def test_one_reference_gives_the_levels_of_a_preset(
    mix: Call, photo: Pixels, read: Read, references: list[bytes], styles: Floats, preset: str
) -> None:
    response = mix(references=given(references[1]), preset=preset)
    (levels,) = PRESETS[preset]
    require_change(response, photo, read, change_of(styles[0], [(levels, styles[1])]))
    (reference,) = response.references
    assert (reference.index, tuple(reference.levels), reference.HasField("chosen_for")) == (0, levels, False)
    assert reference.face.estimated_age > 0
    assert reference.face.box.width > 20


def test_several_references_give_the_mean_of_their_styles(
    mix: Call, photo: Pixels, read: Read, references: list[bytes], styles: Floats
) -> None:
    response = mix(references=given(references[1], references[1], references[0]), preset="mid")
    mean = (2 * styles[1] + styles[0]) / 3
    require_change(response, photo, read, change_of(styles[0], [(PRESETS["mid"][0], mean)]))
    assert [item.index for item in response.references] == [0, 1, 2]
    by_levels = mix(references=given(references[1], references[1], references[0]), levels=[12, 5, 7, 6, 8, 9, 11, 10])
    assert by_levels.result.image == response.result.image
    assert [list(item.levels) for item in by_levels.references] == [list(PRESETS["mid"][0])] * 3


@pytest.mark.parametrize("preset", ["two-styles", "three-styles"])
def test_each_reference_gives_its_own_group_of_levels(
    mix: Call, photo: Pixels, read: Read, references: list[bytes], styles: Floats, preset: str
) -> None:
    groups = PRESETS[preset]
    order = [1, 2, 0][: len(groups)]
    data = [references[index] for index in order]
    response = mix(references=given(*data), preset=preset)
    gifts = [(levels, styles[index]) for levels, index in zip(groups, order, strict=True)]
    require_change(response, photo, read, change_of(styles[0], gifts))
    assert [tuple(item.levels) for item in response.references] == list(groups)
    own = [
        pb.StyleReference(image=pb.Image(data=item), levels=levels) for item, levels in zip(data, groups, strict=True)
    ]
    assert mix(references=own).result.image == response.result.image


def test_strength_and_blend_are_those_of_age_transform(
    mix: Call, photo: Pixels, read: Read, references: list[bytes], styles: Floats
) -> None:
    fields = {"references": given(references[1]), "preset": "mid"}
    gifts = [(PRESETS["mid"][0], styles[1])]
    require_change(mix(**fields, strength=0.5), photo, read, change_of(styles[0], gifts, 0.5))
    require_change(mix(**fields, strength=1.5), photo, read, change_of(styles[0], gifts, 1.5))
    assert np.array_equal(read(mix(**fields, strength=0).result.image.data), photo)
    replaced = read(mix(**fields, blend=pb.BLEND_REPLACE).result.image.data)
    assert replaced[MIDDLE].std(axis=(0, 1)).max() < 1, "one colour all over"


def test_output_options_and_a_delta(mix: Call, references: list[bytes], photo: Pixels) -> None:
    output = pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=80)
    result = mix(references=given(references[1]), preset="mid", output=output, with_delta=True).result
    assert (result.image.format, result.delta.format) == (pb.IMAGE_FORMAT_WEBP, pb.IMAGE_FORMAT_PNG)
    assert (result.delta.height, result.delta.width) == photo.shape[:2]


def test_a_report_says_what_became_of_a_face(mix: Call, references: list[bytes]) -> None:
    response = mix(references=given(references[1]), preset="top")
    (report,) = response.result.faces
    assert report.face.index == 0
    assert report.source.years == pytest.approx(report.face.estimated_age)
    assert not report.source_given
    assert not report.HasField("target")
    assert report.estimated_age_after > 0
    assert 0.5 < report.identity_similarity <= 1
    assert report.HasField("identity_match")
    assert (response.provenance.method, response.faces_found) == ("ae_stylegan", 1)
    assert {time.stage for time in response.times} >= {"decode", "detect", "read", "encode", "generate", "paste"}


# --- references that the server chooses ---


@pytest.mark.parametrize(
    ("gender", "age", "indices"),
    [
        (pb.GENDER_UNSPECIFIED, AT_70, [5, 7, 4, 6]),
        (pb.GENDER_MAN, pb.Age(years=61), [7, 6, 5, 4]),
        (pb.GENDER_WOMAN, pb.Age(group="19-29"), [1, 0, 3, 2]),
    ],
)
def test_references_of_an_age_are_chosen(
    mix: Call, photo: Pixels, read: Read, styles: Floats, gender: pb.Gender, age: pb.Age, indices: list[int]
) -> None:
    library = tiny_library()
    for count in (1, 3):
        response = mix(chosen=pb.ReferenceChoice(age=age, count=count, gender=gender), preset="mid")
        used = response.references
        assert [item.index for item in used] == indices[:count]
        assert [(item.age_low, item.age_high) for item in used] == [
            (library.age_low[index], library.age_high[index]) for index in indices[:count]
        ]
        assert [item.gender == pb.GENDER_WOMAN for item in used] == [
            library.woman[index] > 0.5 for index in indices[:count]
        ]
        assert {item.chosen_for for item in used} == {0}
        assert not any(item.HasField("face") for item in used)
        mean = library.styles[indices[:count], 0].mean(axis=0)
        require_change(response, photo, read, change_of(styles[0], [(PRESETS["mid"][0], mean)]))
        assert response.result.faces[0].target == age


def test_how_many_are_chosen_without_a_count(mix: Call) -> None:
    chosen = pb.ReferenceChoice(age=AT_70)
    assert [item.index for item in mix(chosen=chosen, preset="mid").references] == [5, 7, 4, 6, 1]
    used = mix(chosen=chosen, preset="three-styles").references
    assert [(item.index, tuple(item.levels)) for item in used] == [(5, (10,)), (7, (11,)), (4, (9, 12))]


def test_each_face_has_its_own_references(mix: Call, collage: Pixels, write: Write) -> None:
    chosen = pb.ReferenceChoice(age=AT_70, count=2)
    image = pb.Image(data=write(collage))
    both = mix(image=image, chosen=chosen, preset="mid")
    assert [(item.chosen_for, item.index) for item in both.references] == [(0, 5), (0, 7), (1, 5), (1, 7)]
    assert [report.face.index for report in both.result.faces] == [0, 1]
    one = mix(image=image, chosen=chosen, preset="mid", faces=[pb.FaceSelector(index=1), pb.FaceSelector(index=9)])
    assert {item.chosen_for for item in one.references} == {1}
    changed, missing = one.result.faces
    assert (changed.face.index, changed.HasField("error")) == (1, False)
    assert missing.error.reason == "FACE_NOT_FOUND"


def test_a_face_of_a_reference_is_selected(mix: Call, collage: Pixels, references: list[bytes], write: Write) -> None:
    data = write(collage)
    selectors = [pb.FaceSelector(index=1), pb.FaceSelector(largest=True)]
    faces = [
        mix(references=given(data, face=selector), preset="mid").references[0].face.index for selector in selectors
    ]
    assert faces == [1, 0]


def test_methods_say_whether_they_mix(service: FaceAgingStub) -> None:
    *others, method = service.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods
    assert (method.family, method.style_levels) == ("ae_stylegan", LEVELS)
    presets = {item.name: tuple(tuple(group.levels) for group in item.groups) for item in method.style_presets}
    assert presets == PRESETS
    assert [(other.style_levels, len(other.style_presets)) for other in others] == [(0, 0)] * 2


# --- what is rejected ---

CHOSEN = pb.ReferenceChoice(age=AT_70)
REJECTED: list[Case] = [
    ({"levels": [0]}, "LEVELS_UNSUITABLE", "levels", "there is no level 0; levels go from 1 to 12"),
    ({"levels": [9, 13]}, "LEVELS_UNSUITABLE", "levels", "there is no level 13; levels go from 1 to 12"),
    ({"levels": [-1]}, "LEVELS_UNSUITABLE", "levels", "there is no level -1"),
    ({"levels": [9, 11, 9]}, "LEVELS_UNSUITABLE", "levels", "level 9 is given twice"),
    ({"levels": [9] * 19}, "LEVELS_UNSUITABLE", "levels", "19 levels are given in levels; at most 18 are allowed"),
    ({}, "LEVELS_UNSUITABLE", "preset", "no levels are given; give a preset (top, high, mid"),
    (
        {"preset": "mid", "levels": [9]},
        "LEVELS_UNSUITABLE",
        "levels",
        "preset and levels are given; give a preset, lev",
    ),
    ({"preset": "low"}, "PRESET_UNKNOWN", "preset", "there is no preset 'low'; there are top, high, mid"),
    (
        {"preset": "two-styles"},
        "REFERENCE_MISSING",
        "references",
        "'two-styles' takes 2 references, one for each group",
    ),
    ({"preset": "mid", "chosen": CHOSEN}, "REFERENCE_TOO_MANY", "chosen", "give references, or chosen"),
    ({"preset": "mid", "references": []}, "REFERENCE_MISSING", "references", "give photos in references, or the age"),
    ({"preset": "mid", "method": "age_translator"}, "METHOD_UNSUITABLE", "method", "no styles to mix; ae_stylegan of"),
    ({"preset": "mid", "method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'"),
    ({"preset": "mid", "strength": 1.6}, "SETTING_OUT_OF_RANGE", "strength", "between 0 and 1.5"),
    ({"preset": "mid", "blend": pb.BLEND_REPLACE, "strength": 1.1}, "SETTING_OUT_OF_RANGE", "strength", "0 and 1 for"),
    ({"preset": "mid", "blend": 7}, "SETTING_OUT_OF_RANGE", "blend", "blend 7 is unknown"),
    ({"preset": "mid", "output": {"quality": 101}}, "SETTING_OUT_OF_RANGE", "output.quality", "101 is out of range"),
    ({"preset": "mid", "faces": [pb.FaceSelector(index=0)] * 33}, "FACE_TOO_MANY", "faces", "at most 32 are allowed"),
    ({"preset": "mid", "faces": [pb.FaceSelector(index=4)]}, "FACE_NOT_FOUND", "faces[0]", "no face is at index 4"),
    ({"preset": "mid", "bundle": "x"}, "BUNDLE_UNKNOWN", "bundle", "there is no bundle 'x'"),
]


@pytest.mark.parametrize(("fields", "reason", "field", "message"), REJECTED)
def test_what_is_rejected(
    service: FaceAgingStub, portrait_file: bytes, fields: dict[str, Any], reason: str, field: str, message: str
) -> None:
    parts = {"image": pb.Image(data=portrait_file), "references": given(portrait_file)} | fields
    expect(rejected(service.MixStyles, pb.MixStylesRequest(**parts)), reason, field, message)


CHOICES: list[tuple[dict[str, Any], str, str, str, str]] = [
    ({"age": AT_70, "count": 9}, "mid", "REFERENCE_TOO_MANY", "chosen.count", "9 references are asked for; at most 8"),
    ({"age": AT_70, "count": -1}, "mid", "SETTING_OUT_OF_RANGE", "chosen.count", "count -1 is out of range"),
    ({"age": AT_70, "count": 3}, "two-styles", "REFERENCE_TOO_MANY", "chosen.count", "takes 2 references"),
    ({"age": AT_70, "gender": 5}, "mid", "SETTING_OUT_OF_RANGE", "chosen.gender", "known: WOMAN, MAN"),
    ({}, "mid", "TARGET_MISSING", "chosen.age", "chosen.age is empty"),
    ({"age": pb.Age(years=130)}, "mid", "AGE_OUT_OF_RANGE", "chosen.age", "age 130 is out of range"),
    ({"age": pb.Age(group="old")}, "mid", "AGE_GROUP_UNKNOWN", "chosen.age", "unknown age group 'old'"),
    ({"age": pb.Age(filter="redder")}, "mid", "TARGET_UNSUITABLE", "chosen.age", "the filter 'redder' is no age"),
]


@pytest.mark.parametrize(("choice", "preset", "reason", "field", "message"), CHOICES)
def test_choices_that_are_rejected(
    service: FaceAgingStub,
    portrait_file: bytes,
    choice: dict[str, Any],
    preset: str,
    reason: str,
    field: str,
    message: str,
) -> None:
    request = pb.MixStylesRequest(
        image=pb.Image(data=portrait_file), chosen=pb.ReferenceChoice(**choice), preset=preset
    )
    expect(rejected(service.MixStyles, request), reason, field, message)


def test_references_that_are_rejected(service: FaceAgingStub, portrait_file: bytes, write: Write) -> None:
    grey = write(np.full((200, 200, 3), 127, np.uint8))
    cases: list[tuple[list[pb.StyleReference], str, str, str]] = [
        (given(portrait_file, grey), "NO_FACE", "references[1].image.data", "references[1]: no face was found"),
        (given(b""), "IMAGE_EMPTY", "references[0].image.data", "references[0]: the image is empty"),
        (given(portrait_file, b"no"), "IMAGE_UNREADABLE", "references[1].image.data", "references[1]: "),
        (
            given(portrait_file, face=pb.FaceSelector(index=3)),
            "FACE_NOT_FOUND",
            "references[0].face",
            "references[0]: no face is at index 3; 1 face was found",
        ),
        (given(portrait_file, face=pb.FaceSelector()), "SETTING_OUT_OF_RANGE", "references[0].face", "names no face"),
        (given(*[portrait_file] * 9), "REFERENCE_TOO_MANY", "references", "9 references are given; at most 8"),
    ]
    for references, reason, field, message in cases:
        request = pb.MixStylesRequest(image=pb.Image(data=portrait_file), references=references, preset="mid")
        expect(rejected(service.MixStyles, request), reason, field, message)


def test_levels_of_references_that_are_rejected(service: FaceAgingStub, portrait_file: bytes) -> None:
    cases = [
        ([[9], []], "references[1].levels", "no level is given"),
        ([[9], [10, 9]], "references[1].levels", "level 9 is given twice"),
        ([[10, 10]], "references[0].levels", "level 10 is given twice"),
        ([[13]], "references[0].levels", "there is no level 13"),
        ([[1] * 20], "references[0].levels", "20 levels are given in references[0].levels; at most 18"),
    ]
    for levels, field, message in cases:
        references = [pb.StyleReference(image=pb.Image(data=portrait_file), levels=item) for item in levels]
        request = pb.MixStylesRequest(image=pb.Image(data=portrait_file), references=references)
        expect(rejected(service.MixStyles, request), "LEVELS_UNSUITABLE", field, message)


def test_a_long_name_does_not_swell_the_status(service: FaceAgingStub, portrait_file: bytes) -> None:
    image = pb.Image(data=portrait_file)
    request = pb.MixStylesRequest(image=image, references=given(portrait_file), preset="x" * 100_000)
    expect(rejected(service.MixStyles, request), "PRESET_UNKNOWN", "preset", "there are top, high, mid")


def test_a_fault_of_ours_is_internal_and_tells_nothing(
    service: FaceAgingStub, portrait_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret of /etc/shadow")

    monkeypatch.setattr(StyleMixing, "mix", fail)
    image = pb.Image(data=portrait_file)
    rejection = rejected(service.MixStyles, pb.MixStylesRequest(image=image, chosen=CHOSEN, preset="mid"))
    assert (rejection.code, rejection.info.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in str(rejection.details)


def test_a_request_of_nothing(service: FaceAgingStub) -> None:
    expect(rejected(service.MixStyles, pb.MixStylesRequest()), "LEVELS_UNSUITABLE", "preset", "no levels are given")


def test_a_bundle_without_styles_cannot_mix(style_bundle: Bundle, tmp_path: Path, portrait_file: bytes) -> None:
    shutil.copytree(style_bundle.folder, tmp_path / "bundle")
    methods = tuple(method for method in style_bundle.manifest.methods if method.family != "ae_stylegan")
    write_manifest(tmp_path / "bundle", style_bundle.manifest.model_copy(update={"methods": methods}))
    server = start(Settings(tmp_path / "bundle", host="127.0.0.1", port=0, threads=1))
    request = pb.MixStylesRequest(image=pb.Image(data=portrait_file), references=given(portrait_file), preset="mid")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            rejection = rejected(FaceAgingStub(channel).MixStyles, request)
    finally:
        server.stop()
    expect(rejection, "METHOD_UNSUITABLE", "method", "no method of this bundle can")


def test_a_photo_is_rejected_as_by_age_transform(service: FaceAgingStub, portrait_file: bytes, huge_png: bytes) -> None:
    references = given(portrait_file)
    empty = pb.MixStylesRequest(references=references, preset="mid")
    expect(rejected(service.MixStyles, empty), "IMAGE_EMPTY", "image.data", "the image is empty")
    huge = pb.MixStylesRequest(image=pb.Image(data=huge_png), references=references, preset="mid")
    expect(rejected(service.MixStyles, huge), "IMAGE_TOO_LARGE", "image.data", "at most 64,000,000")
    hidden = pb.MixStylesRequest(
        image=pb.Image(data=portrait_file), references=given(portrait_file, huge_png), preset="mid"
    )
    expect(rejected(service.MixStyles, hidden), "IMAGE_TOO_LARGE", "references[1].image.data", "references[1]: ")
