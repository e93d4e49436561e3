"""Finding faces: a detector gives boxes and five landmarks; for now it is OpenCV's frontal-face cascade."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_server.errors import StartupError

CASCADE = "haarcascade_frontalface_alt2.xml"
MIN_FACE = 24  # pixels
MAX_SIDE = 1024  # of the photo that the cascade scans

# Where the landmarks lie in a box of this cascade, as fractions of its side: medians over 885 faces of CelebA photographs,
# made symmetric (docs/decisions/0003-cascade-until-our-own-detector.md).
CASCADE_LANDMARKS = ((0.310, 0.385), (0.690, 0.385), (0.5, 0.613), (0.337, 0.777), (0.663, 0.777))

# Overlapping hits that a face must collect, and the number at which its score passes one half.
MIN_HITS = 5
HALF_SCORE_HITS = 10


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
    """OpenCV's boosted cascade (Viola and Jones 2001): upright, frontal faces of 24 pixels or more."""

    def __init__(self) -> None:
        self._path = str(Path(cv2.__file__).parent / "data" / CASCADE)
        self._own = threading.local()  # a classifier keeps state while it scans, so each thread has its own
        if self._classifier().empty():
            raise StartupError(f"OpenCV {cv2.__version__} does not bundle {CASCADE}; install opencv-python-headless<5")

    def _classifier(self) -> cv2.CascadeClassifier:
        if not hasattr(self._own, "classifier"):
            self._own.classifier = cv2.CascadeClassifier(self._path)
        classifier: cv2.CascadeClassifier = self._own.classifier
        return classifier

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, MAX_SIDE / max(grey.shape))
        if min(grey.shape) * scale < MIN_FACE:  # a strip, which would shrink to a width of no face, or of nothing
            return []
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes, hits = self._classifier().detectMultiScale2(
            cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=MIN_HITS, minSize=(MIN_FACE, MIN_FACE)
        )
        found = [
            _face(np.asarray(box, dtype=np.float64) / scale, int(count))
            for box, count in zip(boxes, np.ravel(hits), strict=True)
        ]
        return sorted(found, key=lambda face: -face.box[2] * face.box[3])


def _face(box: NDArray[np.float64], hits: int) -> DetectedFace:
    x, y, width, height = box.tolist()
    landmarks = np.asarray(CASCADE_LANDMARKS) * (width, height) + (x, y)
    return DetectedFace((x, y, width, height), landmarks, hits / (hits + HALF_SCORE_HITS))
