"""Pixels as 8-bit numbers and as the floats that graphs take, in both directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WHITE = np.float32(255)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # of red, green and blue


def crops_to_images(crops: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return crops as a batch of images.

    Args:
        crops: uint8 RGB, an array (batch, size, size, 3) or a sequence of (size, size, 3).

    Returns:
        float32 RGB in [0, 1], (batch, 3, size, size), contiguous.
    """
    return np.ascontiguousarray(np.asarray(crops).transpose(0, 3, 1, 2), dtype=np.float32) / _WHITE


def images_to_crops(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return images as crops, rounded to the nearest of 256 levels and clipped.

    Args:
        images: float RGB in [0, 1], (batch, 3, size, size).

    Returns:
        uint8 RGB (batch, size, size, 3).
    """
    return floats_to_pixels(images).transpose(0, 2, 3, 1)


def pixels_to_floats(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return uint8 ``pixels`` of any shape as float32 in [0, 1] of the same shape."""
    return np.asarray(pixels, dtype=np.float32) / _WHITE


def floats_to_pixels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return ``values`` in [0, 1], of any shape, as uint8 of the same shape, rounded to the nearest level and clipped."""
    return np.asarray(np.rint(values * 255).clip(0, 255), dtype=np.uint8)


def luma(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the luma of RGB ``values`` (..., 3), float32 (...) in the unit of the values."""
    return np.asarray(np.asarray(values, dtype=np.float32) @ _LUMA, dtype=np.float32)
