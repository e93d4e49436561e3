"""Faces: how requests select them, what is returned of each, and the calls that detect and compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import Box, Client, Face, FaceError, InvalidRequest, Landmarks, Provenance

Pixels = npt.NDArray[np.uint8]
FIRST, SECOND = Box(8, 4, 32, 40), Box(50, 6, 12, 14)
NOT_FOUND = FaceError("FACE_NOT_FOUND", "the photo has no such face")
UNUSABLE = FaceError("FACE_UNUSABLE", "the face is seen from the side")
SELECTORS = [
    ("largest", pb.FaceSelector(largest=True)),
    (0, pb.FaceSelector(index=0)),
    (np.int64(1), pb.FaceSelector(index=1)),
    (SECOND, pb.FaceSelector(box=pb.Box(x=50, y=6, width=12, height=14))),
]


def test_detect(client: Client, pixels: Pixels) -> None:
    result = client.detect(pixels)
    points = Landmarks((18.0, 20.0), (30.0, 20.5), (24.0, 28.0), (19.0, 34.0), (29.0, 35.0))
    assert result.faces[0] == Face(index=0, box=FIRST, score=0.75, landmarks=points, estimated_age=34.25)
    assert [(face.index, face.box) for face in result.faces] == [(0, FIRST), (1, SECOND)]
    assert (result.width, result.height) == (64, 48)
    assert result.provenance == Provenance("", "fake-bundle", "1.2.3", "ab" * 32)
    assert (result.times, result.seconds) == ({"detect": 0.125}, 0.125)


def test_incomplete_faces(client: Client, fake: Any, pixels: Pixels) -> None:
    incomplete = pb.Face(box=pb.Box(width=8, height=8), score=0.5, landmarks=[pb.Point(x=1, y=1)] * 4)
    fake.on_response = lambda response: pb.DetectFacesResponse(faces=[incomplete])
    (face,) = client.detect(pixels).faces
    assert (face.estimated_age, face.landmarks) == (None, None)
    fake.on_response = None
    fake.faces = []
    assert client.detect(pixels).faces == ()


def test_compare(client: Client, fake: Any, pixels: Pixels) -> None:
    result = client.compare(pixels, 255 - pixels)
    assert (result.first.box, result.second.box) == (FIRST, FIRST)
    assert (result.first_embedding, result.second_embedding) == ((1.0, 0.0), (0.75, 0.5))
    assert (result.similarity, result.distance, result.same_person) == (0.75, 0.5, True)
    assert (result.threshold, result.false_accept_rate) == (0.4375, 0.001)
    assert (result.provenance.method, result.seconds) == ("", 0.5)
    assert "embedding" not in repr(result)
    (request,) = fake.requests
    assert request.first.data != request.second.data
    fake.similarity = 0.25
    assert not client.compare(pixels, pixels).same_person


@pytest.mark.parametrize(("face", "selector"), SELECTORS)
def test_selecting_a_face(face: Any, selector: pb.FaceSelector, client: Client, fake: Any, pixels: Pixels) -> None:
    client.age(pixels, 60, faces=face)
    client.age(pixels, face_ages={face: "60+"})
    client.sweep(pixels, faces=face, face_ages=[(face, 45)])
    client.reconstruct(pixels, faces=face)
    client.compare(pixels, pixels, first_face=face, false_accept_rate=0.01)
    client.compare(pixels, pixels, second_face=face)
    age, own_age, _, sweep, reconstruction, first, second = fake.requests
    assert list(age.faces) == list(reconstruction.faces) == list(sweep.faces) == [selector]
    assert (list(own_age.targets), list(own_age.faces)) == ([], [])
    assert list(own_age.face_targets) == [pb.FaceTarget(face=selector, target=pb.Age(group="60+"))]
    assert list(sweep.face_targets) == [pb.FaceTarget(face=selector, target=pb.Age(years=45))]
    assert (first.first_face, first.HasField("second_face"), first.false_accept_rate) == (selector, False, 0.01)
    assert (second.HasField("first_face"), second.second_face) == (False, selector)


@pytest.mark.parametrize("wrap", [list, iter, tuple])
def test_selecting_several_faces(wrap: Any, client: Client, fake: Any, pixels: Pixels) -> None:
    result = client.age(pixels, [20, 30], faces=wrap(["largest", 1]), face_ages=wrap([(1, 8)]))
    assert [len(fake.requests[0].faces), len(fake.requests[0].face_targets)] == [2, 1]
    assert [[face.target for face in photo.faces] for photo in result.photos] == [[20, 8], [30, 8]]
    assert [photo.target for photo in result.photos] == [20, 30]


def test_ages_of_their_own_alone_give_one_photo(client: Client, pixels: Pixels) -> None:
    for to in (None, []):
        result = client.age(pixels, to, face_ages={SECOND: "60+"})
        (photo,) = result.photos
        (report,) = photo.faces
        assert (report.box, report.score, report.target) == (SECOND, 0.5, "60+")
        assert (photo.target, result.faces_found) == (None, 2)


def test_no_age_at_all_is_left_to_the_server(client: Client, pixels: Pixels) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.age(pixels)
    assert caught.value.reason == "TARGET_MISSING"


def test_faces_that_fail_beside_others(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.unusable_faces = {0}
    first, second, missing = client.age(pixels, 60, faces=[0, 1, 7]).photos[0].faces
    assert (first.box, first.error, first.source) == (FIRST, UNUSABLE, None)
    assert (first.estimated_age_after, first.identity_similarity) == (None, None)
    assert (second.error, second.target) == (None, 60)
    assert (missing.face, missing.box, missing.score, missing.error) == (None, None, None, NOT_FOUND)


def test_reconstructions_that_fail_beside_others(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.unusable_faces = {0}
    first, second, missing = client.reconstruct(pixels, faces=[0, 1, 7]).faces
    assert (first.box, first.score, first.error) == (FIRST, 0.75, UNUSABLE)
    assert (first.crop, first.picture, first.latent, first.source) == (None, None, (), None)
    assert (first.pixel_error, first.identity_similarity) == (None, None)
    assert (second.box, second.error, second.pixel_error) == (SECOND, None, 0.125)
    assert (missing.face, missing.error) == (None, NOT_FOUND)


@pytest.mark.parametrize(
    ("faces", "kind", "message"),
    [
        ("smallest", ValueError, "a face cannot be 'smallest'; give 'largest', an index or a Box"),
        (2**31, ValueError, r"index cannot be 2147483648; detect\(\) gives"),
        ([], ValueError, "no face is selected; give None for all faces"),
        (True, TypeError, "a face cannot be bool; give 'largest', an index"),
        (0.5, TypeError, "a face cannot be float"),
        ([[0]], TypeError, "a face cannot be list"),
        (b"largest", TypeError, "a face cannot be bytes"),
    ],
)
def test_invalid_faces(
    faces: Any, kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        client.age(pixels, 60, faces=faces)
    with pytest.raises(kind, match=message):
        client.reconstruct(pixels, faces=faces)
    if not isinstance(faces, list):
        with pytest.raises(kind, match=message):
            client.compare(pixels, pixels, second_face=faces)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("face_ages", "kind", "message"),
    [
        ({"smallest": 30}, ValueError, "a face cannot be 'smallest'"),
        ({0: None}, TypeError, "an age cannot be NoneType"),
        ([0, 1], TypeError, r"cannot be 0; give a mapping from faces to ages, or \(face, age\) pairs"),
        ([(0, 30, 40)], TypeError, "give a mapping"),
    ],
)
def test_invalid_face_ages(
    face_ages: Any, kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        client.age(pixels, face_ages=face_ages)
    assert fake.requests == []


@pytest.mark.parametrize(("rate", "kind"), [(0, ValueError), ("0.1", TypeError), (False, TypeError)])
def test_invalid_false_accept_rates(
    rate: Any, kind: type[Exception], client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match="a false-accept rate cannot be"):
        client.compare(pixels, pixels, false_accept_rate=rate)
    assert fake.requests == []
