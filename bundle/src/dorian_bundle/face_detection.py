"""Face detection with a detector's graph: run at several scales, maps decoded and overlaps suppressed in NumPy.

The server and the evaluation that measures it share this code, so that both find the same faces in any runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.boxes import intersection_and_union
from dorian_bundle.errors import AlignmentError
from dorian_bundle.face_readers import DETECTOR_STRIDES
from dorian_bundle.graphs import Array, RunGraph
from dorian_bundle.pose import Pose
from dorian_bundle.tensors import crops_to_images

MAX_SIDE = 1920  # pixels that the detector sees; larger photos are reduced to it
# Sides of further, reduced photos, in which faces of half the photo, or all of it, have a size that the detector finds.
REDUCED_SIDES = (320, 128)
MIN_OVERLAP = 0.4  # of the union, from which on two boxes are one face
MIN_CONTAINED = 0.75  # of the smaller box, likewise
SMALL, LARGE = 20.0, 64.0  # longer sides of faces, in pixels, between which the score that they need changes
_MULTIPLE = DETECTOR_STRIDES[-1]
_REFINED_AT_ONCE = 32  # faces


@dataclass(frozen=True)
class DetectedFace:
    """A face in pixels of the photo: ``box`` x, y, width, height; ``landmarks`` (5, 2), see ``dorian_bundle.alignment``.

    ``score`` from 0 to 1. Where they were refined: ``mesh``, 73 points (73, 2), see ``dorian_bundle.mesh``; ``visibility``, the
    share of the face that can be seen, from 0 to 1; ``pose``.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]
    score: float
    mesh: NDArray[np.float64] | None = None
    visibility: float | None = None
    pose: Pose | None = None


@dataclass(frozen=True)
class Candidates:
    """Faces before overlaps are suppressed: ``boxes`` (n, 4) x, y, width, height; ``landmarks`` (n, 5, 2); ``scores`` (n,)."""

    boxes: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    scores: NDArray[np.float64]

    def select(self, indices: NDArray[np.int64]) -> Candidates:
        """Return the candidates at ``indices`` (m,), in that order."""
        return Candidates(self.boxes[indices], self.landmarks[indices], self.scores[indices])

    def scaled(self, factor: float) -> Candidates:
        """Return them in pixels of an image ``factor`` times as large; a pixel's centre has whole coordinates in both."""
        boxes, landmarks = self.boxes * factor, (self.landmarks + 0.5) * factor - 0.5
        return Candidates(boxes, landmarks, self.scores)


def find_faces(
    run: RunGraph, pixels: NDArray[np.uint8], min_score: float, min_small_score: float | None = None
) -> list[DetectedFace]:
    """Find faces from 20 pixels up to the whole frame.

    Faces that fill much of a photo are larger than what a cell of the detector sees, so the graph also runs on reduced photos.

    Args:
        run: The detector's graph (see ``detector_signature``).
        pixels: uint8 RGB (height, width, 3).
        min_score: Score that a face of ``LARGE`` pixels or more needs.
        min_small_score: Score that one of ``SMALL`` pixels or less needs, as the network sees it, since ears, watches and
            lamps look like small faces; in between, it is interpolated. By default ``min_score``.

    Returns:
        Faces, largest first, with boxes cut at the frame.
    """
    longest = max(pixels.shape[:2])
    sides = [min(longest, MAX_SIDE), *(side for side in REDUCED_SIDES if side < longest)]
    scores = (min_score, min_score if min_small_score is None else min_small_score)
    candidates = _concatenate(
        [_find_at_scale(run, _reduce(pixels, side / longest), *scores).scaled(longest / side) for side in sides]
    )
    candidates = candidates.select(suppress_overlaps(candidates.boxes, candidates.scores))
    height, width = pixels.shape[:2]
    faces = [
        DetectedFace(_clip_to_frame(box, width, height), landmarks, float(score))
        for box, landmarks, score in zip(candidates.boxes, candidates.landmarks, candidates.scores, strict=True)
    ]
    return sorted((face for face in faces if min(face.box[2:]) > 0), key=lambda face: -face.box[2] * face.box[3])


