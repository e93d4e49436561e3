"""The way of a photo through the server, with networks whose answers are known and with the embedded ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_bundle.ages import PAPER_GROUPS, age_condition
from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age, AgeRequest, ImageFormat, Output
from dorian_server.domain.results import AgeResult
from dorian_server.images import FORMATS
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.pipeline.compositing import MEAN_LUMA_KEPT
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.settings import Limits

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
FaceAt = Callable[[float, float, float], DetectedFace]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

GROUPS = [Age(group=group.label) for group in PAPER_GROUPS]
STAGES = ["decode", "detect", "align", "read", "encode", "generate", "paste", "reread", "write"]
SIDE = 64  # of a face, so that its crop has the photo's own pixels
MIDDLE = np.s_[28:36, 24:40]  # of a face at 0, 0
GREY = 128
GREEN_LUMA = 0.587
# Levels by which a photo changes where the drawings' green differs by 1 all over.
CHANGE = 255 * MEAN_LUMA_KEPT * GREEN_LUMA


@pytest.fixture
def grey() -> Pixels:
    """A photo (160, 200, 3), grey all over."""
    return np.full((160, 200, 3), GREY, np.uint8)


def run(pipeline: Pipeline, data: bytes, *targets: Age, **fields: Any) -> AgeResult:
    return pipeline.age(AgeRequest(data, targets, **fields), pipeline.method(""), Clock())


def refusal(pipeline: Pipeline, data: bytes, *targets: Age, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        run(pipeline, data, *targets, **fields)
    return caught.value


# --- what happens to a face ---


@pytest.mark.parametrize("source", range(6))
def test_a_face_changes_by_the_difference_between_source_and_target(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    group_levels: Floats,
    grey: Pixels,
    write: Write,
    read: Read,
    source: int,
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    aged = run(pipeline, write(grey), *GROUPS, source=GROUPS[source])
    assert len(aged.images) == len(GROUPS)
    for target, picture in enumerate(aged.images):
        change = read(picture.image.data).astype(int) - grey
        assert (change[MIDDLE] == round(CHANGE * float(group_levels[target] - group_levels[source]))).all()
        assert not change[:, SIDE:].any()
        assert not change[SIDE:].any()


def test_what_was_learned_under_the_mask_is_not_held_back(
    flat_pipeline: BuildPipeline,
    flat_networks: AgeCgan,
    face_at: FaceAt,
    group_levels: Floats,
    grey: Pixels,
    write: Write,
    read: Read,
) -> None:
    learned = copy.copy(flat_networks)
    learned.learned_under_mask = True
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE), methods=(learned,))
    (picture,) = run(pipeline, write(grey), GROUPS[5], source=GROUPS[0]).images
    change = read(picture.image.data)[MIDDLE].astype(int) - GREY
    assert change.mean() == pytest.approx(255 * GREEN_LUMA * float(group_levels[5] - group_levels[0]), abs=0.51)


def test_years_between_two_centres_change_it_in_between(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, grey: Pixels, write: Write, read: Read
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    years = [Age(years=9), Age(years=54.5), Age(years=62.25), Age(years=70), Age(years=120)]
    aged = run(pipeline, write(grey), *years, source=Age(years=9))
    changes = [read(picture.image.data)[MIDDLE].astype(int).mean() - GREY for picture in aged.images]
    levels = np.array([*group_levels[[0, 4]], group_levels[4:].mean(), *group_levels[[5, 5]]])
    assert changes == pytest.approx(CHANGE * (levels - levels[0]), abs=0.51)


@pytest.mark.parametrize("blue", [30, 96, 250])
def test_a_source_that_is_not_given_is_the_age_that_the_face_looks(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    group_levels: Floats,
    grey: Pixels,
    write: Write,
    read: Read,
    years_of: Callable[[float], float],
    blue: int,
) -> None:
    """At most 120 years: beyond, the estimator is wrong."""
    grey[..., 2] = blue
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    (picture,) = run(pipeline, write(grey), GROUPS[2]).images
    (report,) = picture.faces
    years = min(years_of(blue), 120)
    assert report.source == Age(years=pytest.approx(years, abs=1e-3))
    assert not report.source_given
    own = age_condition(PAPER_GROUPS, years) @ group_levels
    change = read(picture.image.data)[MIDDLE].astype(int) - grey[MIDDLE]
    assert change[..., :2].mean() == pytest.approx(CHANGE * float(group_levels[2] - own), abs=0.51)


def test_each_face_has_its_own_source_and_change(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, write: Write, read: Read
) -> None:
    photo = np.full((100, 200, 3), 100, np.uint8)
    photo[:, :100, 2], photo[:, 100:, 2] = 48, 109
    pipeline, _ = flat_pipeline(face_at(3, 2, SIDE), face_at(102, 2, SIDE))
    (picture,) = run(pipeline, write(photo), GROUPS[5]).images
    for report, left, years in zip(picture.faces, (3, 102), (24.0, 54.5), strict=True):
        assert report.source == Age(years=pytest.approx(years, abs=1e-3))
        own = age_condition(PAPER_GROUPS, years) @ group_levels
        red = int(read(picture.image.data)[34, left + 32, 0])
        assert red - 100 == pytest.approx(CHANGE * float(group_levels[5] - own), abs=0.51)


def test_a_given_source_counts_for_every_face(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 80), face_at(90, 0, 60))
    (picture,) = run(pipeline, write(grey), GROUPS[0], source=Age(years=33)).images
    assert [(face.source, face.source_given) for face in picture.faces] == [(Age(years=33), True)] * 2


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5])
def test_strength_scales_the_change(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    group_levels: Floats,
    grey: Pixels,
    write: Write,
    read: Read,
    strength: float,
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    (picture,) = run(pipeline, write(grey), GROUPS[5], source=GROUPS[0], strength=strength).images
    change = read(picture.image.data)[MIDDLE].astype(int) - GREY
    assert change.mean() == pytest.approx(strength * CHANGE * float(group_levels[5] - group_levels[0]), abs=0.51)


@pytest.mark.parametrize("blend", ["delta", "replace"])
def test_a_strength_of_0_gives_the_photo_back_bit_for_bit(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, read: Read, blend: str
) -> None:
    for picture in run(embedded, portrait_file, GROUPS[0], GROUPS[5], strength=0.0, blend=blend).images:
        assert np.array_equal(read(picture.image.data), portrait)
        (report,) = picture.faces
        assert report.similarity == pytest.approx(1, abs=1e-5)
        assert report.similarity <= 1
        assert report.after is not None
        assert report.after.estimated_age == pytest.approx(report.face.reading.estimated_age, abs=1e-3)


def test_a_replaced_face_has_the_drawings_pattern_in_the_photos_colours(
    flat_pipeline: BuildPipeline, face_at: FaceAt, write: Write, read: Read
) -> None:
    """What is drawn is flat, so it is the face's mean colour, which lies between the two that the photo has."""
    photo = np.zeros((100, 120, 3), np.uint8)
    photo[:, ::2], photo[:, 1::2] = (200, 150, 120), (160, 110, 80)
    pipeline, _ = flat_pipeline(face_at(20, 20, SIDE))
    (picture,) = run(pipeline, write(photo), GROUPS[5], blend="replace").images
    pixels = read(picture.image.data)
    inside = pixels[20:84, 20:84][MIDDLE].astype(int)
    assert inside.std(axis=(0, 1)).max() == 0, "her stripes are gone"
    assert inside[0, 0] == pytest.approx((180, 130, 100), abs=2)
    outside = np.ones(photo.shape[:2], bool)
    outside[20:84, 20:84] = False
    assert np.array_equal(pixels[outside], photo[outside])
    (half,) = run(pipeline, write(photo), GROUPS[5], blend="replace", strength=0.5).images
    expected = (photo[20:84, 20:84][MIDDLE] + inside) / 2
    assert np.abs(read(half.image.data)[20:84, 20:84][MIDDLE] - expected).max() <= 1


