"""Detectors to compare: a bundle's, with and without its landmark refiner, YuNet, and OpenCV's frontal cascade."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace, find_faces, refine_landmarks
from dorian_bundle.graphs import RunGraph
from dorian_evaluation.faces.matching import Detections
from dorian_evaluation.graphs import open_graph
from dorian_training.errors import DataError

# From RGB pixels uint8 (height, width, 3).
Detector = Callable[[NDArray[np.uint8]], Detections]
Refiner = Callable[[NDArray[np.uint8], list[DetectedFace]], list[DetectedFace]]

YUNET_SCORE = 0.6  # recommended by its authors for photographs
CASCADE_FILE = "haarcascade_frontalface_alt2.xml"
_CASCADE_SCALE_STEP = 1.1
_CASCADE_NEIGHBOURS = 5
_CASCADE_MIN_SIDE = 24  # pixels


def network_detector(run: RunGraph, scores: tuple[float, float], refiner: Refiner | None = None) -> Detector:
    """Return the detector of a graph, decoded as the server does it.

    Args:
        run: The graph.
        scores: The scores from which on a face counts, and a small one.
        refiner: What refines the landmarks of a photo's faces.
    """

    def detect(pixels: NDArray[np.uint8]) -> Detections:
        faces = find_faces(run, pixels, *scores)
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


def yunet_detector(path: Path) -> Detector:
    """Return YuNet, at ``YUNET_SCORE``, on images at their own size.

    Raises:
        DataError: OpenCV cannot run the file.
    """
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_SCORE)
        network.detect(np.zeros((320, 320, 3), dtype=np.uint8))
    except cv2.error as error:
        raise DataError(f"{path} is not a face detector that OpenCV can run: {error}") from error

    def detect(pixels: NDArray[np.uint8]) -> Detections:
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        faces: Any = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]  # None without a face
        rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, dtype=np.float64)
        return Detections(rows[:, :4], rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    return detect


def cascade_detector() -> Detector:
    """Return OpenCV's frontal cascade on equalised grey; it has no landmarks, and all its scores are 1."""
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE_FILE))  # type: ignore[attr-defined]

    def detect(pixels: NDArray[np.uint8]) -> Detections:
        rows = cascade.detectMultiScale(
            cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)),
            scaleFactor=_CASCADE_SCALE_STEP,
            minNeighbors=_CASCADE_NEIGHBOURS,
            minSize=(_CASCADE_MIN_SIDE, _CASCADE_MIN_SIDE),
        )
        boxes = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        return Detections(boxes, np.ones(len(boxes)))

    return detect
