"""Detecting faces in a photo with the bundle's networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.face_detection import MAX_SIDE, DetectedFace, find_faces
from dorian_bundle.face_readers import FaceReaders
from dorian_bundle.landmark_refinement import refine_landmarks
from dorian_bundle.quarter_turns import find_upright_and_turned
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
        look: Longest side of the largest look at a photo, in pixels; see ``dorian_bundle.face_detection.make_looks``.
    """

    def __init__(
        self,
        readers: FaceReaders,
        template: AlignmentTemplate,
        open_session: Callable[[str], Session],
        look: int = MAX_SIDE,
    ) -> None:
        refiner = readers.landmark_refiner
        self._detector = open_session(readers.detector.graph)
        self._refiner = open_session(refiner.graph)
        self._min_score, self._look = readers.detector.min_score, look
        self._refiner_template, self._refiner_size = template.zoomed(refiner.zoom), refiner.view_size

    def detect(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        return find_upright_and_turned(pixels, self._find, partial(self._refine, pixels))

    def _find(self, pixels: NDArray[np.uint8]) -> list[DetectedFace]:
        return find_faces(self._detector.run, pixels, self._min_score, self._look)

    def _refine(self, pixels: NDArray[np.uint8], faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        return refine_landmarks(self._refiner.run, pixels, faces, self._refiner_template, self._refiner_size)
