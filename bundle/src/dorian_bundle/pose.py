"""Head pose: how a face is turned, from the 73 points of its mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.errors import AlignmentError
from dorian_bundle.mesh import POINTS

# The mean face in three dimensions, in distances between the eyes: x to the viewer's right, y down, z away from the viewer.
# Found by factorising the mesh points of 12,000 faces into a shape and their poses (Tomasi and Kanade 1992), and made
# symmetric.
# fmt: off
_MEAN_FACE = np.array(
    [
        (0.00, -1.15, -0.05), (0.55, -1.10, 0.04), (0.93, -0.90, 0.23), (1.06, -0.57, 0.39), (1.07, -0.15, 0.47),
        (1.03, 0.29, 0.45), (0.87, 0.74, 0.34), (0.61, 1.01, 0.17), (0.36, 1.19, 0.03), (0.00, 1.27, -0.05),
        (-0.36, 1.19, 0.03), (-0.61, 1.01, 0.17), (-0.87, 0.74, 0.34), (-1.03, 0.29, 0.45), (-1.07, -0.15, 0.47),
        (-1.06, -0.57, 0.39), (-0.93, -0.90, 0.23), (-0.55, -1.10, 0.04), (-0.70, -0.39, 0.05), (-0.65, -0.42, 0.03),
        (-0.52, -0.46, 0.01), (-0.36, -0.43, 0.00), (-0.28, -0.36, -0.02), (-0.34, -0.35, -0.01), (-0.49, -0.33, -0.01),
        (-0.63, -0.35, 0.02), (0.70, -0.39, 0.05), (0.65, -0.42, 0.03), (0.52, -0.46, 0.01), (0.36, -0.43, 0.00),
        (0.28, -0.36, -0.02), (0.34, -0.35, -0.01), (0.49, -0.33, -0.01), (0.63, -0.35, 0.02), (-0.89, -0.62, 0.10),
        (-0.79, -0.70, 0.03), (-0.64, -0.73, -0.04), (-0.45, -0.72, -0.11), (-0.23, -0.69, -0.14), (0.89, -0.62, 0.10),
        (0.79, -0.70, 0.03), (0.64, -0.73, -0.04), (0.45, -0.72, -0.11), (0.23, -0.69, -0.14), (-0.43, 0.59, -0.03),
        (-0.33, 0.54, -0.11), (-0.13, 0.49, -0.20), (0.00, 0.51, -0.22), (0.13, 0.49, -0.20), (0.33, 0.54, -0.11),
        (0.43, 0.59, -0.03), (0.33, 0.71, -0.08), (0.13, 0.81, -0.15), (0.00, 0.83, -0.17), (-0.13, 0.81, -0.15),
        (-0.33, 0.71, -0.08), (-0.39, 0.60, -0.04), (-0.20, 0.58, -0.14), (0.00, 0.59, -0.19), (0.20, 0.58, -0.14),
        (0.39, 0.60, -0.04), (0.20, 0.66, -0.11), (0.00, 0.69, -0.16), (-0.20, 0.66, -0.11), (0.00, -0.44, -0.14),
        (0.00, -0.31, -0.19), (0.00, -0.11, -0.28), (0.00, 0.22, -0.36), (-0.29, 0.26, -0.17), (0.29, 0.26, -0.17),
        (0.00, 0.31, -0.26), (-0.50, -0.40, 0.03), (0.50, -0.40, 0.03),
    ]
)  # (73, 3)
# fmt: on


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
    model = _MEAN_FACE - _MEAN_FACE.mean(axis=0)
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
