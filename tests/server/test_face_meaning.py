"""What is said of faces beside their ages: the meaning of similarities, intervals, poses, what can be seen, and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.pose import Pose
from dorian_client import AgeInterval, Client
from dorian_client import Pose as ClientPose
from dorian_server.domain.results import Face, FaceReading
from dorian_server.faces.detector import NetworkDetector
from dorian_server.faces.reader import FaceReader
from dorian_server.pipeline.face_warnings import warn_of_face
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from tests.server.tiny_searches import SIMILARITY_BY_YEARS, photo_of

Pixels = NDArray[np.uint8]
FACE, OTHER = (220, 160, 60), (120, 160, 60)  # whose embeddings are turned against each other


def face_of(
    interval: tuple[float, float] | None = None, visibility: float | None = None, roll: float | None = None
) -> Face:
    pose = None if roll is None else Pose(0, 0, roll)
    detected = DetectedFace((0, 0, 9, 9), np.zeros((5, 2)), 0.9, visibility=visibility, pose=pose)
    return Face(0, detected, FaceReading(40, np.ones(1, np.float32), interval))


@pytest.mark.parametrize(
    ("face", "codes"),
    [
        (face_of(), []),
        (face_of((30, 49.9), 0.5, 45), []),
        (face_of((30, 50)), ["AGE_UNCERTAIN"]),
        (face_of(visibility=0.49), ["FACE_COVERED"]),
        (face_of(roll=-46), ["FACE_TURNED"]),
        (face_of((3, 90), 0, 180), ["AGE_UNCERTAIN", "FACE_COVERED", "FACE_TURNED"]),
    ],
)
def test_when_faces_are_warned_of(face: Face, codes: list[str]) -> None:
    assert [warning.code for warning in warn_of_face(face, source_given=False)] == codes
    given = [code for code in codes if code != "AGE_UNCERTAIN"]
    assert [warning.code for warning in warn_of_face(face, source_given=True)] == given


def test_a_face_that_was_not_read_is_of_no_age() -> None:
    face = replace(face_of(roll=0), reading=None)
    assert warn_of_face(face, source_given=False) == ()


def test_warnings_say_how_much() -> None:
    uncertain, covered, turned = warn_of_face(face_of((22, 47), 0.3, -92.4), source_given=False)
    assert "from 22 to 47 years" in uncertain.message
    assert "about 30% of the face" in covered.message
    assert "by 92 degrees anticlockwise" in turned.message


@pytest.fixture(scope="module")
def client(searching_bundle: Bundle) -> Iterator[Client]:
    """The SDK at a server of which every face has an interval, a pose and a visibility."""
    detect, read = NetworkDetector.detect, FaceReader.read

    def detect_turned(detector: NetworkDetector, pixels: Pixels) -> list[DetectedFace]:
        return [replace(face, visibility=0.25, pose=Pose(8, -4, 92)) for face in detect(detector, pixels)]

    def read_unsure(reader: FaceReader, pixels: Pixels, faces: list[DetectedFace]) -> list[FaceReading]:
        return [replace(reading, age_interval=(20.0, 45.5)) for reading in read(reader, pixels, faces)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkDetector, "detect", detect_turned)
        patch.setattr(FaceReader, "read", read_unsure)
        server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
        with Client(f"127.0.0.1:{server.port}", timeout=120) as client:
            yield client
        server.stop()


def test_detection_says_it(client: Client) -> None:
    (face,) = client.detect(photo_of(FACE)).faces
    assert face.interval == AgeInterval(20, 45.5, 0.8)
    assert face.pose == ClientPose(8, -4, 92)
    assert face.visibility == 0.25


def test_comparisons_say_how_many_years_apart(client: Client) -> None:
    same = client.compare(photo_of(FACE), photo_of(FACE)).match
    assert same is not None
    assert same.same_person
    assert same.years_apart is not None
    assert (same.years_apart.years, same.years_apart.bound) == (SIMILARITY_BY_YEARS.years[0], "at_most")
    result = client.compare(photo_of(FACE), photo_of(OTHER))
    assert result.match is not None
    assert (result.match.same_person, result.match.threshold) == (result.same_person, result.threshold)
    assert result.match.years_apart is not None
    expected = SIMILARITY_BY_YEARS.years_apart(result.similarity)
    assert expected.bound == "about"  # the curve is asked between its points
    assert result.match.years_apart.years == pytest.approx(expected.years, abs=1e-3)


def test_reports_say_it_and_warn(client: Client) -> None:
    (report,) = client.age(photo_of(FACE), 60, method="searching").photos[0].faces
    assert [warning.code for warning in report.warnings] == ["AGE_UNCERTAIN", "FACE_COVERED", "FACE_TURNED"]
    assert report.interval_after == AgeInterval(20, 45.5, 0.8)
    assert report.identity_similarity is not None
    assert report.match is not None
    assert report.match.same_person == (report.identity_similarity >= report.match.threshold)
    assert report.match.years_apart is not None
    (given,) = client.age(photo_of(FACE), 60, source=30, method="searching").photos[0].faces
    assert [warning.code for warning in given.warnings] == ["FACE_COVERED", "FACE_TURNED"]


def test_reconstructions_and_steps_say_it(client: Client) -> None:
    (face,) = client.reconstruct(photo_of(FACE), method="searching").faces
    assert face.match is not None
    assert face.match.years_apart is not None
    search = client.optimize(photo_of(FACE), method="searching", max_steps=2)
    assert all(step.match and step.match.years_apart for step in search)


def test_methods_say_whether_they_are_free(client: Client, searching_bundle: Bundle) -> None:
    assert [method.commercial_use for method in client.methods()] == [True] * len(searching_bundle.manifest.methods)


def test_the_embedded_bundle_says_what_stands_in_the_way(address: str) -> None:
    with Client(address, timeout=120) as client:
        for method in client.methods():
            assert method.commercial_use == (not method.licence_obstacles)
            assert all(": " in obstacle for obstacle in method.licence_obstacles)
