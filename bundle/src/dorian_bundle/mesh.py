"""The 73 points of a face that the landmark refiner places: which of them lie where.

Right and left are the person's own. Positions are (x, y), in whatever unit the points are in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def alignment_landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the five landmarks (..., 5, 2) that faces are aligned by, of the mesh ``points`` (..., 73, 2)."""
    return points[..., ALIGNMENT_POINTS, :]
