"""Finding faces: a detector gives boxes and five landmarks; for now it is OpenCV's frontal-face cascade."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import similarity
from dorian_server.errors import StartupError

FACE_CASCADE = "haarcascade_frontalface_alt2.xml"
EYE_CASCADE = "haarcascade_eye_tree_eyeglasses.xml"
MIN_FACE = 24  # pixels
MAX_SIDE = 1024  # of the photo that the cascade scans

# Where the landmarks lie in a box of this cascade, as fractions of its side: medians over 440 faces of CelebA photographs,
# made symmetric (docs/decisions/0003-cascade-until-our-own-detector.md).
CASCADE_LANDMARKS = ((0.310, 0.385), (0.690, 0.385), (0.5, 0.613), (0.337, 0.777), (0.663, 0.777))

# Overlapping hits that a face must collect, and the number at which its score passes one half.
MIN_HITS = 5
HALF_SCORE_HITS = 10

# Eyes are sought in the upper part of the box, drawn at this size, no further than this from where they should be.
EYE_VIEW = 192
EYE_PART = 0.6
EYE_REACH = 0.14


@dataclass(frozen=True)
class DetectedFace:
    """A face in pixels of the photo: ``box`` x, y, width, height; ``landmarks`` (5, 2), see ``dorian_bundle.alignment``.

    ``score`` from 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]
    score: float


class Detector(Protocol):
    """Finds faces."""

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        """Faces in RGB ``pixels`` uint8 (height, width, 3), largest first; safe to call from several threads."""
        ...


class CascadeDetector:
    """OpenCV's boosted cascades (Viola and Jones 2001): upright, frontal faces of 24 pixels or more, and their eyes.

    The face cascade gives a box. Where the eye cascade finds both eyes in it, the landmarks lie halfway between those that
    follow from the box and those that follow from the eyes, which is nearer to the truth than either.
    """

    def __init__(self) -> None:
        self._own = threading.local()  # a classifier keeps state while it scans, so each thread has its own
        self._classifiers()

    def _classifiers(self) -> tuple[cv2.CascadeClassifier, cv2.CascadeClassifier]:
        if not hasattr(self._own, "pair"):
            self._own.pair = (_open(FACE_CASCADE), _open(EYE_CASCADE))
        pair: tuple[cv2.CascadeClassifier, cv2.CascadeClassifier] = self._own.pair
        return pair

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        faces, _ = self._classifiers()
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, MAX_SIDE / max(grey.shape))
        if min(grey.shape) * scale < MIN_FACE:  # a strip, which would shrink to a width of no face, or of nothing
            return []
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes, hits = faces.detectMultiScale2(
            cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=MIN_HITS, minSize=(MIN_FACE, MIN_FACE)
        )
        found = []
        for (x, y, width, height), count in zip(boxes, np.ravel(hits), strict=True):
            inside = self._landmarks(np.asarray(grey[y : y + height, x : x + width], dtype=np.uint8))
            box = np.array([x, y, width, height]) / scale
            score = int(count) / (int(count) + HALF_SCORE_HITS)
            found.append(DetectedFace(tuple(box.tolist()), inside * box[2:] + box[:2], score))
        return sorted(found, key=lambda face: -face.box[2] * face.box[3])

    def _landmarks(self, face: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Landmarks (5, 2) as fractions of the box whose grey pixels are ``face`` (height, width)."""
        _, eyes = self._classifiers()
        usual = np.asarray(CASCADE_LANDMARKS)
        view = cv2.resize(face, (EYE_VIEW, EYE_VIEW))[: round(EYE_VIEW * EYE_PART)]
        smallest, largest = (EYE_VIEW // 8,) * 2, (EYE_VIEW // 2,) * 2
        hits = eyes.detectMultiScale(view, scaleFactor=1.05, minNeighbors=3, minSize=smallest, maxSize=largest)
        centres = np.array([(x + width / 2, y + height / 2) for x, y, width, height in hits]).reshape(-1, 2) / EYE_VIEW
        found = []
        for eye in usual[:2]:
            away = np.linalg.norm(centres - eye, axis=1)
            if not (away < EYE_REACH).any():
                return usual
            found.append(centres[away.argmin()])
        matrix = similarity(usual[:2], np.array(found))
        by_eyes = usual @ matrix[:, :2].T + matrix[:, 2]
        return np.asarray((usual + by_eyes) / 2)


def _open(cascade: str) -> cv2.CascadeClassifier:
    classifier = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / cascade))
    if classifier.empty():
        raise StartupError(f"OpenCV {cv2.__version__} does not bundle {cascade}; install opencv-python-headless<5")
    return classifier
