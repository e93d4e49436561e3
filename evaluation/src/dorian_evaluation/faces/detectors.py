"""Detectors to compare: a bundle's, with and without its landmark refiner, and YuNet as OpenCV runs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_detection import MAX_OVERLAP, DetectedFace, find_faces
from dorian_bundle.graphs import RunGraph
from dorian_bundle.landmark_refinement import refine_landmarks
from dorian_evaluation.faces.matching import Detections
from dorian_evaluation.graphs import open_graph
from dorian_training.errors import DataError

# From RGB pixels uint8 (height, width, 3).
Detector = Callable[[NDArray[np.uint8]], Detections]
Refiner = Callable[[NDArray[np.uint8], list[DetectedFace]], list[DetectedFace]]


def network_detector(run: RunGraph, min_score: float, refiner: Refiner | None = None) -> Detector:
    """Return the detector of a graph, decoded as the server does it.

    Args:
        run: The graph.
        min_score: The score from which on a face counts.
        refiner: What refines the landmarks of a photo's faces.
    """

    def detect(pixels: NDArray[np.uint8]) -> Detections:
        faces = find_faces(run, pixels, min_score)
        if refiner:
            faces = refiner(pixels, faces)
        return Detections(
            np.asarray([face.box for face in faces], dtype=np.float64).reshape(-1, 4),
            np.asarray([face.score for face in faces], dtype=np.float64),
            np.asarray([face.landmarks for face in faces], dtype=np.float64).reshape(-1, 5, 2),
        )

    return detect


def bundle_refiner(bundle: Bundle) -> Refiner:
    """Return the landmark refiner of a bundle, as the server runs it."""
    entry = bundle.manifest.readers.landmark_refiner
    template = bundle.manifest.alignment.zoomed(entry.zoom)
    return partial(refine_landmarks, open_graph(bundle, entry.graph), template=template, size=entry.view_size)


def yunet_detector(path: Path, min_score: float) -> Detector:
    """Return YuNet as OpenCV runs it, on images at their own size.

    Args:
        path: YuNet's ONNX file.
        min_score: The score from which on a face counts.

    Raises:
        DataError: OpenCV cannot run the file.
    """
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score, MAX_OVERLAP)
        network.detect(np.zeros((320, 320, 3), dtype=np.uint8))
    except cv2.error as error:
        raise DataError(f"{path} is not a face detector that OpenCV can run: {error}") from error

    def detect(pixels: NDArray[np.uint8]) -> Detections:
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        faces: Any = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]  # None without a face
        rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, dtype=np.float64)
        return Detections(rows[:, :4], rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    return detect