def refine_landmarks(
    run: RunGraph, pixels: NDArray[np.uint8], faces: Sequence[DetectedFace], template: AlignmentTemplate, size: int
) -> list[DetectedFace]:
    """Return ``faces`` with the landmarks that a refiner places in a view aligned by those that they have.

    Args:
        run: The refiner's graph (see ``landmark_refiner_signature``).
        pixels: The photo, uint8 RGB (height, width, 3).
        faces: Faces of the photo. Those whose landmarks allow no view keep them.
        template: Where landmarks lie in a view.
        size: Side of a view in pixels.
    """
    refined = list(faces)
    views: list[tuple[int, NDArray[np.float64]]] = []
    for index, face in enumerate(faces):
        with suppress(AlignmentError):
            views.append((index, crop_matrix(face.landmarks, template, size)))
    for start in range(0, len(views), _REFINED_AT_ONCE):
        chunk = views[start : start + _REFINED_AT_ONCE]
        images = crops_to_images([warp_crop(pixels, matrix, size) for _, matrix in chunk])
        for (index, matrix), fractions in zip(chunk, run({"image": images})["landmarks"], strict=True):
            points = fractions[None].astype(np.float64) * size - 0.5  # (1, 5, 2), pixels of the view
            landmarks = cv2.transform(points, cv2.invertAffineTransform(matrix))[0]
            refined[index] = replace(faces[index], landmarks=np.asarray(landmarks))
    return refined


def decode_map(level: Array, stride: int, min_score: float) -> Candidates:
    """Return the faces of at least ``min_score`` in one map, (15, rows, columns); see ``detector_signature``."""
    rows, columns = np.nonzero(level[0] >= min_score)
    values = level[:, rows, columns].T.astype(np.float64)  # (n, 15)
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)  # (n, 2), in strides
    middle = (centres + values[:, 1:3]) * stride
    size = np.exp(np.clip(values[:, 3:5], -6, 6)) * stride
    landmarks = (centres[:, None] + values[:, 5:].reshape(-1, 5, 2)) * stride
    return Candidates(np.hstack([middle - size / 2, size]), landmarks, values[:, 0])


def suppress_overlaps(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the ``boxes`` (n, 4) to keep, best first: none that a better one overlaps, holds, or lies in."""
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


def _find_at_scale(run: RunGraph, pixels: NDArray[np.uint8], min_score: float, min_small_score: float) -> Candidates:
    height, width = pixels.shape[:2]
    padded = np.zeros((1, 3, _round_up(height), _round_up(width)), dtype=np.float32)
    # By the reciprocal, straight into the padding: one pass over a large photo.
    np.multiply(pixels.transpose(2, 0, 1), np.float32(1 / 255), out=padded[0, :, :height, :width])
    maps = run({"image": padded})
    lowest = min(min_score, min_small_score)
    candidates = _concatenate([decode_map(maps[f"map_{stride}"][0], stride, lowest) for stride in DETECTOR_STRIDES])
    longer = candidates.boxes[:, 2:].max(axis=1, initial=0)  # (n,)
    required = np.interp(longer, (SMALL, LARGE), (min_small_score, min_score))
    return candidates.select(np.flatnonzero(candidates.scores >= required))


def _concatenate(groups: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([group.boxes for group in groups]),
        np.concatenate([group.landmarks for group in groups]),
        np.concatenate([group.scores for group in groups]),
    )


def _reduce(pixels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    if factor >= 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _clip_to_frame(box: NDArray[np.float64], width: int, height: int) -> tuple[float, float, float, float]:
    left, top = np.clip(box[:2], 0, (width, height))
    right, bottom = np.clip(box[:2] + box[2:], 0, (width, height))
    return float(left), float(top), float(right - left), float(bottom - top)


def _round_up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE
