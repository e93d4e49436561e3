"""How sure an age estimate is: the ages at which it would not be unusual, as measured on faces of known age."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE
from dorian_bundle.entries import Entry

_STEP = 0.25  # years between the ages that are tried


class AgeIntervals(Entry):
    """A confidence belt (Neyman 1937): for each true age, between which bounds estimates lie in a share ``coverage`` of faces.

    Bounds are of the estimate's error, (estimate - age) / spread, at the true ``ages``; between them they are interpolated,
    beyond them level. An interval holds the ages whose bounds hold the estimate, so that whatever a person's age is, the
    interval covers it in that share of photographs. ``faces``: how many the bounds were measured on.
    """

    coverage: float = Field(gt=0, lt=1)
    ages: tuple[float, ...] = Field(min_length=1)
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    min_spread: float = Field(gt=0)
    faces: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not len(self.ages) == len(self.lower) == len(self.upper):
            raise ValueError("ages, lower and upper of age intervals must be of one length")
        if any(after <= before for before, after in pairwise(self.ages)):
            raise ValueError("ages of age intervals must ascend")
        if any(low >= high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError("lower bounds of age intervals must be below the upper ones")
        return self

    def interval(self, estimate: float, spread: float) -> tuple[float, float]:
        """Return the lowest and the highest age, in years, that an estimate allows.

        Args:
            estimate: The estimated age in years.
            spread: Standard deviation of the distribution that the estimate is the mean of, in years.
        """
        candidates = np.arange(MIN_AGE, MAX_AGE + _STEP, _STEP)
        error = (estimate - candidates) / max(spread, self.min_spread)  # (candidates,)
        lower = np.interp(candidates, self.ages, self.lower)
        upper = np.interp(candidates, self.ages, self.upper)
        allowed = candidates[(error >= lower) & (error <= upper)]
        if not len(allowed):  # between two ages whose bounds are far apart
            outside = np.maximum(lower - error, error - upper)
            allowed = candidates[[int(outside.argmin())]]
        return float(allowed[0]), float(allowed[-1])
