"""The way of a photo through the server, with networks whose answers are known and with the embedded ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian_bundle import Bundle
from dorian_server.detection import CascadeDetector, DetectedFace
from dorian_server.errors import RequestError, UnknownMethodError
from dorian_server.methods.age_cgan import Age, AgeCgan
from dorian_server.pictures import FORMATS, Format, Photo
from dorian_server.pipeline import Aged, Clock, Output, Pipeline, store
from dorian_server.settings import Limits

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
FaceAt = Callable[[float, float, float], DetectedFace]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

GROUPS = [Age(group=label) for label in ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")]
STAGES = ["decode", "detect", "align", "encode", "generate", "paste", "write"]
SIDE = 96
GREY = 128
MIDDLE = np.s_[40:60, 40:60]  # of a face at 0, 0 with that side


@pytest.fixture
def grey() -> Pixels:
    """A photo (160, 200, 3), grey all over."""
    return np.full((160, 200, 3), GREY, np.uint8)


@pytest.fixture(scope="session")
def embedded(default_bundle: Bundle, networks: AgeCgan) -> Pipeline:
    """The pipeline as the server has it."""
    return Pipeline(default_bundle, [networks], CascadeDetector(), Limits())


def run(
    pipeline: Pipeline, data: bytes, *targets: Age, source: Age | None = None, output: Output | None = None
) -> Aged:
    return pipeline.age(data, targets, source, pipeline.method(""), output or Output(), Clock())


def refusal(pipeline: Pipeline, data: bytes, *targets: Age, **options: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        run(pipeline, data, *targets, **options)
    return caught.value


# --- what happens to the faces ---


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
    assert len(aged.pictures) == len(GROUPS)
    for target, picture in enumerate(aged.pictures):
        change = read(picture.data).astype(int) - grey
        expected = round(float(group_levels[target] - group_levels[source]) * 255)
        assert (change[MIDDLE] == (0, expected, 0)).all()
        assert not change[:, SIDE + 1 :].any()
        assert not change[SIDE + 1 :].any()
        assert not change[..., [0, 2]].any()


def test_years_between_two_centres_change_it_in_between(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, grey: Pixels, write: Write, read: Read
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    years = [Age(years=54.5), Age(years=62.25), Age(years=70), Age(years=120)]
    aged = run(pipeline, write(grey), *years, source=Age(years=54.5))
    changes = [read(picture.data)[50, 50, 1].astype(int) - GREY for picture in aged.pictures]
    step = float(group_levels[5] - group_levels[4]) * 255
    assert changes == pytest.approx([0, step / 2, step, step], abs=0.51)


@pytest.mark.parametrize("group", range(6))
def test_an_unknown_source_is_the_group_drawn_most_alike(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    group_levels: Floats,
    grey: Pixels,
    write: Write,
    read: Read,
    group: int,
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    grey[..., 1] = round(float(group_levels[group]) * 255)
    aged = run(pipeline, write(grey), *GROUPS)
    assert [face.source for face in aged.faces] == [GROUPS[group]]
    greens = [read(picture.data)[50, 50, 1] for picture in aged.pictures]
    assert greens == pytest.approx(group_levels * 255, abs=0.51)


def test_each_face_has_its_own_source_latent_and_picture(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, write: Write, read: Read
) -> None:
    photo = np.full((100, 200, 3), 100, np.uint8)
    photo[:, :100, :2] = (30, round(float(group_levels[1]) * 255))
    photo[:, 100:, :2] = (220, round(float(group_levels[4]) * 255))
    pipeline, _ = flat_pipeline(face_at(3, 2, SIDE), face_at(102, 2, SIDE))
    aged = run(pipeline, write(photo), GROUPS[5])
    assert [face.source for face in aged.faces] == [GROUPS[1], GROUPS[4]]
    assert [float(face.latent[0]) * 255 for face in aged.faces] == pytest.approx([30, 220], abs=0.5)
    assert [face.crop[32, 32, 0] for face in aged.faces] == [30, 220]
    pixels = read(aged.pictures[0].data)
    assert pixels[50, [51, 150], 1] == pytest.approx(group_levels[[5, 5]] * 255, abs=0.51)
    assert pixels[50, [51, 150], 0].tolist() == [30, 220]


def test_a_given_source_counts_for_every_face(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 80), face_at(90, 0, 60))
    aged = run(pipeline, write(grey), GROUPS[0], source=Age(years=33))
    assert [face.source for face in aged.faces] == [Age(years=33), Age(years=33)]


def test_overlapping_faces_both_change(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, grey: Pixels, write: Write, read: Read
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE), face_at(0, 0, SIDE))
    aged = run(pipeline, write(grey), GROUPS[3], source=GROUPS[1])
    assert (
        read(aged.pictures[0].data)[50, 50, 1].astype(int) - GREY
        == round(float(group_levels[3] - group_levels[1]) * 255) * 2
    )


@pytest.mark.parametrize(("left", "top"), [(-40, 20), (150, 120), (-30, -30)])
def test_a_face_that_leaves_the_frame(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write, read: Read, left: int, top: int
) -> None:
    pipeline, _ = flat_pipeline(face_at(left, top, SIDE))
    aged = run(pipeline, write(grey), GROUPS[5], source=GROUPS[0])
    pixels = read(aged.pictures[0].data)
    assert pixels.shape == grey.shape
    assert (pixels != grey).any()


def test_reconstruct_reads_the_faces_and_leaves_the_photo(
    flat_pipeline: BuildPipeline, face_at: FaceAt, group_levels: Floats, grey: Pixels, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    clock = Clock()
    photo, (face,) = pipeline.reconstruct(write(grey), GROUPS[2], pipeline.method(""), clock)
    assert np.array_equal(photo.pixels, grey)
    assert (face.crop == GREY).all()
    assert np.allclose(face.drawn, (GREY / 255, group_levels[2], 0.5), atol=1e-6)
    assert list(clock.seconds) == STAGES[:5]


# --- what stays ---


@pytest.mark.parametrize("age", [GROUPS[2], Age(years=47.5), Age(years=0)])
def test_a_target_equal_to_the_source_gives_the_photo_back_bit_for_bit(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, read: Read, age: Age
) -> None:
    aged = run(embedded, portrait_file, GROUPS[5], age, GROUPS[0], source=age)
    assert len(aged.faces) == 1
    assert np.array_equal(read(aged.pictures[1].data), portrait)


def test_far_from_the_face_the_embedded_networks_change_nothing(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, read: Read
) -> None:
    aged = run(embedded, portrait_file, *GROUPS)
    box = aged.faces[0].found.box
    left, right = int(box[0] - box[2] * 0.5), int(box[0] + box[2] * 1.5)
    for picture in aged.pictures:
        pixels = read(picture.data)
        assert pixels.shape == portrait.shape
        assert np.array_equal(pixels[:, :left], portrait[:, :left])
        assert np.array_equal(pixels[:, right:], portrait[:, right:])


@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("asked", [None, *FORMATS])
def test_formats_and_sizes(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write, read: Read, stored: Format, asked: Format
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    (picture,) = run(pipeline, write(grey, stored), GROUPS[0], output=Output(asked)).pictures
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
    (picture,) = run(pipeline, write(grey, "JPEG", exif=exif), GROUPS[0]).pictures
    assert (picture.width, picture.height) == (160, 200)
    assert read(picture.data).shape == (200, 160, 3)
    assert b"Exif" not in picture.data


def test_quality_is_passed_on(flat_pipeline: BuildPipeline, face_at: FaceAt, noise: Pixels, write: Write) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 40))
    sizes = [
        len(run(pipeline, write(noise), GROUPS[0], output=Output("JPEG", quality)).pictures[0].data)
        for quality in (1, 50, 100)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_requests_in_parallel_do_not_mix(
    embedded: Pipeline, portrait: Pixels, portrait_file: bytes, write: Write
) -> None:
    files = [portrait_file, write(np.ascontiguousarray(portrait[:, ::-1]))]
    expected = [run(embedded, data, GROUPS[0], GROUPS[5]).pictures for data in files]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda data: run(embedded, data, GROUPS[0], GROUPS[5]).pictures, files * 3))
    assert found == expected * 3


def test_time_is_told_by_stage(flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, SIDE))
    clock = Clock()
    pipeline.age(write(grey), GROUPS, None, pipeline.method(""), Output(), clock)
    assert list(clock.seconds) == STAGES
    assert min(clock.seconds.values()) > 0


def test_a_clock_adds_up_and_counts_what_fails() -> None:
    clock = Clock({"write": 1000.0})
    with pytest.raises(KeyError), clock.stage("write"):
        raise KeyError
    assert 1000 < clock.seconds["write"] < 1100


# --- what cannot be done ---


def test_methods_by_name(flat_pipeline: BuildPipeline) -> None:
    pipeline, _ = flat_pipeline()
    assert pipeline.method("") is pipeline.method("age_cgan") is pipeline.methods[0]
    with pytest.raises(UnknownMethodError) as caught:
        pipeline.method("age_gan")
    assert str(caught.value) == "the bundle has no method 'age_gan'; it has age_cgan"
    assert (caught.value.reason, caught.value.field) == ("METHOD_UNKNOWN", "method")


@pytest.mark.parametrize(
    ("ages", "reason", "field"),
    [
        ([], "TARGET_MISSING", "targets"),
        ([GROUPS[0]] * 33, "TARGET_TOO_MANY", "targets"),
        ([GROUPS[0], Age(group="61+")], "AGE_GROUP_UNKNOWN", "targets[1]"),
        ([Age(group="")], "AGE_GROUP_UNKNOWN", "targets[0]"),
        ([GROUPS[0], GROUPS[1], Age(years=-3)], "AGE_OUT_OF_RANGE", "targets[2]"),
        ([Age(years=200)], "AGE_OUT_OF_RANGE", "targets[0]"),
        ([Age(years=float("nan"))], "AGE_OUT_OF_RANGE", "targets[0]"),
    ],
)
def test_bad_targets_are_refused_before_the_photo_is_read(
    flat_pipeline: BuildPipeline, face_at: FaceAt, ages: list[Age], reason: str, field: str
) -> None:
    pipeline, detector = flat_pipeline(face_at(0, 0, SIDE))
    error = refusal(pipeline, b"not even a photo", *ages)
    assert (error.reason, error.field) == (reason, field)
    assert detector.calls == 0


@pytest.mark.parametrize(
    ("source", "reason"), [(Age(group="old"), "AGE_GROUP_UNKNOWN"), (Age(years=121), "AGE_OUT_OF_RANGE")]
)
def test_a_bad_source(flat_pipeline: BuildPipeline, source: Age, reason: str) -> None:
    error = refusal(flat_pipeline()[0], b"not even a photo", GROUPS[0], source=source)
    assert (error.reason, error.field) == (reason, "source")


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
    assert len(run(pipeline, write(grey), *GROUPS[:3]).pictures) == 3
    assert detector.calls == 1, "the face is found once for all targets"
    error = refusal(pipeline, write(grey), *GROUPS[:4])
    assert str(error) == "4 target ages are given; at most 3 are allowed"


def test_the_largest_faces_are_kept_where_there_are_too_many(
    flat_pipeline: BuildPipeline, face_at: FaceAt, grey: Pixels, write: Write
) -> None:
    faces = [face_at(10 * index, 0, 60 - index) for index in range(5)]
    pipeline, _ = flat_pipeline(*faces, limits=Limits(max_faces=2))
    assert [face.found for face in run(pipeline, write(grey), GROUPS[0]).faces] == faces[:2]


@pytest.mark.parametrize("quality", [-1, 0, 101])
def test_qualities_that_there_are_not(grey: Pixels, quality: int) -> None:
    with pytest.raises(RequestError) as caught:
        store(grey, Photo(grey, "JPEG"), replace(Output(), quality=quality))
    assert (caught.value.reason, caught.value.field) == ("SETTING_OUT_OF_RANGE", "output.quality")
