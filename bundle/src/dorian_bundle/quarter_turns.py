"""Faces of photos that lie on their side or stand on their head, as scans and pictures without orientation do.

Detectors hardly find faces that are turned by a quarter, and lay landmarks of those turned by half the wrong way round. So
where a photo shows no face, or one that the landmark refiner is not sure to see upright, it is looked at from the other three
sides too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.boxes import iou
from dorian_bundle.face_detection import DetectedFace

# Visible share from which on a face is certainly upright. The refiner says 0.97 of most upright faces, but up to 0.8 of some that
# stand on their head and whose landmarks were laid the wrong way round.
_SURE = 0.85
_LEAST = 0.5  # visible share of a turned face that counts
_TURNED_SIDE = 640  # pixels of the longest side of a turned look
_SAME_FACE = 0.3  # of the union, from which on two boxes are one face

Find = Callable[[NDArray[np.uint8]], list[DetectedFace]]
Refine = Callable[[Sequence[DetectedFace]], list[DetectedFace]]


def find_upright_and_turned(pixels: NDArray[np.uint8], find: Find, refine: Refine) -> list[DetectedFace]:
    """Find the faces of a photo, whichever way up it is.

    Args:
        pixels: The photo, uint8 RGB (height, width, 3).
        find: Finds faces that are upright in an image.
        refine: Refines the landmarks of faces of the photo.

    Returns:
        Refined faces, largest first.
    """
    faces = refine(find(pixels))
    if faces and all(_visibility(face) >= _SURE for face in faces):
        return faces
    turned = [face for quarters in (2, 1, 3) for face in refine(_find_turned(pixels, quarters, find))]
    turned = [face for face in turned if _visibility(face) >= _LEAST]
    candidates = sorted((*faces, *turned), key=lambda face: -_visibility(face) * face.score)
    kept: list[DetectedFace] = []
    for face in candidates:
        if not any(iou(np.asarray(face.box), np.asarray(other.box)) >= _SAME_FACE for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.box[2] * face.box[3])


def _visibility(face: DetectedFace) -> float:
    return 0.0 if face.visibility is None else face.visibility


def _find_turned(pixels: NDArray[np.uint8], quarters: int, find: Find) -> list[DetectedFace]:
    """Return the faces that are upright once the photo has been turned ``quarters`` times to the left, in the photo's pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _TURNED_SIDE / max(height, width))
    look = pixels
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        look = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    factors = np.array([width / look.shape[1], height / look.shape[0]])
    faces = find(np.ascontiguousarray(np.rot90(look, quarters)))
    return [_turned_back(face, quarters, (look.shape[1], look.shape[0]), factors) for face in faces]


def _turned_back(
    face: DetectedFace, quarters: int, size: tuple[int, int], factors: NDArray[np.float64]
) -> DetectedFace:
    """Return ``face`` of a look, ``size`` (width, height) before it was turned, in pixels of the photo."""
    x, y, width, height = face.box
    corners = _turn_back(np.array([[x, y], [x + width, y + height]]), quarters, size) * factors
    low, high = corners.min(axis=0), corners.max(axis=0)
    landmarks = _turn_back(face.landmarks + 0.5, quarters, size) * factors - 0.5
    box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    return replace(face, box=box, landmarks=landmarks)


def _turn_back(points: NDArray[np.float64], quarters: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """Undo ``np.rot90(image, quarters)`` for ``points`` (n, 2), counted from the image's corner; ``size`` before turning."""
    width, height = size
    x, y = points.T
    turns = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}
    return np.stack(turns[quarters], axis=1)
