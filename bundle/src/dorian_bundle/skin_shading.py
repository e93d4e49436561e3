"""The colours of light and shadow on skin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.tensors import luma

# By which shares red, green and blue change, counted from black, where a shadow changes the luma of skin by a share of 1: skin
# lets red light through, so that what is in its shadow is redder. Medians over faces of FairFace and portraits: decision 27.
SHADING = (0.92, 1.05, 1.12)

_DARKEST = 0.02  # of the range from black to white, by which pixels count as lighter, so that black ones have a colour


def shading_of(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much red, green and blue change where the luma of pixels changes by 1.

    Args:
        colours: Of the pixels, RGB float32 (height, width, 3) in [0, 1].

    Returns:
        float32 (height, width, 3), of a luma of 1.
    """
    shading = (colours + np.float32(_DARKEST)) * np.array(SHADING, dtype=np.float32)
    return np.asarray(shading / luma(shading)[..., None], dtype=np.float32)
