"""DetectFaces and CompareFaces over a real socket."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_server.faces.detector import NetworkDetector
from dorian_server.pipeline.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]

SECONDS = 120
STAGES = ["decode", "detect", "align", "read"]


@pytest.fixture(scope="module")
def detect(stub: FaceAgingStub) -> Callable[[bytes], pb.DetectFacesResponse]:
    return lambda data: stub.DetectFaces(pb.DetectFacesRequest(image=pb.Image(data=data)), timeout=SECONDS)


@pytest.fixture(scope="module")
def compare(stub: FaceAgingStub) -> Callable[..., pb.CompareFacesResponse]:
    """Calls CompareFaces with two photos' files."""

    def call(first: bytes, second: bytes, **fields: object) -> pb.CompareFacesResponse:
        request = pb.CompareFacesRequest(first=pb.Image(data=first), second=pb.Image(data=second), **fields)
        return stub.CompareFaces(request, timeout=SECONDS)

    return call


def expect_read_only(provenance: pb.Provenance, bundle: Bundle) -> None:
    """It names the bundle, and no method: none took part."""
    manifest = bundle.manifest
    assert (provenance.method, provenance.bundle) == ("", manifest.name)
    assert (provenance.bundle_version, provenance.bundle_sha256) == (manifest.version, bundle.sha256)


# --- DetectFaces ---


def test_all_faces_largest_first_as_the_detector_finds_them(
    detect: Callable[[bytes], pb.DetectFacesResponse], embedded: Pipeline, collage: Pixels, write: Write
) -> None:
    response = detect(write(collage))
    expected = embedded.face_reader.detector.detect(collage)
    assert (response.width, response.height) == (400, 256)
    assert [face.index for face in response.faces] == [0, 1]
    for face, result in zip(response.faces, expected, strict=True):
        assert (face.box.x, face.box.y, face.box.width, face.box.height) == pytest.approx(result.box)
        assert face.score == pytest.approx(result.score)
        assert np.allclose([(point.x, point.y) for point in face.landmarks], result.landmarks, atol=1e-3)
        assert 0 <= face.estimated_age <= 120
    large, small = response.faces
    assert large.box.x > 144 > small.box.x + small.box.width
    assert large.box.height == pytest.approx(2 * small.box.height, rel=0.25)


def test_a_face_looks_as_old_as_the_report_of_ageing_says(
    detect: Callable[[bytes], pb.DetectFacesResponse], stub: FaceAgingStub, collage: Pixels, write: Write
) -> None:
    data = write(collage)
    request = pb.AgeTransformRequest(image=pb.Image(data=data), targets=[pb.Age(group="60+")])
    reports = stub.AgeTransform(request, timeout=SECONDS).results[0].faces
    for face, report in zip(detect(data).faces, reports, strict=True):
        assert report.face.box == face.box
        assert report.face.estimated_age == pytest.approx(face.estimated_age, abs=1e-3)
        assert report.source.years == pytest.approx(face.estimated_age, abs=1e-3)


@pytest.mark.parametrize("size", [(48, 32), (300, 200)])
def test_a_photo_without_a_face_gives_none_and_its_size(
    detect: Callable[[bytes], pb.DetectFacesResponse], default_bundle: Bundle, write: Write, size: tuple[int, int]
) -> None:
    width, height = size
    response = detect(write(np.full((height, width, 3), 127, np.uint8)))
    assert (list(response.faces), response.width, response.height) == ([], width, height)
    expect_read_only(response.provenance, default_bundle)


def test_provenance_and_times_of_finding(
    detect: Callable[[bytes], pb.DetectFacesResponse], default_bundle: Bundle, portrait_file: bytes
) -> None:
    response = detect(portrait_file)
    expect_read_only(response.provenance, default_bundle)
    assert [time.stage for time in response.times] == STAGES
    assert all(0 < time.seconds < SECONDS for time in response.times)


