"""Crops made of pixels and ages alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord


def painted_crops(ages: Sequence[int | None], pixels: NDArray[np.uint8]) -> Crops:
    """Return crops of ``pixels`` (faces, size, size, 3) and their ``ages``, without pictures behind them."""
    records = [
        FaceRecord("painted", Path("painted.zip"), str(index), "train", age_low=age, age_high=age)
        for index, age in enumerate(ages)
    ]
    return Crops(pixels, tuple(records))