def test_overlapping_faces_do_not_change_twice(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, grey: Pixels, write: Write, read: Read
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE), face_at(0, 0, SIDE))
    (picture,) = run(pipeline, write(grey), GROUPS[5], source=GROUPS[0]).images
    change = read(picture.image.data)[MIDDLE].astype(int) - GREY
    assert np.abs(change - CHANGE * float(group_levels[5] - group_levels[0])).max() <= 1


@pytest.mark.parametrize("blend", ["delta", "replace"])
@pytest.mark.parametrize(("left", "top"), [(-30, 20), (165, 130), (-20, -20)])
def test_a_face_that_leaves_the_frame(
    flat_pipeline: BuildPipeline, face_at: FaceAt, write: Write, read: Read, left: int, top: int, blend: str
) -> None:
    photo = np.random.default_rng(0).integers(80, 176, (160, 200, 3), dtype=np.uint8)
    pipeline, _ = flat_pipeline(face_at(left, top, SIDE))
    (picture,) = run(pipeline, write(photo), GROUPS[5], source=GROUPS[0], blend=blend).images
    pixels = read(picture.image.data)
    assert pixels.shape == photo.shape
    assert (pixels != photo).any()
    assert picture.faces[0].error is None


# --- what stays ---


@pytest.mark.parametrize("age", [GROUPS[2], Age(years=47.5), Age(years=0)])
def test_a_target_equal_to_the_source_gives_the_photo_back_bit_for_bit(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, read: Read, age: Age
) -> None:
    pictures = run(embedded, portrait_file, GROUPS[5], age, GROUPS[0], source=age).images
    assert [len(picture.faces) for picture in pictures] == [1, 1, 1]
    assert np.array_equal(read(pictures[1].image.data), portrait)
    assert not np.array_equal(read(pictures[0].image.data), portrait)


