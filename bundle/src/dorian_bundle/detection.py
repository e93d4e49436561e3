"""Finding faces with a detector's graph: run at several scales, its maps decoded and its overlaps suppressed in NumPy.

Whoever runs the graph, in whatever runtime, finds the same faces: the server, and the evaluation that measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress as suppress_error
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.boxes import intersection_and_union
from dorian_bundle.errors import AlignmentError
from dorian_bundle.face_readers import DETECTOR_STRIDES
from dorian_bundle.tensors import crops_to_images

Array = NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]

MAX_SIDE = 1920  # of what the detector sees; larger photos are reduced to it
REDUCED_SIDES = (
    320,
    128,
)  # of further looks, at which faces of half the photo, or all of it, have the size it knows best
MIN_OVERLAP = 0.4  # of the union, from which on two boxes are one face
MIN_CONTAINED = 0.75  # of the smaller box, likewise
SMALL, LARGE = 20.0, 64.0  # longer sides of faces, in pixels, between which the score that they need changes
_MULTIPLE = DETECTOR_STRIDES[-1]
_REFINED_AT_ONCE = 32  # faces


@dataclass(frozen=True)
class DetectedFace:
    """A face in pixels of the photo: ``box`` x, y, width, height; ``landmarks`` (5, 2), see ``dorian_bundle.alignment``.

    ``score`` from 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]
    score: float


@dataclass(frozen=True)
class Candidates:
    """Faces before overlaps are suppressed: ``boxes`` (n, 4) x, y, width, height; ``landmarks`` (n, 5, 2); ``scores`` (n,)."""

    boxes: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    scores: NDArray[np.float64]

    def chosen(self, which: NDArray[np.int64]) -> Candidates:
        return Candidates(self.boxes[which], self.landmarks[which], self.scores[which])

    def scaled(self, factor: float) -> Candidates:
        """In pixels of a picture ``factor`` times as large; a pixel's centre has whole coordinates in both."""
        boxes, landmarks = self.boxes * factor, (self.landmarks + 0.5) * factor - 0.5
        return Candidates(boxes, landmarks, self.scores)


def find_faces(
    run: Run, pixels: NDArray[np.uint8], min_score: float, min_small_score: float | None = None
) -> list[DetectedFace]:
    """Faces of at least ``min_score`` in RGB ``pixels`` uint8 (height, width, 3), largest first, boxes cut at the frame.

    Ears, watches and lamps look like small faces: as seen by the network, one of ``SMALL`` pixels or less needs
    ``min_small_score`` (none: the same), one of ``LARGE`` or more ``min_score``, and in between what lies between.

    ``run`` is the graph: inputs to outputs by name (see ``detector_signature``). It finds faces of 20 pixels up to the whole
    frame: those that fill much of a photo lie beyond what a cell sees, and are found at further looks, on reduced photos.
    """
    longest = max(pixels.shape[:2])
    sides = [min(longest, MAX_SIDE), *(side for side in REDUCED_SIDES if side < longest)]
    scores = (min_score, min_score if min_small_score is None else min_small_score)
    looks = [_look(run, _reduced(pixels, side / longest), *scores).scaled(longest / side) for side in sides]
    found = _joined(looks)
    found = found.chosen(suppress(found.boxes, found.scores))
    height, width = pixels.shape[:2]
    faces = [
        DetectedFace(_inside(box, width, height), landmarks, float(score))
        for box, landmarks, score in zip(found.boxes, found.landmarks, found.scores, strict=True)
    ]
    return sorted((face for face in faces if min(face.box[2:]) > 0), key=lambda face: -face.box[2] * face.box[3])


def refine(
    run: Run, pixels: NDArray[np.uint8], faces: Sequence[DetectedFace], template: AlignmentTemplate, size: int
) -> list[DetectedFace]:
    """``faces`` of the photo ``pixels`` with the landmarks that a refiner sees; ``run`` is its graph.

    Each is seen in a view of ``size``, aligned to ``template`` by the landmarks that it has. Faces whose landmarks allow no
    view keep them.
    """
    refined = list(faces)
    views: list[tuple[int, NDArray[np.float64]]] = []
    for index, face in enumerate(faces):
        with suppress_error(AlignmentError):
            views.append((index, crop_matrix(face.landmarks, template, size)))
    for start in range(0, len(views), _REFINED_AT_ONCE):
        part = views[start : start + _REFINED_AT_ONCE]
        image = crops_to_images([warp_crop(pixels, matrix, size) for _, matrix in part])
        for (index, matrix), points in zip(part, run({"image": image})["landmarks"], strict=True):
            landmarks = cv2.transform(points[None].astype(np.float64) * size - 0.5, cv2.invertAffineTransform(matrix))[
                0
            ]
            refined[index] = replace(faces[index], landmarks=np.asarray(landmarks))
    return refined


def _look(run: Run, pixels: NDArray[np.uint8], min_score: float, min_small_score: float) -> Candidates:
    height, width = pixels.shape[:2]
    padded = np.zeros((1, 3, _up(height), _up(width)), dtype=np.float32)
    # By the reciprocal, straight into the padding: one pass over a large photo.
    np.multiply(pixels.transpose(2, 0, 1), np.float32(1 / 255), out=padded[0, :, :height, :width])
    maps = run({"image": padded})
    lowest = min(min_score, min_small_score)
    found = _joined([decode(maps[f"map_{stride}"][0], stride, lowest) for stride in DETECTOR_STRIDES])
    needed = np.interp(found.boxes[:, 2:].max(axis=1, initial=0), (SMALL, LARGE), (min_small_score, min_score))
    return found.chosen(np.flatnonzero(found.scores >= needed))


def _joined(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def decode(level: Array, stride: int, min_score: float) -> Candidates:
    """Faces of at least ``min_score`` in one map, (15, rows, columns); see ``detector_signature``."""
    rows, columns = np.nonzero(level[0] >= min_score)
    values = level[:, rows, columns].T.astype(np.float64)
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)
    middle = (centres + values[:, 1:3]) * stride
    size = np.exp(np.clip(values[:, 3:5], -6, 6)) * stride
    landmarks = (centres[:, None] + values[:, 5:].reshape(-1, 5, 2)) * stride
    return Candidates(np.hstack([middle - size / 2, size]), landmarks, values[:, 0])


def suppress(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of ``boxes`` (n, 4) to keep, best first: none that a better one overlaps, holds, or lies in."""
    kept: list[int] = []
    order = np.argsort(-scores, kind="stable")
    area = boxes[:, 2:].prod(axis=1)
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        (shared,), (union,) = intersection_and_union(boxes[best], boxes[rest])  # (rest,) each
        smaller = np.minimum(area[best], area[rest])
        order = rest[(shared < MIN_OVERLAP * union) & (shared < MIN_CONTAINED * smaller)]
    return np.asarray(kept, dtype=np.int64)


def _reduced(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    if factor >= 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _inside(box: NDArray[np.float64], width: int, height: int) -> tuple[float, float, float, float]:
    left, top = np.clip(box[:2], 0, (width, height))
    right, bottom = np.clip(box[:2] + box[2:], 0, (width, height))
    return float(left), float(top), float(right - left), float(bottom - top)


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE
