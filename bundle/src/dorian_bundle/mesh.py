"""The 73 points of a face that the landmark refiner places: which of them lie where.

Right and left are the person's own. Positions are (x, y), in whatever unit the points are in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE, fit_similarity

POINTS = 73

# The face's outline, from the middle of the forehead clockwise as the viewer sees it; 9 is the chin.
OUTLINE = slice(0, 18)
# Rims of the eyes, from the outer corner on: along the upper lid of the right eye as of the left.
RIGHT_EYE, LEFT_EYE = slice(18, 26), slice(26, 34)
RIGHT_BROW, LEFT_BROW = slice(34, 39), slice(39, 44)  # from the outer end inwards
OUTER_LIPS, INNER_LIPS = slice(44, 56), slice(56, 64)  # from the right corner clockwise as the viewer sees them
NOSE = slice(64, 71)  # bridge, middle, lower bridge, tip, right wing, left wing, base
RIGHT_IRIS, LEFT_IRIS = 71, 72

# Right eye, left eye, nose, right and left mouth corner: the landmarks that faces are aligned by.
ALIGNMENT_POINTS = (RIGHT_IRIS, LEFT_IRIS, 67, 44, 50)

# The point that takes each one's place in a mirror.
MIRRORED_POINTS = (
    *(0, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
    *range(26, 34),
    *range(18, 26),
    *range(39, 44),
    *range(34, 39),
    *(50, 49, 48, 47, 46, 45, 44, 55, 54, 53, 52, 51),
    *(60, 59, 58, 57, 56, 63, 62, 61),
    *(64, 65, 66, 67, 69, 68, 70),
    *(72, 71),
)


# The mean face in three dimensions, in distances between the eyes: x to the viewer's right, y down, z away from the viewer.
# Found by factorising the mesh points of 12,000 faces into a shape and their poses (Tomasi and Kanade 1992), and made
# symmetric.
# fmt: off
MEAN_FACE = np.array(
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


def alignment_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the five landmarks (..., 5, 2) that faces are aligned by, of the mesh ``points`` (..., 73, 2)."""
    return points[..., ALIGNMENT_POINTS, :]


def mean_mesh(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mesh (73, 2) of the mean face, seen from the front, laid on the five ``landmarks`` (5, 2).

    Raises:
        AlignmentError: If they coincide or are not finite.
    """
    front = MEAN_FACE[:, :2]
    matrix = fit_similarity(alignment_landmarks(front), landmarks)
    return np.asarray(front @ matrix[:, :2].T + matrix[:, 2])


def crop_mesh(side: int) -> NDArray[np.float64]:
    """Return the mesh (73, 2) of the mean face in pixels of a crop of ``side`` pixels that is aligned to the default template."""
    return mean_mesh(DEFAULT_TEMPLATE.points(side))
