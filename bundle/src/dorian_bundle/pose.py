"""Head pose: how a face is turned, from the 73 points of its mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.errors import AlignmentError
from dorian_bundle.mesh import MEAN_FACE, POINTS


@dataclass(frozen=True)
class Pose:
    """How a face is turned, in degrees.

    Attributes:
        yaw: Above 0: it looks to the viewer's right.
        pitch: Above 0: it looks up.
        roll: Above 0: its head is tilted clockwise, as the viewer sees it; from -180 to 180.
    """

    yaw: float
    pitch: float
    roll: float


def estimate_pose(points: NDArray[np.float64]) -> Pose:
    """Return the pose in which the mean face, seen from afar, comes nearest to the mesh ``points`` (73, 2).

    Raises:
        AlignmentError: If the points lie in one point or on one line, or are not finite.
    """
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise AlignmentError(f"mesh points must be finite and of shape ({POINTS}, 2), got {points.shape}")
    centred = points - points.mean(axis=0)
    model = MEAN_FACE - MEAN_FACE.mean(axis=0)
    rows, *_ = np.linalg.lstsq(model, centred, rcond=None)  # (3, 2): the projection's rows, as columns
    try:
        left, lengths, right = np.linalg.svd(rows.T, full_matrices=False)
    except np.linalg.LinAlgError as error:
        raise AlignmentError("mesh points determine no pose") from error
    if lengths[1] < 1e-3 * max(lengths[0], 1e-9) or lengths[0] < 1e-6:
        raise AlignmentError("mesh points lie on one line; no pose follows from them")
    first, second = left @ right  # the nearest rows that are orthogonal and of length 1
    looks = -np.array([first[2], second[2], np.cross(first, second)[2]])  # where the nose points, in the photo's frame
    roll = math.atan2(second[0], first[0])  # of the line from ear to ear
    cosine, sine = math.cos(roll), math.sin(roll)
    x, y = cosine * looks[0] + sine * looks[1], -sine * looks[0] + cosine * looks[1]  # in the frame of an upright head
    yaw, pitch = math.atan2(x, -looks[2]), -math.asin(max(-1.0, min(1.0, y)))
    return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))
