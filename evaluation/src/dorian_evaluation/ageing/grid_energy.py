"""The grid that upsampling may leave in a drawn difference: power at its frequencies against that beside them.

A network that enlarges by pixel shuffle or transposed convolution can treat the pixels of each block differently. What that
leaves repeats every 2 pixels, or every 4 where it enlarges twice: lines of the spectrum at 1/2 and at 1/4 cycle a pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_evaluation.ageing.seams import Pixels

PERIODS = {"every_2": 2, "every_4": 4}  # pixels
_BESIDE = (2, 3)  # frequencies away from a line; the window spreads a line over those next to it


def crop_delta(
    before: Pixels, after: Pixels, landmarks: NDArray[np.float64], template: AlignmentTemplate, size: int
) -> NDArray[np.float32]:
    """What was added to a photo, (size, size) grey levels, at the pixels of the crop aligned to ``landmarks`` (5, 2).

    Sampled by cubic interpolation without smoothing, as it was put there, so that the crop's own pixels come back.
    """
    delta = np.asarray((after.astype(np.float32) - before).mean(axis=2), dtype=np.float32)
    matrix = crop_matrix(landmarks, template, size)
    return np.asarray(cv2.warpAffine(delta, matrix, (size, size), flags=cv2.INTER_CUBIC), dtype=np.float32)


def power_spectrum(delta: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power of ``delta`` (size, size) by frequency, (size, size), frequency 0 first, under a Hann window."""
    window = np.hanning(len(delta) + 1)[:-1]
    return np.asarray(np.abs(np.fft.fft2(delta * window[:, None] * window)) ** 2)


def grid_ratios(power: NDArray[np.float64]) -> dict[str, float | None]:
    """For each of ``PERIODS``, the power along its two lines against the mean of the lines 2 and 3 frequencies beside them.

    About 1 or less without a grid, as the power of pictures falls with frequency. ``power`` (size, size) is the mean over
    deltas; ``None`` where there is none beside a line.
    """
    size = len(power)
    lines = power.sum(axis=1) + power.sum(axis=0)
    ratios: dict[str, float | None] = {}
    for name, period in PERIODS.items():
        at = size // period
        beside = float(np.mean([lines[(at + sign * off) % size] for off in _BESIDE for sign in (-1, 1)]))
        ratios[name] = float(lines[at]) / beside if beside > 0 else None
    return ratios
