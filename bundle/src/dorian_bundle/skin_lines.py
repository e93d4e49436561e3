"""Wrinkles: lines that are drawn where old skin has them, in the direction that they have there, out of the texture of a photo's own skin.

Of real faces only statistics are known: how much energy lines have at each place and age, and how they run. Where on a face each line
lies, and how far it reaches, its own pores and creases say: they are drawn out along the direction, as in a line integral
convolution (Cabral and Leedom 1993). So no two faces get the same wrinkles, and a face at two ages gets them at the same places.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.gaussian import blurred

Levels = NDArray[np.float32]  # (size, size) in grey levels, or in units of a standard deviation

# In parts of a crop's side.
_FINEST, _COARSEST = 0.003, 0.016  # sigmas between which texture lies that lines begin in
_WIDEST = 0.02  # sigma, beyond which what is drawn out is no line
_REACH, _FADE = 0.08, 0.035  # how far a line follows its direction from each pixel, and the sigma by which that fades
_AROUND = 0.055  # sigma of the mean around a pixel, by which amplitudes are evened out
_STEP = 0.008  # between the pixels that are averaged along a line
_NOISE = 0.6  # grey levels, below which texture is none
_STRONGEST_GRAIN = 12.0  # grey levels, that a mole counts as at most
_FIRST, _DEEPEST = 0.5, 2.5  # standard deviations of texture at which a line begins, and how many deeper it gets
_RIDGE = 0.35  # how high its banks are, of how deep it is


def skin_grain(levels: Levels) -> Levels:
    """Return the texture that lines begin in, of a luma ``levels``: about as strong everywhere, (size, size)."""
    fine = blurred(levels, _FINEST) - blurred(levels, _COARSEST)
    return _evened(np.clip(fine, -_STRONGEST_GRAIN, _STRONGEST_GRAIN), _NOISE)


def draw_lines(grain: Levels, direction: NDArray[np.float32]) -> Levels:
    """Return lines along a direction, dark with lighter banks, of amplitudes of about 1, (size, size).

    Args:
        grain: Where they begin; see ``skin_grain``.
        direction: How they run, (2, cells, cells): cosine and sine of twice the angle from the rows, as a gradient's is.
    """
    size = len(grain)
    total, weights = grain.copy(), 1.0
    for columns, rows, weight in _paths(direction.tobytes(), direction.shape[1], size):
        total += weight * cv2.remap(grain, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        weights += weight
    drawn = total / weights
    drawn = _evened(drawn - blurred(drawn, _WIDEST), 1e-3)
    lines = _RIDGE * np.clip(drawn - _FIRST, 0, _DEEPEST) - np.clip(-drawn - _FIRST, 0, _DEEPEST)
    return np.asarray(lines - blurred(lines, 2 * _WIDEST), dtype=np.float32)


@lru_cache(maxsize=4)
def _paths(direction: bytes, cells: int, size: int) -> tuple[tuple[Levels, Levels, float], ...]:
    """The columns and rows (size, size) that lie on the line through each pixel, step by step to both sides, and how much they count."""
    double = np.frombuffer(direction, np.float32).reshape(2, cells, cells)
    along, across = (cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC) for part in double)
    angle = np.arctan2(across, along) / 2 + np.pi / 2  # a line runs at a right angle to the gradient
    field = np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)  # columns and rows per step
    start = np.stack(np.meshgrid(np.arange(size), np.arange(size))).astype(np.float32)
    step, paths = _STEP * size, list[tuple[Levels, Levels, float]]()
    for side in (1, -1):
        at, heading = start, np.float32(side) * field
        for number in range(1, round(_REACH / _STEP) + 1):
            at = at + np.float32(step) * heading
            there = np.stack(
                [cv2.remap(part, at[0], at[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) for part in field]
            )
            turned = (there * heading).sum(axis=0) < 0  # a direction has no sign
            heading = np.where(turned, -there, there)
            paths.append((at[0], at[1], float(np.exp(-((number * _STEP / _FADE) ** 2) / 2))))
    return tuple(paths)


def _evened(values: Levels, floor: float) -> Levels:
    """``values`` over their standard deviation around each pixel, and ``floor``."""
    around = np.sqrt(np.maximum(blurred(np.square(values), _AROUND), 0))
    return np.asarray(values / (around + floor), dtype=np.float32)
