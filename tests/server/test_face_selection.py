"""Which of a photo's faces a request means, what becomes of each of them, and of those that are not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age, AgeRequest, Box, FaceSelector, FaceTarget, ReconstructRequest
from dorian_server.domain.results import AgeResult, FailedFace, ReconstructedFace
from dorian_server.pipeline.face_selection import MIN_OVERLAP, SelectedFace, find_face, select_faces
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.settings import Limits

Pixels = NDArray[np.uint8]
FaceAt = Callable[[float, float, float], DetectedFace]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

OLD, YOUNG, OWN = Age(group="60+"), Age(group="0-18"), Age(years=33.0)
LARGEST = FaceSelector()
# Left edges of three faces side by side, largest first, and their sides.
PLACES = ((200, 90), (0, 80), (100, 64))


def face(index: int) -> FaceSelector:
    return FaceSelector(index=index)


def reconstruct(pipeline: Pipeline, request: ReconstructRequest) -> list[ReconstructedFace | FailedFace]:
    """By the first method, for a caller who waits."""
    return pipeline.reconstruction.reconstruct(request, pipeline.encoding_method(""), Clock(), threading.Event())


def at_box(*box: float) -> FaceSelector:
    x, y, width, height = box
    return FaceSelector(box=(x, y, width, height))


@pytest.fixture
def three(face_at: FaceAt) -> list[DetectedFace]:
    return [face_at(left, 5, side) for left, side in PLACES]


@pytest.fixture
def row() -> Pixels:
    """A photo (100, 300, 3) with room for three faces, of one colour."""
    return np.full((100, 300, 3), (90, 100, 60), np.uint8)


@pytest.fixture
def pipeline(flat_pipeline: BuildPipeline, three: list[DetectedFace]) -> Pipeline:
    """It finds three faces."""
    return flat_pipeline(*three)[0]


@pytest.fixture
def age(pipeline: Pipeline, row: Pixels, write: Write) -> Callable[..., AgeResult]:
    """The row with its faces at the ages asked for."""

    def run(*targets: Age, **fields: Any) -> AgeResult:
        return pipeline.age(AgeRequest(write(row), targets, **fields), pipeline.method(""), Clock())

    return run


@pytest.fixture
def refusal(age: Callable[..., AgeResult]) -> Callable[..., RequestError]:
    def run(*targets: Age, **fields: Any) -> RequestError:
        with pytest.raises(RequestError) as caught:
            age(*targets, **fields)
        return caught.value

    return run


@pytest.fixture
def changed(row: Pixels, read: Read) -> Callable[[bytes], list[int]]:
    """By how many levels the middle of each of the three faces of the row has changed."""

    def measure(data: bytes) -> list[int]:
        pixels = read(data).astype(int)
        middles = [pixels[5 + side // 2, left + side // 2] for left, side in PLACES]
        return [int((middle - row[0, 0]).mean()) for middle in middles]

    return measure


# --- names ---


@pytest.mark.parametrize(
    ("selector", "index"),
    [(LARGEST, 0), (face(0), 0), (face(2), 2), (face(3), None), (face(-1), None), (face(2**31 - 1), None)],
)
def test_a_face_by_its_place(three: list[DetectedFace], selector: FaceSelector, index: int | None) -> None:
    assert find_face(selector, three) == index


@pytest.mark.parametrize(
    ("box", "index"),
    [
        ((0, 5, 80, 80), 1),
        ((100, 5, 64, 64), 2),
        ((195, 0, 100, 100), 0),
        ((0, 5, 80, 24.1), 1),  # just over three tenths of the union
        ((0, 5, 80, 23.9), None),
        ((0, 0, 300, 100), None),  # all of the photo is no face
        ((160, 80, 5, 5), None),
        ((-500, -500, 10, 10), None),
        ((10, 40, 1e-3, 1e-3), None),
        ((1e30, 0, 1e30, 1e30), None),
    ],
)
def test_a_face_by_a_box(three: list[DetectedFace], box: Box, index: int | None) -> None:
    assert find_face(FaceSelector(box=box), three) == index


def test_of_two_faces_under_a_box_the_one_that_it_overlaps_more(face_at: FaceAt) -> None:
    faces = [face_at(0, 0, 100), face_at(20, 0, 90)]
    assert find_face(at_box(22, 0, 88, 90), faces) == 1
    assert find_face(at_box(2, 0, 98, 100), faces) == 0


def test_three_tenths_of_the_union_are_enough(face_at: FaceAt) -> None:
    assert MIN_OVERLAP == 0.3
    assert find_face(at_box(0, 0, 100, 30), [face_at(0, 0, 100)]) == 0


def test_in_a_photo_without_faces_none_is_found() -> None:
    assert [find_face(selector, []) for selector in (LARGEST, face(0), at_box(0, 0, 9, 9))] == [None] * 3


@pytest.mark.parametrize(
    ("selector", "words"),
    [(LARGEST, "the largest"), (face(7), "index 7"), (at_box(1.5, 2, 30, 40), "box 1.5, 2, 30, 40")],
)
def test_a_selector_in_words(selector: FaceSelector, words: str) -> None:
    assert str(selector).endswith(words)


# --- wishes ---


def wished(
    faces: Sequence[DetectedFace], common: bool = True, selectors: Sequence[FaceSelector] = (), *own: FaceTarget
) -> list[SelectedFace]:
    actual, _ = select_faces(faces, common, OWN, selectors, own, max_faces=2)
    return actual


def test_without_names_the_largest_faces_change_up_to_a_limit(three: list[DetectedFace]) -> None:
    assert wished(three) == [SelectedFace(0, None, OWN), SelectedFace(1, None, OWN)]


def test_named_faces_change_each_once_largest_first(three: list[DetectedFace]) -> None:
    names = [face(2), face(0), LARGEST, at_box(200, 5, 90, 90)]
    assert wished(three, True, names) == [SelectedFace(0, None, OWN), SelectedFace(2, None, OWN)]


def test_a_face_with_an_age_of_its_own_has_that_and_its_own_source(three: list[DetectedFace]) -> None:
    own = [FaceTarget(face(1), OLD, YOUNG), FaceTarget(face(2), YOUNG)]
    expected = [SelectedFace(1, OLD, YOUNG), SelectedFace(2, YOUNG, OWN)]
    assert wished(three, False, (), *own) == expected
    assert wished(three, True, (), *own) == [SelectedFace(0, None, OWN), *expected]
    assert wished(three, True, [face(1)], *own) == expected


def test_names_of_no_face_are_told_with_the_field_they_came_in(three: list[DetectedFace]) -> None:
    own = [FaceTarget(face(0), OLD), FaceTarget(at_box(0, 0, 1, 1), YOUNG)]
    actual, missing = select_faces(three, True, None, [face(9), face(1)], own, max_faces=32)
    assert [wish.index for wish in actual] == [0, 1]
    assert [(item.field, item.target) for item in missing] == [("faces[0]", None), ("face_targets[1].face", YOUNG)]
    error = missing[0].error()
    assert (error.reason, error.field) == ("FACE_NOT_FOUND", "faces[0]")
    assert str(error) == "no face is at index 9; 3 faces were found"


# --- in pictures ---


def test_all_faces_change_where_none_is_named(
    age: Callable[..., AgeResult], changed: Callable[[bytes], list[int]]
) -> None:
    aged = age(OLD, source=YOUNG)
    (picture,) = aged.images
    assert min(changed(picture.image.data)) > 20
    assert [report.face.index for report in picture.faces] == [0, 1, 2]
    assert aged.face_count == 3


@pytest.mark.parametrize(
    ("names", "indices"),
    [([LARGEST], [0]), ([face(1)], [1]), ([face(2), face(0)], [0, 2]), ([at_box(98, 0, 70, 75)], [2])],
)
def test_only_named_faces_change(
    age: Callable[..., AgeResult],
    changed: Callable[[bytes], list[int]],
    names: list[FaceSelector],
    indices: list[int],
) -> None:
    aged = age(OLD, source=YOUNG, faces=names)
    (picture,) = aged.images
    assert [report.face.index for report in picture.faces] == indices
    assert [bool(change) for change in changed(picture.image.data)] == [index in indices for index in range(3)]
    assert aged.face_count == 3


def test_a_face_has_its_own_age_in_every_picture(
    age: Callable[..., AgeResult], changed: Callable[[bytes], list[int]]
) -> None:
    own = [FaceTarget(face(1), OLD, source=OLD), FaceTarget(face(2), OLD)]
    pictures = age(OLD, YOUNG, source=YOUNG, face_targets=own).images
    assert [[report.target for report in picture.faces] for picture in pictures] == [[OLD, OLD, OLD], [YOUNG, OLD, OLD]]
    sources = [(report.source, report.source_given) for report in pictures[0].faces]
    assert sources == [(YOUNG, True), (OLD, True), (YOUNG, True)]
    older, same = (changed(picture.image.data) for picture in pictures)
    assert older[0] == older[2] > 20
    assert older[1] == same[1] == same[0] == 0
    assert same[2] == older[2]


def test_faces_with_ages_of_their_own_alone_give_one_picture(
    age: Callable[..., AgeResult], changed: Callable[[bytes], list[int]]
) -> None:
    own = [FaceTarget(face(2), OLD, source=YOUNG), FaceTarget(LARGEST, YOUNG, source=OLD)]
    (picture,) = age(face_targets=own).images
    assert [(report.face.index, report.target) for report in picture.faces] == [(0, YOUNG), (2, OLD)]
    younger, untouched, older = changed(picture.image.data)
    assert younger < -20
    assert untouched == 0
    assert older > 20


def test_named_faces_and_faces_with_ages_of_their_own_together(
    age: Callable[..., AgeResult], changed: Callable[[bytes], list[int]]
) -> None:
    (picture,) = age(OLD, source=YOUNG, faces=[face(0)], face_targets=[FaceTarget(face(1), YOUNG, OLD)]).images
    older, younger, untouched = changed(picture.image.data)
    assert older > 20 > -20 > younger
    assert untouched == 0


def test_the_largest_faces_change_where_there_are_too_many(
    flat_pipeline: BuildPipeline, three: list[DetectedFace], row: Pixels, write: Write
) -> None:
    pipeline, _ = flat_pipeline(*three, limits=Limits(max_faces=2))
    aged = pipeline.age(AgeRequest(write(row), [OLD]), pipeline.method(""), Clock())
    assert [report.face.index for report in aged.images[0].faces] == [0, 1]
    assert aged.face_count == 3


# --- what cannot be done ---


def test_a_name_of_no_face_is_reported_after_the_faces_that_changed(
    age: Callable[..., AgeResult], changed: Callable[[bytes], list[int]]
) -> None:
    own = [FaceTarget(at_box(0, 90, 5, 5), YOUNG)]
    for picture in age(OLD, OLD, source=YOUNG, faces=[face(5), face(2), face(1)], face_targets=own).images:
        *reports, by_index, by_box = picture.faces
        assert [report.face.index for report in reports] == [1, 2]
        assert [report.error for report in reports] == [None, None]
        for report, field, target in [(by_index, "faces[0]", None), (by_box, "face_targets[0].face", YOUNG)]:
            assert report.face is report.source is report.after is report.similarity is None
            assert (report.error.reason, report.error.field) == ("FACE_NOT_FOUND", field)
            assert report.target == target
        assert [bool(change) for change in changed(picture.image.data)] == [False, True, True]


def test_where_no_named_face_is_there_the_call_fails(refusal: Callable[..., RequestError]) -> None:
    error = refusal(OLD, faces=[face(3), at_box(0, 90, 5, 5)])
    assert (error.reason, error.field) == ("FACE_NOT_FOUND", "faces[0]")
    error = refusal(face_targets=[FaceTarget(at_box(0.5, 90, 5, 6), OLD)])
    assert (error.reason, error.field) == ("FACE_NOT_FOUND", "face_targets[0].face")
    assert str(error) == "no face is at the box 0.5, 90, 5, 6; 3 faces were found"


def test_a_face_that_cannot_be_aligned_is_left_while_others_change(
    flat_pipeline: BuildPipeline,
    three: list[DetectedFace],
    face_in_a_point: DetectedFace,
    row: Pixels,
    write: Write,
    changed: Callable[[bytes], list[int]],
) -> None:
    pipeline, _ = flat_pipeline(three[0], face_in_a_point, three[2])
    request = AgeRequest(write(row), [OLD], source=YOUNG, faces=[face(0), face(1), face(2), face(8)])
    (picture,) = pipeline.age(request, pipeline.method(""), Clock()).images
    first, broken, last, missing = picture.faces
    assert [report.face.index for report in (first, broken, last)] == [0, 1, 2]
    assert first.error is last.error is None
    assert broken.error.reason == "FACE_UNUSABLE"
    assert str(broken.error).startswith("face 1 cannot be aligned")
    assert broken.face.reading is broken.after is broken.similarity is None
    assert missing.error.reason == "FACE_NOT_FOUND"
    assert [bool(change) for change in changed(picture.image.data)] == [True, False, True]


def test_where_no_face_can_be_aligned_the_call_fails(
    flat_pipeline: BuildPipeline, face_in_a_point: DetectedFace, row: Pixels, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_in_a_point, face_in_a_point)
    for faces in ([], [face(1)], [face(1), face(9)]):
        with pytest.raises(RequestError) as caught:
            pipeline.age(AgeRequest(write(row), [OLD], faces=faces), pipeline.method(""), Clock())
        assert (caught.value.reason, caught.value.field) == ("FACE_UNUSABLE", "image.data")
        with pytest.raises(RequestError, match="cannot be aligned"):
            reconstruct(pipeline, ReconstructRequest(write(row), faces=faces))


def test_named_faces_need_an_age(refusal: Callable[..., RequestError]) -> None:
    for own in ([], [FaceTarget(face(1), OLD)]):
        error = refusal(faces=[face(0)], face_targets=own)
        assert (error.reason, error.field) == ("TARGET_MISSING", "targets")


@pytest.mark.parametrize(
    ("names", "own", "field"), [(33, 0, "faces"), (0, 33, "face_targets"), (20, 13, "faces"), (1, 32, "faces")]
)
def test_more_names_than_faces_that_may_change(
    refusal: Callable[..., RequestError], names: int, own: int, field: str
) -> None:
    error = refusal(OLD, faces=[face(0)] * names, face_targets=[FaceTarget(face(0), OLD)] * own)
    assert (error.reason, error.field) == ("FACE_TOO_MANY", field)
    assert str(error) == "33 faces are named; at most 32 are allowed"


def test_as_many_names_as_are_allowed(age: Callable[..., AgeResult]) -> None:
    assert age(OLD, faces=[face(0)] * 31, face_targets=[FaceTarget(face(1), OLD)]).images


@pytest.mark.parametrize(
    ("own", "reason", "field"),
    [
        (FaceTarget(face(0), Age(group="61+")), "AGE_GROUP_UNKNOWN", "face_targets[1].target"),
        (FaceTarget(face(0), Age(years=121)), "AGE_OUT_OF_RANGE", "face_targets[1].target"),
        (FaceTarget(face(0), OLD, Age(years=-1)), "AGE_OUT_OF_RANGE", "face_targets[1].source"),
    ],
)
def test_ages_of_single_faces_are_checked_too(
    refusal: Callable[..., RequestError], own: FaceTarget, reason: str, field: str
) -> None:
    error = refusal(face_targets=[FaceTarget(face(0), OLD), own])
    assert (error.reason, error.field) == (reason, field)


# --- reconstructions ---


def test_named_faces_are_reconstructed_and_missing_ones_reported(pipeline: Pipeline, row: Pixels, write: Write) -> None:
    request = ReconstructRequest(write(row), faces=[face(2), face(7), LARGEST])
    largest, last, missing = reconstruct(pipeline, request)
    assert [largest.face.index, last.face.index] == [0, 2]
    assert isinstance(missing, FailedFace)
    assert missing.face is None
    assert (missing.error.reason, missing.error.field) == ("FACE_NOT_FOUND", "faces[1]")


def test_what_cannot_be_aligned_keeps_its_place_among_the_reconstructions(
    flat_pipeline: BuildPipeline,
    three: list[DetectedFace],
    face_in_a_point: DetectedFace,
    row: Pixels,
    write: Write,
) -> None:
    pipeline, _ = flat_pipeline(three[0], face_in_a_point, three[2])
    results = reconstruct(pipeline, ReconstructRequest(write(row)))
    assert [result.face.index for result in results] == [0, 1, 2]
    assert [isinstance(result, FailedFace) for result in results] == [False, True, False]


def test_reconstructions_have_a_limit_too(pipeline: Pipeline, row: Pixels, write: Write) -> None:
    request = ReconstructRequest(write(row), faces=[face(0)] * 33)
    with pytest.raises(RequestError, match="33 faces are named; at most 32") as caught:
        reconstruct(pipeline, request)
    assert (caught.value.reason, caught.value.field) == ("FACE_TOO_MANY", "faces")
