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


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """``items``, or ``most`` of them from first to last, as far apart."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


@dataclass(frozen=True)
class Faces:
    """``crops`` to prove graphs and to calibrate on, with ages, and ``people`` to set thresholds on.

    ``crops`` are at least 8, and as large as the largest network's of a method. ``people`` are cut with a margin (see
    ``with_margin``) about what FaceNet sees, and their identities are known.
    """

    crops: Crops
    people: Crops

    def pictures(self, size: int) -> NDArray[np.uint8]:
        """``crops`` as RGB uint8 (faces, size, size, 3)."""
        if self.crops.size == size:
            return self.crops.pixels
        return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_AREA) for each in self.crops.pixels])
