"""The real faces that an export needs, of no training split where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_training.data.crops import Crops

Item = TypeVar("Item")


def pick_evenly(items: Sequence[Item], max_items: int) -> list[Item]:
    """Return ``items``, or ``max_items`` of them from first to last, evenly spaced."""
    indices = np.linspace(0, len(items) - 1, min(len(items), max_items)).round().astype(int)
    return [items[index] for index in indices]


@dataclass(frozen=True)
class Faces:
    """Faces to verify, calibrate and measure on.

    Attributes:
        crops: At least 8 faces with ages, as large as the largest network's of a method.
        people: Faces with identities, cut with a margin about what FaceNet sees (see ``with_margin``).
        aged: Faces whose age is known exactly, cut with a margin about what the age estimator sees.
        strangers: Faces of different people of known ethnicity and gender, cut as ``people``; ``None`` if there are none.
    """

    crops: Crops
    people: Crops
    aged: Crops
    strangers: Crops | None = None

    def resized(self, size: int) -> NDArray[np.uint8]:
        """Return ``crops`` as RGB uint8 (faces, size, size, 3)."""
        if self.crops.size == size:
            return self.crops.pixels
        return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in self.crops.pixels])
