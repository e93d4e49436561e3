"""Faces of photos that lie on their side or stand on their head, as scans and pictures without orientation do.

Detectors hardly find faces that are turned by a quarter, and lay landmarks of those turned by half the wrong way round. So
where a photo shows no face, or one that the landmark refiner is not sure to see upright, it is looked at from the other three
sides too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_detection import MIN_SIDE, DetectedFace, make_looks, suppress_overlaps

# Visible share from which on a face is certainly upright. The refiner says 0.97 of most upright faces, but up to 0.8 of some that
# stand on their head and whose landmarks were laid the wrong way round.
_SURE = 0.85
_LEAST = 0.5  # visible share of a turned face that counts
_UNSEEN = 1e-6  # that a face without a visible share ranks by: after all others

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
    look = next(make_looks(pixels, MIN_SIDE))
    factors = np.array([pixels.shape[1] / look.shape[1], pixels.shape[0] / look.shape[0]])
    turned = refine([face for quarters in (2, 1, 3) for face in _find_turned(look, quarters, find, factors)])
    candidates = [*faces, *(face for face in turned if _visibility(face) >= _LEAST)]
    boxes = np.array([face.box for face in candidates]).reshape(-1, 4)
    ranks = np.array([max(_visibility(face), _UNSEEN) * face.score for face in candidates])
    kept = [candidates[index] for index in suppress_overlaps(boxes, ranks)]
    return sorted(kept, key=lambda face: -face.box[2] * face.box[3])


def _visibility(face: DetectedFace) -> float:
    return 0.0 if face.visibility is None else face.visibility


def _find_turned(
    look: NDArray[np.uint8], quarters: int, find: Find, factors: NDArray[np.float64]
) -> list[DetectedFace]:
    """Return the faces that are upright once ``look`` has been turned ``quarters`` times to the left, in pixels of a photo
    that is ``factors`` (2,) times as wide and as high."""
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
