"""The embedded detector finds the astronaut, nothing where there is nothing, and the same from any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.face_readers import DETECTOR_OUTPUTS, DETECTOR_STRIDES
from dorian_server.faces.detector import Detector, NetworkDetector
from dorian_server.pipeline.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
# Of the photo of 512 pixels.
RIGHT_EYE, LEFT_EYE = (203.5, 101.5), (246, 103.5)
NOSE, RIGHT_MOUTH, LEFT_MOUTH = (226, 125), (203, 139.5), (244, 140)
FACE = (178, 63, 92, 116)


@pytest.fixture(scope="module")
def detector(embedded: Pipeline) -> Detector:
    return embedded.face_reader.detector


@pytest.fixture(scope="module")
def astronaut(astronaut_file: bytes, read: Callable[[bytes], Pixels]) -> Pixels:
    return read(astronaut_file)


def scaled(pixels: Pixels, factor: float) -> Pixels:
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=kind))


def overlap(face: DetectedFace, box: tuple[float, float, float, float]) -> float:
    """Intersection over union of a face's box and another."""
    low = np.maximum(face.box[:2], box[:2])
    high = np.minimum(np.add(face.box[:2], face.box[2:]), np.add(box[:2], box[2:]))
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / (np.prod(face.box[2:]) + np.prod(box[2:]) - shared))


def expect_features(face: DetectedFace) -> None:
    """Where they are on any face that is more or less upright, right and left being the person's own."""
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert face.landmarks.shape == (5, 2)
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert right_mouth[0] < left_mouth[0]
    x, y, width, height = face.box
    assert (face.landmarks >= (x, y)).all()
    assert (face.landmarks <= (x + width, y + height)).all()


def test_the_astronauts_face_is_found(detector: Detector, astronaut: Pixels) -> None:
    (face,) = detector.detect(astronaut)
    assert overlap(face, FACE) > 0.7
    assert 0.5 < face.score <= 1
    expect_features(face)


def test_landmarks_lie_on_her_features(detector: Detector, astronaut: Pixels) -> None:
    (face,) = detector.detect(astronaut)
    apart = np.abs(face.landmarks - (RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH))
    assert apart[:2].max() < 6
    assert apart[2:].max() < 9


@pytest.mark.parametrize("factor", [0.25, 0.4, 0.6, 0.8, 1.5, 2.0, 4.0])
def test_she_is_found_whatever_the_photos_size(detector: Detector, astronaut: Pixels, factor: float) -> None:
    """At 4, the photo is larger than what the detector sees."""
    (face,) = detector.detect(scaled(astronaut, factor))
    x, y, width, height = FACE
    assert overlap(face, (x * factor, y * factor, width * factor, height * factor)) > 0.65
    assert np.abs(face.landmarks[:2] / factor - (RIGHT_EYE, LEFT_EYE)).max() < max(8, 3 / factor)
    expect_features(face)


def test_in_a_mirror_her_right_eye_is_the_other_one(detector: Detector, astronaut: Pixels) -> None:
    (face,) = detector.detect(np.ascontiguousarray(astronaut[:, ::-1]))
    expect_features(face)
    assert face.landmarks[0] == pytest.approx((511 - LEFT_EYE[0], LEFT_EYE[1]), abs=6)
    assert face.landmarks[1] == pytest.approx((511 - RIGHT_EYE[0], RIGHT_EYE[1]), abs=6)


@pytest.mark.parametrize("degrees", [-20, -10, 10, 20])
def test_a_tilted_head_has_tilted_landmarks(detector: Detector, astronaut: Pixels, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((222, 118), degrees, 1)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
    (face,) = detector.detect(np.asarray(turned))
    eyes = cv2.transform(np.array([[RIGHT_EYE, LEFT_EYE]], dtype=np.float64), turn)[0]
    assert np.abs(face.landmarks[:2] - eyes).max() < 8
    across, down = face.landmarks[1] - face.landmarks[0]
    recorded = np.degrees(np.arctan2(RIGHT_EYE[1] - LEFT_EYE[1], LEFT_EYE[0] - RIGHT_EYE[0]))
    assert -np.degrees(np.arctan2(down, across)) == pytest.approx(degrees + recorded, abs=8)


@pytest.mark.parametrize("background", [0, 128, 255])
def test_a_face_of_40_pixels_in_a_large_picture(detector: Detector, portrait: Pixels, background: int) -> None:
    small = scaled(portrait, 40 / FACE[2])
    canvas = np.full((1080, 1920, 3), background, np.uint8)
    canvas[700 : 700 + len(small), 1500 : 1500 + small.shape[1]] = small
    (face,) = detector.detect(canvas)
    factor = 40 / FACE[2]
    box = (1500 + (FACE[0] - 112) * factor, 700 + FACE[1] * factor, FACE[2] * factor, FACE[3] * factor)
    assert overlap(face, box) > 0.6
    expect_features(face)


@pytest.mark.parametrize("factor", [1, 4, 10])
def test_a_face_that_fills_the_frame(detector: Detector, astronaut: Pixels, factor: float) -> None:
    x, y, width, height = FACE
    filling = scaled(np.ascontiguousarray(astronaut[y : y + height, x : x + width]), factor)
    (face,) = detector.detect(filling)
    assert overlap(face, (0, 0, width * factor, height * factor)) > 0.6
    expect_features(face)


def test_the_largest_face_comes_first(detector: Detector, astronaut: Pixels) -> None:
    head = astronaut[:256, 96:352]
    row = np.zeros((256, 128 + 256 + 128, 3), np.uint8)
    row[64:192, :128] = row[64:192, -128:] = scaled(head, 0.5)
    row[:, 128:-128] = head
    faces = detector.detect(row)
    assert len(faces) == 3
    sizes = [face.box[2] * face.box[3] for face in faces]
    assert sizes == sorted(sizes, reverse=True)
    assert 128 < faces[0].box[0] < 384


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(240, 320), (32, 32), (32, 10_000), (10_000, 32), (45, 2000)])
def test_a_blank_picture_has_no_face(detector: Detector, value: int, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full((*shape, 3), value, np.uint8)) == []