@pytest.mark.parametrize("blend", ["delta", "replace"])
def test_far_from_the_face_the_embedded_networks_change_nothing(
    embedded: Pipeline, collage: Pixels, write: Write, read: Read, blend: str
) -> None:
    for picture in run(embedded, write(collage), *GROUPS, blend=blend).images:
        pixels = read(picture.image.data)
        untouched = np.ones(collage.shape[:2], bool)
        assert len(picture.faces) == 2
        for report in picture.faces:
            x, y, width, height = report.face.detected.box
            # A face's hair is near it, too.
            top, left = max(0, round(y - height)), max(0, round(x - width))
            untouched[top : round(y + 2 * height), left : round(x + 2 * width)] = False
        assert untouched.mean() > 0.1
        assert np.array_equal(pixels[untouched], collage[untouched])
        assert (pixels != collage).any()


@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("asked", [None, *FORMATS])
def test_formats_and_sizes(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    grey: Pixels,
    write: Write,
    read: Read,
    stored: ImageFormat,
    asked: ImageFormat,
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    (aged,) = run(pipeline, write(grey, stored), GROUPS[0], output=Output(asked)).images
    picture = aged.image
    assert picture.format == (asked or stored)
    assert (picture.width, picture.height) == (200, 160)
    assert read(picture.data).shape == grey.shape
    assert {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"RI": "WEBP"}[picture.data[:2]] == picture.format


def test_a_photo_stored_lying_comes_back_upright(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write, read: Read
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    (aged,) = run(pipeline, write(grey, "JPEG", exif=exif), GROUPS[0]).images
    assert (aged.image.width, aged.image.height) == (160, 200)
    assert read(aged.image.data).shape == (200, 160, 3)
    assert b"Exif" not in aged.image.data


def test_quality_is_passed_on(flat_pipeline: BuildPipeline, face_at: FaceAt, noise: Pixels, write: Write) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 40))
    sizes = [
        len(run(pipeline, write(noise), GROUPS[0], output=Output("JPEG", quality)).images[0].image.data)
        for quality in (1, 50, 100)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_requests_in_parallel_do_not_mix(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, write: Write
) -> None:
    files = [portrait_file, write(np.ascontiguousarray(portrait[:, ::-1]))]

    def aged(data: bytes) -> list[bytes]:
        return [item.image.data for item in run(embedded, data, GROUPS[0], GROUPS[5]).images]

    expected = [aged(data) for data in files]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(aged, files * 3))
    assert result == expected * 3


