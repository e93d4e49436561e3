"""Finding faces in a photo, by the bundle's detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.detection import DetectedFace, find_faces, refine
from dorian_bundle.face_readers import FaceReaders
from dorian_server.runtimes.session import Session


class Detector(Protocol):
    """Finds faces."""

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        """Faces in RGB ``pixels`` uint8 (height, width, 3), largest first; safe to call from several threads."""
        ...


class NetworkDetector:
    """The bundle's detector, and the refiner of its landmarks; ``template`` is that of the bundle's crops."""

    def __init__(
        self, readers: FaceReaders, template: AlignmentTemplate, open_session: Callable[[str], Session]
    ) -> None:
        self._detector = open_session(readers.detector.graph)
        self._refiner = open_session(readers.landmark_refiner.graph)
        self._scores = readers.detector.min_score, readers.detector.min_small_score
        self._view = template.zoomed(readers.landmark_refiner.zoom), readers.landmark_refiner.view_size

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        return refine(self._refiner.run, pixels, find_faces(self._detector.run, pixels, *self._scores), *self._view)
