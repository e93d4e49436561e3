"""The cascade finds the astronaut, nothing where there is nothing, and the same from any thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_server import detection
from dorian_server.detection import CascadeDetector, DetectedFace
from dorian_server.errors import StartupError

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> CascadeDetector:
    return CascadeDetector()


def middle(face: DetectedFace) -> tuple[float, float]:
    x, y, width, height = face.box
    return x + width / 2, y + height / 2


def test_the_astronauts_face_is_found(
    detector: CascadeDetector, astronaut_file: bytes, read: Callable[[bytes], Pixels]
) -> None:
    (face,) = detector.detect(read(astronaut_file))
    assert middle(face) == pytest.approx((222, 115), abs=12)
    assert face.box[2:] == pytest.approx((95, 95), abs=20)
    assert 0.5 < face.score < 1


def test_landmarks_lie_on_her_features(detector: CascadeDetector, portrait: Pixels) -> None:
    (face,) = detector.detect(portrait)
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert face.landmarks.shape == (5, 2)
    assert right_eye == pytest.approx((94, 103), abs=8), "the person's right eye is on the left of the photo"
    assert left_eye == pytest.approx((129, 102), abs=8)
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert right_mouth[0] < left_mouth[0]


@pytest.mark.parametrize("factor", [0.7, 6.0])
def test_boxes_are_in_pixels_of_the_photo_whatever_its_size(
    detector: CascadeDetector, portrait: Pixels, factor: float
) -> None:
    """At 6, the photo is larger than what is scanned."""
    (face,) = detector.detect(portrait)
    (scaled,) = detector.detect(cv2.resize(portrait, None, fx=factor, fy=factor))
    assert np.divide(middle(scaled), factor) == pytest.approx(middle(face), abs=6)
    assert np.divide(scaled.box[2:], factor) == pytest.approx(face.box[2:], rel=0.2)


def test_the_largest_face_comes_first(detector: CascadeDetector, portrait: Pixels) -> None:
    small = cv2.resize(portrait, None, fx=0.5, fy=0.5)
    row = np.zeros((208, 112 + 224 + 112, 3), np.uint8)
    row[:104, :112] = row[:104, -112:] = small
    row[:, 112:336] = portrait
    faces = detector.detect(row)
    assert len(faces) == 3
    sizes = [face.box[2] * face.box[3] for face in faces]
    assert sizes == sorted(sizes, reverse=True)
    assert 112 < middle(faces[0])[0] < 336


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_picture_has_no_face(detector: CascadeDetector, value: int) -> None:
    assert detector.detect(np.full((240, 320, 3), value, np.uint8)) == []


@pytest.mark.parametrize("shape", [(32, 32), (32, 100_000), (100_000, 32), (45, 2000), (33, 4000)])
def test_strips_and_specks_have_no_face(detector: CascadeDetector, shape: tuple[int, int]) -> None:
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_eight_threads_find_the_same(detector: CascadeDetector, portrait: Pixels) -> None:
    turned = np.ascontiguousarray(portrait[:, ::-1])
    expected = [[face.box for face in detector.detect(photo)] for photo in (portrait, turned)]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(detector.detect, [portrait, turned] * 8))
    assert [[face.box for face in faces] for faces in found] == expected * 8


def test_a_tilted_head_has_tilted_landmarks(detector: CascadeDetector, portrait: Pixels) -> None:
    tilts = []
    for degrees in (-10, 10):
        turn = cv2.getRotationMatrix2D((111, 112), degrees, 1)
        turned = cv2.warpAffine(portrait, turn, (224, 208), borderMode=cv2.BORDER_REPLICATE)
        (face,) = detector.detect(turned)
        across, down = face.landmarks[1] - face.landmarks[0]
        tilts.append(np.degrees(np.arctan2(down, across)))
    assert tilts[0] > 2 > -2 > tilts[1]


class FixedEyes:
    """Stands for the eye cascade: finds eyes of a tenth of its picture's width around given places."""

    def __init__(self, *eyes: tuple[float, float]) -> None:
        self._eyes = eyes

    def detectMultiScale(self, view: Pixels, **_: object) -> NDArray[np.int32]:
        side = view.shape[1]
        corners = [(round((x - 0.05) * side), round((y - 0.05) * side)) for x, y in self._eyes]
        return np.array([(x, y, side // 10, side // 10) for x, y in corners], dtype=np.int32).reshape(-1, 4)


@pytest.fixture
def landmarks_with_eyes(
    detector: CascadeDetector, portrait: Pixels, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., NDArray[np.float64]]:
    """The portrait's landmarks, as parts of the face's box, if the eye cascade finds eyes at these parts of it."""
    open_cascade = detection._open

    def find(*eyes: tuple[float, float]) -> NDArray[np.float64]:
        fixed = {detection.EYE_CASCADE: FixedEyes(*eyes)}
        monkeypatch.setattr(detection, "_open", lambda name: fixed.get(name) or open_cascade(name))
        (face,) = CascadeDetector().detect(portrait)
        return (face.landmarks - face.box[:2]) / face.box[2:]

    return find


USUAL = np.array(detection.CASCADE_LANDMARKS)
RIGHT_EYE, LEFT_EYE = detection.CASCADE_LANDMARKS[:2]


@pytest.mark.parametrize(
    "eyes",
    [(), (RIGHT_EYE,), (LEFT_EYE,), (RIGHT_EYE, (0.5, 0.2)), ((0.1, 0.1), (0.9, 0.1))],
    ids=["none", "the right one", "the left one", "one and something else", "far from where eyes are"],
)
def test_without_both_eyes_the_landmarks_follow_from_the_box(
    landmarks_with_eyes: Callable[..., NDArray[np.float64]], eyes: tuple[tuple[float, float], ...]
) -> None:
    assert np.allclose(landmarks_with_eyes(*eyes), USUAL, rtol=0, atol=1e-12)


def test_with_both_eyes_the_landmarks_lie_halfway_to_where_the_eyes_put_them(
    landmarks_with_eyes: Callable[..., NDArray[np.float64]],
) -> None:
    shift = np.array([0.04, -0.06])
    others = [(0.5, 0.1), (0.4, 0.5)]
    found = landmarks_with_eyes(*others, *(USUAL[:2] + shift).tolist())
    assert np.allclose(found, USUAL + shift / 2, rtol=0, atol=0.005)  # a pixel of the cascade's view


@pytest.mark.parametrize("cascade", ["FACE_CASCADE", "EYE_CASCADE"])
def test_an_opencv_without_a_cascade_is_told_at_startup(monkeypatch: pytest.MonkeyPatch, cascade: str) -> None:
    monkeypatch.setattr(detection, cascade, "not_there.xml")
    with pytest.raises(StartupError, match=r"does not bundle not_there\.xml; install opencv-python-headless<5"):
        CascadeDetector()
