"""What a detector found in a picture against what is there: faces hit, landmarks missed by how much, and false faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.boxes import iou

Floats = NDArray[np.float64]

HIT = 0.5  # intersection over union from which on a face counts as found
EXCUSED = 0.3  # likewise, from which on a finding is not false
SIZES = {"20-40": (20.0, 40.0), "40+": (40.0, np.inf)}  # a face's longer side in pixels, from and below


@dataclass(frozen=True)
class Found:
    """Findings in one picture: ``boxes`` (n, 4) x, y, width, height; ``scores`` (n,); ``landmarks`` (n, 5, 2), or ``None``."""

    boxes: Floats
    scores: Floats
    landmarks: Floats | None = None

    def from_score(self, least: float) -> Found:
        """Those of at least the score ``least``."""
        keep = self.scores >= least
        return Found(self.boxes[keep], self.scores[keep], None if self.landmarks is None else self.landmarks[keep])


@dataclass(frozen=True)
class Truth:
    """The faces of one picture of ``width`` × ``height``: ``boxes`` (faces, 4), ``landmarks`` (faces, 5, 2).

    ``excused`` (n, 4): besides the faces, boxes where a finding is not false.
    """

    width: int
    height: int
    boxes: Floats
    landmarks: Floats
    excused: Floats


@dataclass(frozen=True)
class Outcome:
    """One picture's result, by face: ``sides`` its longer side in pixels, whether it is ``hit``, and its ``landmark_error``.

    The error is a percentage of the distance between the eyes, NaN where the face is not hit or the detector gives no landmarks.
    ``false`` is the number of false faces.
    """

    sides: Floats
    hit: NDArray[np.bool_]
    landmark_error: Floats
    false: int


def compared(found: Found, truth: Truth) -> Outcome:
    """``found`` against ``truth``, all boxes cut to the picture first.

    Each face takes at most one finding, the pairs of largest intersection over union first, from ``HIT`` on. A finding is
    false unless a face or an excused box has an intersection over union of ``EXCUSED`` with it, and holds its centre.
    """
    findings = clipped(found.boxes, truth.width, truth.height)
    faces = clipped(truth.boxes, truth.width, truth.height)
    match = matched(iou(faces, findings))
    hit = match >= 0
    errors = np.full(len(faces), np.nan)
    if found.landmarks is not None and hit.any():
        errors[hit] = landmark_errors(found.landmarks[match[hit]], truth.landmarks[hit])
    allowed = np.concatenate([faces, clipped(truth.excused, truth.width, truth.height)])
    true = (iou(allowed, findings) >= EXCUSED) & _holds_centre(allowed, findings)
    return Outcome(faces[:, 2:].max(axis=1, initial=0), hit, errors, int((~true.any(axis=0)).sum()))


def summarised(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Recall by size of face, false faces per 100 pictures, and the mean landmark error of the faces of 40 pixels that are hit.

    ``None`` where there is nothing to take a mean of.
    """
    sides = np.concatenate([outcome.sides for outcome in outcomes])
    hit = np.concatenate([outcome.hit for outcome in outcomes])
    errors = np.concatenate([outcome.landmark_error for outcome in outcomes])
    measured = errors[(sides >= SIZES["40+"][0]) & np.isfinite(errors)]
    return {
        "recall": {name: _mean(hit[within(sides, name)], 4) for name in SIZES},
        "false_per_100": round(100 * sum(outcome.false for outcome in outcomes) / len(outcomes), 2),
        "landmark_error": _mean(measured, 2),
    }


def within(sides: Floats, size: str) -> NDArray[np.bool_]:
    """Which faces with the longer ``sides`` belong to the ``size`` of that name in ``SIZES``."""
    least, below = SIZES[size]
    return (sides >= least) & (sides < below)


def clipped(boxes: Floats, width: int, height: int) -> Floats:
    """``boxes`` (n, 4) cut to a picture of ``width`` × ``height``; those outside of it lose their sides."""
    low = np.clip(boxes[:, :2], 0, (width, height))
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, (width, height))
    return np.concatenate([low, high - low], axis=1)


def matched(overlap: NDArray[np.floating]) -> NDArray[np.int64]:
    """The finding that each face takes, (faces,), or -1; from ``overlap`` (faces, findings), the largest first."""
    match = np.full(len(overlap), -1, dtype=np.int64)
    left = overlap.copy()
    while left.size and left.max() >= HIT:
        face, finding = np.unravel_index(left.argmax(), left.shape)
        match[face] = finding
        left[face], left[:, finding] = 0, 0
    return match


def landmark_errors(found: Floats, true: Floats) -> Floats:
    """Mean distance of five landmarks (faces, 5, 2) from the ``true`` ones, in % of the distance between the true eyes."""
    eyes = np.linalg.norm(true[:, 0] - true[:, 1], axis=1)
    return np.asarray(100 * np.linalg.norm(found - true, axis=2).mean(axis=1) / eyes)


def _holds_centre(boxes: Floats, findings: Floats) -> NDArray[np.bool_]:
    """Whether each of ``boxes`` (n, 4) holds the centre of each of ``findings`` (m, 4), (n, m)."""
    centres = findings[:, :2] + findings[:, 2:] / 2
    low, high = boxes[:, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None]
    return np.asarray(((centres >= low) & (centres <= high)).all(axis=2))


def _mean(values: NDArray[Any], digits: int) -> float | None:
    return round(float(values.mean()), digits) if len(values) else None