def test_time_is_told_by_stage(flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    clock = Clock()
    pipeline.age(AgeRequest(write(grey), GROUPS), pipeline.method(""), clock)
    assert list(clock.seconds) == STAGES
    assert min(clock.seconds.values()) > 0


def test_a_clock_adds_up_and_counts_what_fails() -> None:
    clock = Clock(seconds={"write": 1000.0})
    with pytest.raises(KeyError), clock.stage("write"):
        raise KeyError
    assert 1000 < clock.seconds["write"] < 1100


# --- what cannot be done ---


def test_methods_by_name(flat_pipeline: BuildPipeline) -> None:
    pipeline, _ = flat_pipeline()
    assert pipeline.method("") is pipeline.method("age_cgan") is pipeline.methods[0]
    with pytest.raises(RequestError) as caught:
        pipeline.method("age_gan")
    assert str(caught.value) == "the bundle has no method 'age_gan'; it has age_cgan"
    assert (caught.value.reason, caught.value.field) == ("METHOD_UNKNOWN", "method")


@pytest.mark.parametrize(
    ("ages", "fields", "reason", "field"),
    [
        ([], {}, "TARGET_MISSING", "targets"),
        ([GROUPS[0]] * 33, {}, "TARGET_TOO_MANY", "targets"),
        ([GROUPS[0], Age(group="61+")], {}, "AGE_GROUP_UNKNOWN", "targets[1]"),
        ([Age(group="")], {}, "AGE_GROUP_UNKNOWN", "targets[0]"),
        ([GROUPS[0], GROUPS[1], Age(years=-3)], {}, "AGE_OUT_OF_RANGE", "targets[2]"),
        ([Age(years=200)], {}, "AGE_OUT_OF_RANGE", "targets[0]"),
        ([Age(years=float("nan"))], {}, "AGE_OUT_OF_RANGE", "targets[0]"),
        ([GROUPS[0]], {"source": Age(group="old")}, "AGE_GROUP_UNKNOWN", "source"),
        ([GROUPS[0]], {"source": Age(years=121)}, "AGE_OUT_OF_RANGE", "source"),
        ([GROUPS[0]], {"strength": -0.01}, "SETTING_OUT_OF_RANGE", "strength"),
        ([GROUPS[0]], {"strength": 1.51}, "SETTING_OUT_OF_RANGE", "strength"),
        ([GROUPS[0]], {"strength": float("nan")}, "SETTING_OUT_OF_RANGE", "strength"),
        ([GROUPS[0]], {"strength": 1.01, "blend": "replace"}, "SETTING_OUT_OF_RANGE", "strength"),
    ],
)
def test_bad_requests_are_refused_before_the_photo_is_read(
    flat_pipeline: BuildPipeline, face_at: FaceAt, ages: list[Age], fields: dict[str, Any], reason: str, field: str
) -> None:
    pipeline, detector = flat_pipeline(face_at(0, 0, SIDE))
    error = refusal(pipeline, b"not even a photo", *ages, **fields)
    assert (error.reason, error.field) == (reason, field)
    assert detector.calls == 0


@pytest.mark.parametrize(("blend", "most"), [("delta", 1.5), ("replace", 1.0)])
def test_the_strongest_change_that_is_allowed(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write, blend: str, most: float
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    assert run(pipeline, write(grey), GROUPS[0], blend=blend, strength=most).images
    error = refusal(pipeline, write(grey), GROUPS[0], blend=blend, strength=most + 0.1)
    assert str(error).endswith(f"it must be between 0 and {most:g} for this blend")


def test_no_face(embedded: Pipeline, grey: Pixels, write: Write) -> None:
    error = refusal(embedded, write(grey), GROUPS[0])
    assert (error.reason, error.field) == ("NO_FACE", "image.data")
    assert "no face was found" in str(error)


def test_limits_reach_the_decoder(flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write) -> None:
    data = write(grey)
    for limits, reason in [
        (Limits(max_image_bytes=len(data) - 1), "IMAGE_BYTES_EXCEEDED"),
        (Limits(max_pixels=grey.size // 3 - 1), "IMAGE_TOO_LARGE"),
        (Limits(min_side=161), "IMAGE_TOO_SMALL"),
    ]:
        pipeline, _ = flat_pipeline(face_at(0, 0, SIDE), limits=limits)
        assert refusal(pipeline, data, GROUPS[0]).reason == reason


def test_as_many_targets_as_the_limit_allows(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write
) -> None:
    pipeline, detector = flat_pipeline(face_at(0, 0, 40), limits=Limits(max_targets=3))
    assert len(run(pipeline, write(grey), *GROUPS[:3]).images) == 3
    assert detector.calls == 1, "the face is found once for all targets"
    error = refusal(pipeline, write(grey), *GROUPS[:4])
    assert str(error) == "4 target ages are given; at most 3 are allowed"
