"""Detecting faces in a photo with the bundle's networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.face_detection import DetectedFace, find_faces, refine_landmarks
from dorian_bundle.face_readers import FaceReaders
from dorian_server.runtimes.session import Session


class Detector(Protocol):
    """Detects faces; safe to call from several threads."""

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces in RGB ``pixels`` uint8 (height, width, 3), largest first."""
        ...


class NetworkDetector:
    """The bundle's detector, and the network that refines its landmarks.

    Args:
        readers: The manifest's entry of both.
        template: Alignment template of the bundle's crops.
        open_session: Opens a graph by its name.
    """

    def __init__(
        self, readers: FaceReaders, template: AlignmentTemplate, open_session: Callable[[str], Session]
    ) -> None:
        refiner = readers.landmark_refiner
        self._detector = open_session(readers.detector.graph)
        self._refiner = open_session(refiner.graph)
        self._min_score, self._min_small_score = readers.detector.min_score, readers.detector.min_small_score
        self._refiner_template, self._refiner_size = template.zoomed(refiner.zoom), refiner.view_size

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        faces = find_faces(self._detector.run, pixels, self._min_score, self._min_small_score)
        return refine_landmarks(self._refiner.run, pixels, faces, self._refiner_template, self._refiner_size)
