"""The real faces that methods of any age are calibrated on, and the age estimator that reads them drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dorian_export.calibration import ADULT, Ages, EstimateDrawn
from dorian_export.errors import ExportError
from dorian_export.faces import Faces, pick_evenly
from dorian_training.data.batches import as_images
from dorian_training.networks.age_estimator import AgeEstimator, read_ages

_BATCH = 64
_OLDEST = 70  # years, of a face that is changed


@dataclass(frozen=True)
class CalibrationFaces:
    """Faces whose age is known exactly, and the estimator that reads them.

    ``known`` (faces, 3, size, size) in [-1, 1] and ``ages`` (faces,) are of all of them; ``images`` (changed, 3, size, size) and
    ``sources`` (changed,) are of those that are changed.
    """

    estimator: AgeEstimator
    known: Tensor
    ages: NDArray[np.floating]
    images: Tensor
    sources: Tensor

    @torch.no_grad()
    def estimates(self) -> Ages:
        """Return how old all of the faces are read as they are, (faces,)."""
        return torch.cat([read_ages(self.estimator, chunk) for chunk in torch.split(self.known, _BATCH)]).numpy()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the faces that are changed and their ages in batches."""
        return zip(torch.split(self.images, _BATCH), torch.split(self.sources, _BATCH), strict=True)

    def read(self, deltas: Sequence[Tensor]) -> Ages:
        """Return how old the faces that are changed are read, (changed,), with a delta (batch, ...) per batch added to them."""
        estimates = [
            read_ages(self.estimator, (image + delta).clamp(-1, 1))
            for (image, _), delta in zip(self.batches(), deltas, strict=True)
        ]
        return torch.cat(estimates).numpy()

    def estimate_drawn(self, deltas: Callable[[float], list[Tensor]]) -> EstimateDrawn:
        """Return how old the faces are read at a target age and a factor on what ``deltas`` gives for it, a delta per batch."""
        cached = lru_cache(maxsize=1)(deltas)  # one target is drawn at several strengths before the next
        return lambda target_age, strength: self.read([strength * delta for delta in cached(target_age)])


def calibration_faces(
    faces: Faces, estimator: AgeEstimator, size: int, youngest: float = ADULT, count: int = 150
) -> CalibrationFaces:
    """Return the faces of known age among ``faces`` at ``size`` pixels.

    Args:
        faces: Real faces.
        estimator: Reads them.
        size: Side in pixels.
        youngest: Age in years from which on they are changed, up to 70.
        count: How many are changed, at most.

    Raises:
        ExportError: If there is no face to change.
    """
    known = faces.crops.where(np.asarray([r.age_low == r.age_high for r in faces.crops.records], dtype=bool))
    ages = np.asarray([record.age for record in known.records], dtype=np.float32)
    changed = np.flatnonzero((ages >= youngest) & (ages <= _OLDEST))
    if not len(changed):
        message = (
            f"calibration needs validation faces from {youngest:g} to {_OLDEST:g} years whose age is known exactly"
        )
        raise ExportError(message)
    images = as_images(torch.from_numpy(known.pixels))
    if images.shape[2] != size:
        images = F.interpolate(images, (size, size), mode="area")
    picked = torch.tensor(pick_evenly(changed.tolist(), count))
    return CalibrationFaces(estimator, images, ages, images[picked], torch.from_numpy(ages)[picked])
