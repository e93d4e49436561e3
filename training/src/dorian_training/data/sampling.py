"""How often training draws each face: chances that lift rare ages, rare people and sharp pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dorian_bundle.tensors import luma
from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord

# Rows of a crop, as shares of its side, in which sharpness is looked at: eyes have edges at any age.
_EYES = (0.25, 0.6)
_FINE, _MIDDLE = 1.0, 2.0  # pixels, Gaussian deviations that part the bands of light that are compared


def flattening_weights(crops: Crops, width: int = 5, power: float = 0.5) -> Tensor:
    """Return the chances (faces,) that lift rare ages: one over how many faces share a label's ``width`` years, to a ``power``."""
    bins = _age_bins(crops.records, width)
    return torch.from_numpy(np.bincount(bins)[bins] ** -power).float()


def people_weights(crops: Crops, width: int, power: float = 0.5) -> Tensor:
    """Return factors (faces,) that lift rare pairs of ethnicity and gender within each ``width`` years; see ``kind_weights``."""
    return torch.from_numpy(kind_weights(crops.records, people_kinds(crops.records), width, power)).float()


def people_kinds(records: Sequence[FaceRecord]) -> list[str]:
    """Return each face's ethnicity and gender, such as ``Black Female``; of either nothing where it is unknown."""
    return [f"{record.ethnicity} {record.gender}" for record in records]


def kind_weights(records: Sequence[FaceRecord], kinds: Sequence[str], width: int, power: float) -> NDArray[np.float64]:
    """Return factors (faces,) that lift rare kinds of faces within each ``width`` years, of mean 1 in each.

    A kind's factor is one over its number of faces there, to a ``power``.
    """
    bins = _age_bins(records, width)
    cells = np.unique([f"{age} {kind}" for age, kind in zip(bins, kinds, strict=True)], return_inverse=True)[1]
    weights = np.bincount(cells)[cells].astype(np.float64) ** -power
    means = np.bincount(bins, weights) / np.maximum(np.bincount(bins), 1)
    return np.asarray(weights / means[bins])


def sharpness_weights(crops: Crops, width: int) -> Tensor:
    """Return factors (faces,) that lift sharp pictures among the faces of each ``width`` years: about 0 for the most blurred, 3 for the sharpest.

    They are three times the square of the share of those faces that are more blurred, so that ages stay as frequent as they
    were. A face is as sharp as the finest light around its eyes is strong against the next band, which tells a blurred picture
    from one of few edges.
    """
    sharpness = np.asarray([_sharpness(pixels) for pixels in crops.pixels])
    bins = _age_bins(crops.records, width)
    weights = np.empty(len(crops))
    for age in np.unique(bins):
        faces = np.flatnonzero(bins == age)
        ranks = np.argsort(np.argsort(sharpness[faces]))
        weights[faces] = 3 * ((ranks + 0.5) / len(faces)) ** 2
    return torch.from_numpy(weights).float()


def _age_bins(records: Sequence[FaceRecord], width: int) -> NDArray[np.int64]:
    """The span of ``width`` years that each face's label lies in, (faces,), counted from birth."""
    return np.asarray([int(record.age or 0) // width for record in records])


def _sharpness(pixels: NDArray[np.uint8]) -> float:
    """How strong the finest band of light is against the next, of a crop (size, size, 3), uint8, around its eyes."""
    first, last = (round(share * len(pixels)) for share in _EYES)
    light = luma(pixels[first:last].astype(np.float32))
    fine, middle = (cv2.GaussianBlur(light, (0, 0), deviation) for deviation in (_FINE, _MIDDLE))
    return float((light - fine).std() / ((fine - middle).std() + 1.0))
