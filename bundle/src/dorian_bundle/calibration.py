"""Calibration: what a translator is to be asked for, so that a face asked for at 60 is read as one of 60."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE

# A change of fewer years is corrected by less, in a line down to no change, which nothing may alter.
FULL_CHANGE = 10.0


class CalibrationPoint(BaseModel):
    """For a face asked for at ``asked`` years: the years to add to them, and how many times the delta is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: float = Field(ge=MIN_AGE, le=MAX_AGE)
    offset: float = Field(ge=-MAX_AGE, le=MAX_AGE)
    strength: float = Field(gt=0, le=3)


class Calibration(BaseModel):
    """A curve through ``points``, straight between them and level beyond the first and the last; none: nothing to correct."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[CalibrationPoint, ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> Calibration:
        for before, after in pairwise(self.points):
            if after.asked <= before.asked:
                raise ValueError(f"calibration points must ascend: {after.asked:g} follows {before.asked:g}")
        return self

    def correct(self, source: float, asked: float) -> tuple[float, float]:
        """What to draw a face of ``source`` years at, in years, and the delta's factor, when it is wished at ``asked``."""
        if not self.points:
            return asked, 1.0
        ages = [point.asked for point in self.points]
        offset = float(np.interp(asked, ages, [point.offset for point in self.points]))
        strength = float(np.interp(asked, ages, [point.strength for point in self.points]))
        share = min(1.0, abs(asked - source) / FULL_CHANGE)
        return asked + share * offset, 1.0 + share * (strength - 1.0)
