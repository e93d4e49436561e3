"""Gaussian means of square maps, by sigmas in parts of their side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return ``values`` (size, size), or a picture's (size, size, 3), blurred by a Gaussian; ``sigma`` in parts of the side."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma * len(values)), dtype=np.float32)


def broadly_blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """As ``blurred``, for a ``sigma`` of very many pixels: at a quarter of the size."""
    size = len(values)
    small = np.asarray(cv2.resize(values, (size // 4, size // 4), interpolation=cv2.INTER_AREA), dtype=np.float32)
    return np.asarray(cv2.resize(blurred(small, sigma), (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
