"""Tables by age: arrays of a value at each of some ages, between which it is a straight line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.errors import GraphFileError


def value_at_age(ages: NDArray[np.float32], values: NDArray[np.float32], age: float) -> NDArray[np.float32]:
    """Return the value (...) of a table at an age; beyond its ages that of the nearest.

    Args:
        ages: Of the table, (ages,), ascending years.
        values: At each of them, (ages, ...).
        age: In years.
    """
    above = int(np.clip(np.searchsorted(ages, age), 1, len(ages) - 1))
    low, high = ages[above - 1], ages[above]
    share = np.float32(np.clip((age - low) / (high - low), 0, 1))
    value: NDArray[np.float32] = values[above - 1] * (1 - share) + values[above] * share
    return value


def check_ages(path: Path, ages: NDArray[np.float32]) -> None:
    """Check the ages of the table in ``path``.

    Raises:
        GraphFileError: If they are not two or more finite numbers in ascending order.
    """
    if ages.ndim != 1 or len(ages) < 2 or not (np.diff(ages) > 0).all():
        raise GraphFileError(f"{path} has ages of shape {ages.shape}; two or more in ascending order are needed")
    if not np.isfinite(ages).all():
        raise GraphFileError(f"{path} holds numbers that are not finite")
