"""Colours of a region of a photo, as a median and a spread of each channel of CIE Lab."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.tensors import pixels_to_floats

FloatArray = NDArray[np.float32]
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_SOFTENED = 0.7  # sigma in pixels, of noise that says nothing of a region's colour


@dataclass(frozen=True)
class ColourModel:
    """``centre`` and ``spread``, float32 (3,) each, of CIE Lab: lightness 0 to 100, and two of colour."""

    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(
        cls,
        colours: FloatArray,
        least: tuple[float, float, float],
        most: tuple[float, float, float] = (np.inf, np.inf, np.inf),
    ) -> ColourModel:
        """Return the model of ``colours`` (pixels, 3), with a spread from ``least`` to ``most``; medians, which a few others do not move."""
        centre = np.median(colours, axis=0)
        spread = _NORMAL * np.median(np.abs(colours - centre), axis=0)
        return cls(centre.astype(np.float32), np.clip(spread, least, most).astype(np.float32))

    def distance(self, colours: FloatArray) -> FloatArray:
        """Return how many spreads ``colours`` (..., 3) are from the centre: the root of their mean square over the channels, (...)."""
        return np.asarray(np.sqrt(np.square((colours - self.centre) / self.spread).mean(axis=-1)), dtype=np.float32)


def lab_colours(crop: NDArray[np.uint8]) -> FloatArray:
    """Return the colours of ``crop``, uint8 RGB (height, width, 3), as CIE Lab float32 (height, width, 3), softened."""
    lab = cv2.cvtColor(pixels_to_floats(crop), cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.GaussianBlur(lab, (0, 0), _SOFTENED), dtype=np.float32)
