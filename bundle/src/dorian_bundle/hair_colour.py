"""Colours of a region of a photo, as a median and a spread of each channel of CIE Lab."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.masks import depth_in_face, skin_mask
from dorian_bundle.mesh import LEFT_BROW, LEFT_IRIS, RIGHT_BROW, RIGHT_IRIS
from dorian_bundle.tensors import pixels_to_floats

FloatArray = NDArray[np.float32]
SKIN_SPREAD = (5.0, 2.5, 3.0)  # of skin's colours, at least
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


def eye_distance(mesh: NDArray[np.float64]) -> float:
    """Return the distance between the eyes of ``mesh`` (73, 2) in pixels, 1 at least."""
    return max(float(np.hypot(*(mesh[LEFT_IRIS] - mesh[RIGHT_IRIS]))), 1.0)


def eye_height(mesh: NDArray[np.float64]) -> float:
    """Return the row of the middle of the eyes of ``mesh`` (73, 2)."""
    return float(mesh[[LEFT_IRIS, RIGHT_IRIS], 1].mean())


def brow_height(mesh: NDArray[np.float64]) -> float:
    """Return the row of the highest point of the brows of ``mesh`` (73, 2)."""
    return float(min(mesh[RIGHT_BROW, 1].min(), mesh[LEFT_BROW, 1].min()))


def sure_skin(mesh: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """Return where in a crop of ``size`` the face ``mesh`` (73, 2) shows skin without doubt: below the brows, far from its outline."""
    within = depth_in_face(mesh, size) > 0.25 * eye_distance(mesh)
    return np.asarray(within & (np.arange(size)[:, None] > brow_height(mesh)) & (skin_mask(mesh, size) > 0.9))


def lab_colours(crop: NDArray[np.uint8]) -> FloatArray:
    """Return the colours of ``crop``, uint8 RGB (height, width, 3), as CIE Lab float32 (height, width, 3), softened."""
    lab = cv2.cvtColor(pixels_to_floats(crop), cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.GaussianBlur(lab, (0, 0), _SOFTENED), dtype=np.float32)
