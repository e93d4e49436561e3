"""The grid that upsampling may leave in a delta: power at its frequencies against the frequencies beside them.

A network that enlarges by pixel shuffle or transposed convolution can treat the pixels of each block differently. The pattern
repeats every 2 pixels, or every 4 if it enlarges twice: lines of the spectrum at 1/2 and at 1/4 cycle per pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_evaluation.images import Pixels

PERIODS = {"every_2": 2, "every_4": 4}  # pixels
_OFFSETS = (2, 3)  # frequencies beside a line to compare with; the window spreads a line over its neighbours


def crop_delta(
    before: Pixels, after: Pixels, landmarks: NDArray[np.float64], template: AlignmentTemplate, size: int
) -> NDArray[np.float32]:
    """Return what was added to a photo, in grey levels, at the pixels of a face's crop.

    It is sampled by cubic interpolation without smoothing, as it was added, so that the crop's own pixels are recovered.

    Args:
        before: The photo, RGB uint8 (height, width, 3).
        after: The aged photo.
        landmarks: Of the face, (5, 2).
        template: What the crop is aligned to.
        size: Side of the crop in pixels.

    Returns:
        float32 (size, size).
    """
    delta = np.asarray((after.astype(np.float32) - before).mean(axis=2), dtype=np.float32)
    matrix = crop_matrix(landmarks, template, size)
    return np.asarray(cv2.warpAffine(delta, matrix, (size, size), flags=cv2.INTER_CUBIC), dtype=np.float32)


def power_spectrum(delta: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the power of a delta (size, size) by frequency, (size, size), from frequency 0, under a Hann window."""
    window = np.hanning(len(delta) + 1)[:-1]
    return np.asarray(np.abs(np.fft.fft2(delta * window[:, None] * window)) ** 2)


def grid_ratios(power: NDArray[np.float64]) -> dict[str, float | None]:
    """Return, for each of ``PERIODS``, the power along its two lines against the mean of the lines beside them.

    Args:
        power: Mean spectrum of deltas, (size, size).

    Returns:
        About 1 or less without a grid, as the power of photos falls with frequency; None without power beside the line.
    """
    size = len(power)
    lines = power.sum(axis=1) + power.sum(axis=0)  # (size,)
    ratios: dict[str, float | None] = {}
    for name, period in PERIODS.items():
        line = size // period
        beside = float(np.mean([lines[(line + sign * offset) % size] for offset in _OFFSETS for sign in (-1, 1)]))
        ratios[name] = float(lines[line]) / beside if beside > 0 else None
    return ratios
