"""Face detection with YuNet's graph: run on a photo at up to three sizes, outputs decoded in NumPy, overlaps suppressed by OpenCV.

The server and the evaluation that measures it share this code, so that both find the same faces in any runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_readers import DETECTOR_OUTPUTS, DETECTOR_STRIDES
from dorian_bundle.graphs import Array, RunGraph
from dorian_bundle.pose import Pose

MAX_SIDE = 1920  # pixels of the longest side of the largest look
MIN_SIDE = 640  # of the look that every photo gets; smaller photos are seen as they are
CLOSE_UP_SIDE = 320  # of a last look, for faces that fill much of the frame
MAX_OVERLAP = 0.3  # of the union, beyond which two boxes are one face
_CLOSE_UP = (
    160  # pixels of that look, which a face in it has on its longer side; larger looks place smaller faces better
)
_MAX_CANDIDATES = 5000  # of all looks, the best ones; as OpenCV has it
_MAX_EXPONENT = 6.0  # of a box's sides in strides, so that none overflows
_MULTIPLE = DETECTOR_STRIDES[-1]


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

    def scaled(self, factors: NDArray[np.float64]) -> Candidates:
        """Return them in pixels of an image ``factors`` (2,) times as wide and as high; a pixel's centre has whole coordinates in both."""
        boxes, landmarks = self.boxes * np.tile(factors, 2), (self.landmarks + 0.5) * factors - 0.5
        return Candidates(boxes, landmarks, self.scores)


def find_faces(run: RunGraph, pixels: NDArray[np.uint8], min_score: float, look: int = MAX_SIDE) -> list[DetectedFace]:
    """Find faces from about 10 pixels up to the whole frame.

    Args:
        run: The detector's graph (see ``detector_signature``).
        pixels: uint8 RGB (height, width, 3).
        min_score: Score from which on a face counts.
        look: Longest side of the largest look, from ``MIN_SIDE`` to ``MAX_SIDE`` pixels; see ``make_looks``.

    Returns:
        Faces, largest first, with boxes cut at the frame.
    """
    height, width = pixels.shape[:2]
    looks = list(make_looks(pixels, look))
    found = []
    for seen in looks:
        candidates = _find_in_look(run, seen, min_score)
        if seen is not looks[0] and max(seen.shape[:2]) == CLOSE_UP_SIDE:
            candidates = candidates.select(np.flatnonzero(candidates.boxes[:, 2:].max(axis=1, initial=0) >= _CLOSE_UP))
        found.append(candidates.scaled(np.array([width / seen.shape[1], height / seen.shape[0]])))
    candidates = _concatenate(found)
    candidates = candidates.select(suppress_overlaps(candidates.boxes, candidates.scores))
    faces = [
        DetectedFace(_clip_to_frame(box, width, height), landmarks, float(score))
        for box, landmarks, score in zip(candidates.boxes, candidates.landmarks, candidates.scores, strict=True)
    ]
    return sorted((face for face in faces if min(face.box[2:]) > 0), key=lambda face: -face.box[2] * face.box[3])


def make_looks(pixels: NDArray[np.uint8], look: int = MAX_SIDE) -> Iterator[NDArray[np.uint8]]:
    """Yield the photo ``pixels`` (height, width, 3) as the detector sees it: up to ``look`` pixels on its longest side, then smaller.

    The next looks are ``MIN_SIDE`` and ``CLOSE_UP_SIDE``, each made from the one before it and left out where that is no larger.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    first = min(longest, look)
    for side in (first, *(side for side in (MIN_SIDE, CLOSE_UP_SIDE) if side < first)):
        if side < max(pixels.shape[:2]):
            size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        yield pixels


def decode_outputs(outputs: Mapping[str, Array], stride: int, columns: int, min_score: float) -> Candidates:
    """Return the faces of at least ``min_score`` that the cells of one ``stride`` tell of, as OpenCV's ``FaceDetectorYN`` reads them.

    Args:
        outputs: The graph's, of one image.
        stride: One of ``DETECTOR_STRIDES``.
        columns: Cells in a row of the image.
        min_score: Of the geometric mean of class and objectness.
    """
    kinds = (
        outputs[f"{kind}_{stride}"][0] for kind in DETECTOR_OUTPUTS
    )  # (cells, 1), (cells, 1), (cells, 4), (cells, 10)
    classes, objects, boxes, landmarks = kinds
    scores = np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))[:, 0]  # (cells,)
    cells = np.flatnonzero(scores >= min_score)  # (n,)
    corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float64)  # (n, 2), in strides
    values = boxes[cells].astype(np.float64)  # (n, 4)
    middle = (corners + values[:, :2]) * stride
    size = np.exp(values[:, 2:].clip(-_MAX_EXPONENT, _MAX_EXPONENT)) * stride
    points = (corners[:, None] + landmarks[cells].reshape(-1, 5, 2)) * stride
    return Candidates(np.hstack([middle - size / 2, size]), points, scores[cells].astype(np.float64))


def suppress_overlaps(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the ``boxes`` (n, 4) to keep, best first: none that a better one overlaps by more than ``MAX_OVERLAP``."""
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, MAX_OVERLAP, top_k=_MAX_CANDIDATES)
    return np.asarray(kept, dtype=np.int64)


def _find_in_look(run: RunGraph, pixels: NDArray[np.uint8], min_score: float) -> Candidates:
    height, width = pixels.shape[:2]
    padded = np.zeros((1, 3, _round_up(height), _round_up(width)), dtype=np.float32)
    # By the reciprocal, straight into the padding: one pass over a large photo.
    np.multiply(pixels.transpose(2, 0, 1), np.float32(1 / 255), out=padded[0, :, :height, :width])
    outputs = run({"image": padded})
    columns = padded.shape[3]
    return _concatenate([decode_outputs(outputs, stride, columns // stride, min_score) for stride in DETECTOR_STRIDES])


def _concatenate(groups: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([group.boxes for group in groups]),
        np.concatenate([group.landmarks for group in groups]),
        np.concatenate([group.scores for group in groups]),
    )


def _clip_to_frame(box: NDArray[np.float64], width: int, height: int) -> tuple[float, float, float, float]:
    left, top = np.clip(box[:2], 0, (width, height))
    right, bottom = np.clip(box[:2] + box[2:], 0, (width, height))
    return float(left), float(top), float(right - left), float(bottom - top)


def _round_up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE
