"""The real faces that methods of any age are calibrated on, and the age estimator that reads them drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dorian_export.calibration import Ages, EstimateDrawn
from dorian_export.errors import ExportError
from dorian_export.faces import Faces, pick_evenly
from dorian_training.data.batches import as_images
from dorian_training.networks.age_estimator import AgeEstimator, expected_age
from dorian_training.networks.layers import at_side

_BATCH = 64
_MIN_ADULT, _MAX_ADULT = 18, 70  # ages of the faces that are changed
_MAX_FACES = 150


@dataclass(frozen=True)
class CalibrationFaces:
    """Faces whose age is known exactly, and the estimator that reads them.

    ``ages`` and ``estimates`` (faces,) are of all of them; ``adults`` (adults, 3, size, size) in [-1, 1] and ``adult_ages``
    (adults,) are those that are changed.
    """

    estimator: AgeEstimator
    ages: NDArray[np.floating]
    estimates: NDArray[np.floating]
    adults: Tensor
    adult_ages: Tensor

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the adults and their ages in batches."""
        return zip(torch.split(self.adults, _BATCH), torch.split(self.adult_ages, _BATCH), strict=True)

    def estimate_drawn(self, deltas: Callable[[float], list[Tensor]]) -> EstimateDrawn:
        """Return how old the adults are read at a target age and a factor on what ``deltas`` gives for it, a delta per batch."""
        cached = lru_cache(maxsize=1)(deltas)  # one target is drawn at several strengths before the next

        def estimate(target_age: float, strength: float) -> Ages:
            estimates = [
                read_ages(self.estimator, (image + strength * delta).clamp(-1, 1))
                for (image, _), delta in zip(self.batches(), cached(target_age), strict=True)
            ]
            return torch.cat(estimates).numpy()

        return estimate


@torch.no_grad()
def calibration_faces(faces: Faces, estimator: AgeEstimator, size: int) -> CalibrationFaces:
    """Return the faces of known age among ``faces`` at ``size`` pixels; ``ExportError`` if there is no adult."""
    known = faces.crops.where(np.asarray([r.age_low == r.age_high for r in faces.crops.records], dtype=bool))
    ages = np.asarray([record.age for record in known.records], dtype=np.float32)
    adults = np.flatnonzero((ages >= _MIN_ADULT) & (ages <= _MAX_ADULT))
    if not len(adults):
        raise ExportError("calibration needs validation faces from 18 to 70 years whose age is known exactly")
    images = as_images(torch.from_numpy(known.pixels))
    if images.shape[2] != size:
        images = F.interpolate(images, (size, size), mode="area")
    estimates = torch.cat([read_ages(estimator, chunk) for chunk in torch.split(images, _BATCH)]).numpy()
    adult = torch.tensor(pick_evenly(adults.tolist(), _MAX_FACES))
    return CalibrationFaces(estimator, ages, estimates, images[adult], torch.from_numpy(ages)[adult])


def read_ages(estimator: AgeEstimator, image: Tensor) -> Tensor:
    """Return the ages (batch,) in years that ``estimator`` reads in ``image`` (batch, 3, size, size), in [-1, 1]."""
    return expected_age(estimator(at_side(image, estimator.size)))