@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (240, 320), (500, 400)])
def test_noise_has_no_face(detector: Detector, shape: tuple[int, int]) -> None:
    fine = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    coarse = np.asarray(cv2.resize(fine[: shape[0] // 8, : shape[1] // 8], shape[::-1], interpolation=cv2.INTER_CUBIC))
    assert detector.detect(fine) == detector.detect(coarse) == []


def test_eight_threads_find_the_same(detector: Detector, astronaut: Pixels) -> None:
    head = np.ascontiguousarray(astronaut[:208, 112:336])
    photos = [head, np.ascontiguousarray(head[:, ::-1]), scaled(astronaut, 0.5)]
    expected = [[face.box for face in detector.detect(photo)] for photo in photos]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(detector.detect, photos * 5))
    assert [[face.box for face in faces] for faces in result] == expected * 5


class OneCell:
    """Stands for a detector: a score in the middle cell of its finest stride, for a face of 32 pixels with given landmarks."""

    def __init__(self, score: float, template: AlignmentTemplate) -> None:
        self._values = {
            "cls": score,
            "obj": score,
            "bbox": [0, 0, np.log(4), np.log(4)],
            "kps": ((np.array(template.landmarks) - 0.5) * 4).ravel(),
        }

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        height, width = inputs["image"].shape[2:]
        outputs = {
            f"{kind}_{stride}": np.zeros((1, height // stride * (width // stride), numbers), np.float32)
            for kind, numbers in DETECTOR_OUTPUTS.items()
            for stride in DETECTOR_STRIDES
        }
        for kind, values in self._values.items():
            outputs[f"{kind}_8"][0, height // 16 * (width // 8) + width // 16] = values
        return outputs


class OnePoint:
    """Stands for a refiner: it sees all points in the middle of its view, and all of the face."""

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        count = len(inputs["image"])
        return {"landmarks": np.full((count, 73, 2), 0.5, np.float32), "visibility": np.ones(count, np.float32)}


@pytest.fixture
def detect_with_score(default_bundle: Bundle) -> Callable[[float], list[DetectedFace]]:
    """The faces that ``OneCell`` of a score and ``OnePoint`` find in a black picture (160, 160, 3)."""
    manifest = default_bundle.manifest

    def detect(score: float) -> list[DetectedFace]:
        sessions: dict[str, Any] = {
            manifest.readers.detector.graph: OneCell(score, manifest.alignment),
            manifest.readers.landmark_refiner.graph: OnePoint(),
        }
        detector = NetworkDetector(manifest.readers, manifest.alignment, sessions.__getitem__)
        return detector.detect(np.zeros((160, 160, 3), np.uint8))

    return detect


def test_a_face_counts_from_the_manifests_score_on(
    default_bundle: Bundle, detect_with_score: Callable[[float], list[DetectedFace]]
) -> None:
    least = default_bundle.manifest.readers.detector.min_score
    assert detect_with_score(least - 0.01) == []
    (face,) = detect_with_score(least + 0.01)
    assert face.score == pytest.approx(least + 0.01)


def test_landmarks_are_where_the_refiner_sees_them(detect_with_score: Callable[[float], list[DetectedFace]]) -> None:
    (face,) = detect_with_score(0.9)
    assert face.box == pytest.approx((64, 64, 32, 32), abs=1e-4)
    assert np.allclose(face.landmarks, 80, atol=1e-3), "all in the middle of the view, which is the cell's"
