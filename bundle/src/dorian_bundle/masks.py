"""The face's region of a crop, as a soft mask under which methods change a photo, in training and in serving alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The face around its landmarks: half its width in distances between the eyes, and how far it reaches above the eyes and
# below the mouth in distances between these; it takes in the hair above the forehead.
HALF_WIDTH = 1.25
ABOVE_EYES = 0.80
BELOW_MOUTH = 0.85
# Above the eyes the outline is squarer than an ellipse: temples and hair.
ROUND, SQUARE = 2.0, 3.0
FEATHER = 0.45  # of the way from the rim to the centre
BORDER = 0.08  # of the crop's side, over which the mask fades towards what the networks did not see


def face_mask(landmarks: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return the weights of a face's pixels: 1 within the face, 0 at the crop's border.

    Args:
        landmarks: (5, 2), in pixels of the crop.
        size: Side of the crop in pixels.

    Returns:
        float32 (size, size) in [0, 1].
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = mouth - eyes
    length = max(float(np.hypot(*down)), 1e-6)
    down = down / length
    half_width = HALF_WIDTH * max(float(np.hypot(*(landmarks[1] - landmarks[0]))), 0.8 * length)
    top, bottom = -ABOVE_EYES * length, (1 + BELOW_MOUTH) * length
    rows, columns = np.mgrid[:size, :size]
    x, y = columns - eyes[0], rows - eyes[1]
    along = x * down[0] + y * down[1]
    across = np.abs(x * down[1] - y * down[0]) / half_width
    centre = (top + bottom) / 2
    upwards = along < centre
    far = np.abs(along - centre) / ((bottom - top) / 2)
    power = np.where(upwards, SQUARE, ROUND)
    depth = 1 - (across**power + far**power) ** (1 / power)
    edge = (np.minimum.reduce([rows, columns, size - 1 - rows, size - 1 - columns])) / (BORDER * size)
    return np.asarray(_smooth(depth / FEATHER) * _smooth(edge), dtype=np.float32)


def _smooth(depth: NDArray[np.floating]) -> NDArray[np.floating]:
    inside = np.clip(depth, 0, 1)
    return np.asarray(inside**2 * (3 - 2 * inside))
