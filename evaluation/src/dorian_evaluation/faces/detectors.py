"""Detectors to compare: a bundle's own, with and without its landmark refiner, YuNet, and OpenCV's frontal cascade, each from RGB pixels to findings."""

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
from dorian_evaluation.faces.matching import Found
from dorian_evaluation.judges.graphs import open_graph
from dorian_training.errors import DataError

Finder = Callable[[NDArray[np.uint8]], Found]
Refiner = Callable[[NDArray[np.uint8], list[DetectedFace]], list[DetectedFace]]

YUNET_SCORE = 0.6  # recommended by its authors for photographs
CASCADE_FILE = "haarcascade_frontalface_alt2.xml"
_CASCADE_SCALE, _CASCADE_NEIGHBOURS, _CASCADE_LEAST = (
    1.1,
    5,
    24,
)  # its steps between scales; its smallest face in pixels


def network_finder(run: RunGraph, scores: tuple[float, float], refiner: Refiner | None = None) -> Finder:
    """The detector whose graph is ``run``, decoded as the server decodes it; ``refiner`` mends the landmarks of a photo's faces.

    ``scores``: from which on a face counts, and a small one.
    """

    def find(pixels: NDArray[np.uint8]) -> Found:
        faces = find_faces(run, pixels, *scores)
        if refiner:
            faces = refiner(pixels, faces)
        return Found(
            np.asarray([face.box for face in faces], dtype=np.float64).reshape(-1, 4),
            np.asarray([face.score for face in faces], dtype=np.float64),
            np.asarray([face.landmarks for face in faces], dtype=np.float64).reshape(-1, 5, 2),
        )

    return find


def bundle_refiner(bundle: Bundle) -> Refiner:
    """The landmark refiner of ``bundle``, as the server runs it."""
    entry = bundle.manifest.readers.landmark_refiner
    template = bundle.manifest.alignment.zoomed(entry.zoom)
    return partial(refine_landmarks, open_graph(bundle, entry.graph), template=template, size=entry.view_size)


def yunet_finder(path: Path) -> Finder:
    """YuNet from its ONNX file, at ``YUNET_SCORE``, on pictures at their own size; ``DataError`` if OpenCV cannot run it."""
    try:
        detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_SCORE)
        detector.detect(np.zeros((320, 320, 3), dtype=np.uint8))
    except cv2.error as error:
        raise DataError(f"{path} is not a face detector that OpenCV can run: {error}") from error

    def find(pixels: NDArray[np.uint8]) -> Found:
        detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        faces: Any = detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]  # None where it sees none
        rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, dtype=np.float64)
        return Found(rows[:, :4], rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    return find


def cascade_finder() -> Finder:
    """OpenCV's frontal cascade on equalised grey; it gives neither landmarks nor scores (all are 1)."""
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE_FILE))  # type: ignore[attr-defined]

    def find(pixels: NDArray[np.uint8]) -> Found:
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        least = (_CASCADE_LEAST, _CASCADE_LEAST)
        boxes = cascade.detectMultiScale(
            grey, scaleFactor=_CASCADE_SCALE, minNeighbors=_CASCADE_NEIGHBOURS, minSize=least
        )
        found = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        return Found(found, np.ones(len(found)))

    return find
