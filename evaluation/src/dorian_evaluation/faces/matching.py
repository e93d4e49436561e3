"""Detections in an image against its annotations: faces that are hit, landmark errors, and detections of what is not annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.boxes import iou

Floats = NDArray[np.float64]

MIN_HIT_IOU = 0.5  # of a detected face
MAX_APART = 1.0  # pixels, of equal boxes and landmarks
MIN_LISTED_IOU = 0.3  # of a detection with an annotated face, whatever its exact place
SIZES = {"20-40": (20.0, 40.0), "40+": (40.0, np.inf)}  # longer side of a face in pixels: minimum, and upper bound


@dataclass(frozen=True)
class Detections:
    """What a detector returns for an image.

    Attributes:
        boxes: Left, top, width, height, (detections, 4).
        scores: (detections,).
        landmarks: (detections, 5, 2).
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats

    def from_score(self, min_score: float) -> Detections:
        """Return the detections with at least a score."""
        keep = self.scores >= min_score
        return Detections(self.boxes[keep], self.scores[keep], self.landmarks[keep])


@dataclass(frozen=True)
class Annotations:
    """The faces of an image.

    Attributes:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        boxes: Left, top, width, height, (faces, 4).
        landmarks: (faces, 5, 2).
    """

    width: int
    height: int
    boxes: Floats
    landmarks: Floats


@dataclass(frozen=True)
class MatchResult:
    """An image's result.

    Attributes:
        sides: Longer sides of the faces in pixels, (faces,).
        is_hit: Whether the faces are detected, (faces,).
        landmark_errors: In % of the distance between the eyes, (faces,); NaN where a face is not hit.
        unlisted_count: Number of detections that are no annotated face.
    """

    sides: Floats
    is_hit: NDArray[np.bool_]
    landmark_errors: Floats
    unlisted_count: int


def match_detections(detections: Detections, annotations: Annotations) -> MatchResult:
    """Match detections with annotated faces, all boxes clipped to the image first.

    A face takes at most one detection, the pairs of largest IoU first, from ``MIN_HIT_IOU`` on. A detection is unlisted unless
    a face has an IoU of ``MIN_LISTED_IOU`` with it and contains its centre.
    """
    size = annotations.width, annotations.height
    detected = clip_boxes(detections.boxes, *size)
    faces = clip_boxes(annotations.boxes, *size)
    match = assign_detections(iou(faces, detected))  # (faces,)
    is_hit = match >= 0
    errors = np.full(len(faces), np.nan)
    if is_hit.any():
        errors[is_hit] = landmark_errors(detections.landmarks[match[is_hit]], annotations.landmarks[is_hit])
    is_listed = (iou(faces, detected) >= MIN_LISTED_IOU) & _contains_centre(faces, detected)
    unlisted_count = int((~is_listed.any(axis=0)).sum())
    return MatchResult(faces[:, 2:].max(axis=1, initial=0), is_hit, errors, unlisted_count)


def summarise_matches(results: Sequence[MatchResult]) -> dict[str, Any]:
    """Return recall by size of face, unlisted detections per 100 images, and the mean landmark error of hit faces of 40 px or more.

    A mean of nothing is None.
    """
    sides = np.concatenate([result.sides for result in results])
    is_hit = np.concatenate([result.is_hit for result in results])
    errors = np.concatenate([result.landmark_errors for result in results])
    measured = errors[(sides >= SIZES["40+"][0]) & np.isfinite(errors)]
    return {
        "recall": {name: _mean(is_hit[has_size(sides, name)], 4) for name in SIZES},
        "unlisted_per_100": round(100 * sum(result.unlisted_count for result in results) / len(results), 2),
        "landmark_error": _mean(measured, 2),
    }


def are_equal(first: Detections, second: Detections, width: int, height: int) -> bool:
    """Tell whether two detectors return the same faces of an image, boxes clipped to it, each within ``MAX_APART`` pixels."""
    if len(first.boxes) != len(second.boxes):
        return False
    rows = [
        np.hstack([clip_boxes(faces.boxes, width, height), faces.landmarks.reshape(-1, 10)])
        for faces in (first, second)
    ]  # (faces, 14) each
    apart = np.abs(rows[0][:, None] - rows[1][None]).max(axis=2)  # (faces, faces)
    return bool(
        (apart.min(axis=0, initial=np.inf) <= MAX_APART).all()
        and (apart.min(axis=1, initial=np.inf) <= MAX_APART).all()
    )


def has_size(sides: Floats, size: str) -> NDArray[np.bool_]:
    """Tell which faces, given by their longer sides in pixels, are of a size of ``SIZES``."""
    minimum, bound = SIZES[size]
    return (sides >= minimum) & (sides < bound)


def clip_boxes(boxes: Floats, width: int, height: int) -> Floats:
    """Return boxes (n, 4) clipped to an image; those outside of it have no area left."""
    low = np.clip(boxes[:, :2], 0, (width, height))
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, (width, height))
    return np.concatenate([low, high - low], axis=1)


def assign_detections(overlaps: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the index of each face's detection, (faces,), or -1.

    Args:
        overlaps: IoU of faces and detections, (faces, detections); the largest are assigned first.
    """
    match = np.full(len(overlaps), -1, dtype=np.int64)
    remaining = overlaps.copy()
    while remaining.size and remaining.max() >= MIN_HIT_IOU:
        face, detection = np.unravel_index(remaining.argmax(), remaining.shape)
        match[face] = detection
        remaining[face], remaining[:, detection] = 0, 0
    return match


def landmark_errors(landmarks: Floats, expected: Floats) -> Floats:
    """Return mean distances of landmarks (faces, 5, 2) from the expected ones, in % of the distance between the eyes."""
    eye_distance = np.linalg.norm(expected[:, 0] - expected[:, 1], axis=1)  # (faces,)
    return np.asarray(100 * np.linalg.norm(landmarks - expected, axis=2).mean(axis=1) / eye_distance)


def _contains_centre(boxes: Floats, detected: Floats) -> NDArray[np.bool_]:
    """Tell whether boxes (n, 4) contain the centres of detections (m, 4), as (n, m)."""
    centres = detected[:, :2] + detected[:, 2:] / 2
    low, high = boxes[:, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None]
    return np.asarray(((centres >= low) & (centres <= high)).all(axis=2))


def _mean(values: NDArray[Any], digits: int) -> float | None:
    return round(float(values.mean()), digits) if len(values) else None