def test_a_face_that_cannot_be_aligned_has_no_age(
    detect: Callable[[bytes], pb.DetectFacesResponse],
    face_in_a_point: DetectedFace,
    portrait_file: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NetworkDetector, "detect", lambda *_: [face_in_a_point])
    (face,) = detect(portrait_file).faces
    assert not face.HasField("estimated_age")
    assert face.box == pb.Box(x=5, y=5, width=50, height=50)


# --- CompareFaces ---


def test_a_photo_shows_the_person_that_it_shows(
    compare: Callable[..., pb.CompareFacesResponse], default_bundle: Bundle, portrait_file: bytes
) -> None:
    response = compare(portrait_file, portrait_file)
    assert response.similarity == pytest.approx(1, abs=1e-5)
    assert response.distance == pytest.approx(0, abs=1e-5)
    assert response.similarity <= 1
    assert response.distance >= 0
    assert response.same_person
    assert response.first == response.second
    assert response.first_embedding == response.second_embedding
    expect_read_only(response.provenance, default_bundle)
    assert [time.stage for time in response.times] == STAGES


def test_similarity_and_distance_are_those_of_the_embeddings(
    compare: Callable[..., pb.CompareFacesResponse],
    default_bundle: Bundle,
    portrait_file: bytes,
    collage: Pixels,
    write: Write,
) -> None:
    response = compare(portrait_file, write(collage), second_face=pb.FaceSelector(index=1))
    first, second = np.array(response.first_embedding), np.array(response.second_embedding)
    assert len(first) == len(second) == default_bundle.manifest.readers.facenet.embedding_size
    assert [np.linalg.norm(first), np.linalg.norm(second)] == pytest.approx([1, 1], abs=1e-3)
    assert response.similarity == pytest.approx(first @ second, abs=1e-4)
    assert response.similarity < 1
    assert response.distance == pytest.approx(2 - 2 * response.similarity, abs=1e-5)
    assert (response.first.index, response.second.index) == (0, 1)


def test_faces_are_chosen_in_each_photo(
    compare: Callable[..., pb.CompareFacesResponse],
    detect: Callable[[bytes], pb.DetectFacesResponse],
    collage: Pixels,
    write: Write,
) -> None:
    data = write(collage)
    large, small = detect(data).faces
    response = compare(data, data, second_face=pb.FaceSelector(box=small.box))
    assert (response.first, response.second) == (large, small)
    swapped = compare(data, data, first_face=pb.FaceSelector(index=1), second_face=pb.FaceSelector(largest=True))
    assert (swapped.first, swapped.second) == (small, large)
    assert swapped.similarity == pytest.approx(response.similarity, abs=1e-5)
    assert swapped.first_embedding == response.second_embedding


def test_each_rate_has_the_manifests_threshold(
    compare: Callable[..., pb.CompareFacesResponse],
    default_bundle: Bundle,
    portrait_file: bytes,
    collage: Pixels,
    write: Write,
) -> None:
    thresholds = default_bundle.manifest.readers.facenet.thresholds
    data = write(collage)
    assert len(thresholds) >= 2
    for item in thresholds:
        response = compare(portrait_file, data, false_accept_rate=item.false_accept_rate)
        assert response.false_accept_rate == item.false_accept_rate
        assert response.threshold == pytest.approx(item.similarity, abs=1e-6)
        assert response.same_person == (response.similarity >= response.threshold)
    usual = compare(portrait_file, data)
    assert usual.false_accept_rate == 0.001


@pytest.mark.parametrize("index", [0, 1, 2])
def test_who_is_the_same_person_depends_on_the_threshold(
    compare: Callable[..., pb.CompareFacesResponse],
    embedded: Pipeline,
    portrait_file: bytes,
    monkeypatch: pytest.MonkeyPatch,
    index: int,
) -> None:
    """Any face reaches -1, and the same photo what rounding leaves of 1, but nothing 1.5."""
    level = (-1.0, 0.999, 1.5)[index]
    monkeypatch.setattr("dorian_server.faces.reader.FaceEmbedder.threshold", lambda *_: (0.01, level))
    assert compare(portrait_file, portrait_file).same_person == (index < 2)
