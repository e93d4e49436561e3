"""Calibration: which age to give an age translator, so that its face for a target of 60 is estimated at 60."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE

# A change of fewer years is corrected by less, linearly down to no change, which stays as it is.
FULL_CHANGE = 10.0


class CalibrationPoint(BaseModel):
    """For a target of ``asked`` years: the years to add to it, and the factor on the delta."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: float = Field(ge=MIN_AGE, le=MAX_AGE)
    offset: float = Field(ge=-MAX_AGE, le=MAX_AGE)
    strength: float = Field(gt=0, le=3)


class EstimatePoint(BaseModel):
    """For a target of ``asked`` years: at what age a face that gets ``younger`` is to be estimated, and one that gets ``older``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: float = Field(ge=MIN_AGE, le=MAX_AGE)
    younger: float = Field(ge=MIN_AGE, le=MAX_AGE)
    older: float = Field(ge=MIN_AGE, le=MAX_AGE)


class CalibrationCurve(BaseModel):
    """A curve through ``points``, straight between them and level beyond the first and the last; none: nothing to correct."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[CalibrationPoint, ...] = ()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        for before, after in pairwise(self.points):
            if after.asked <= before.asked:
                raise ValueError(f"calibration points must ascend: {after.asked:g} follows {before.asked:g}")
        return self

    def at(self, target: float) -> tuple[float, float]:
        """Return the offset in years and the factor on the delta for a ``target`` in years."""
        if not self.points:
            return 0.0, 1.0
        ages = [point.asked for point in self.points]
        offset = float(np.interp(target, ages, [point.offset for point in self.points]))
        return offset, float(np.interp(target, ages, [point.strength for point in self.points]))


class SourceCurve(CalibrationCurve):
    """The curve of faces that are about ``source`` years old."""

    source: float = Field(ge=MIN_AGE, le=MAX_AGE)


class Calibration(CalibrationCurve):
    """The curve of all faces or, where there are any, one ``by_source`` age: straight between two of them, level beyond the ends.

    ``estimates``: at what age the bundle's age estimator is to estimate faces of each target; none: at the target.
    """

    by_source: tuple[SourceCurve, ...] = ()
    estimates: tuple[EstimatePoint, ...] = ()

    @model_validator(mode="after")
    def _check_orders(self) -> Self:
        for before, after in pairwise(curve.source for curve in self.by_source):
            if after <= before:
                raise ValueError(f"calibrated sources must ascend: {after:g} follows {before:g}")
        for before, after in pairwise(point.asked for point in self.estimates):
            if after <= before:
                raise ValueError(f"targets of estimates must ascend: {after:g} follows {before:g}")
        return self

    def correct(self, source: float, target: float) -> tuple[float, float]:
        """Return the age in years to draw a face at, and the factor on its delta.

        Args:
            source: The face's age in years.
            target: The age in years at which it should be estimated.
        """
        if self.by_source:
            corrections = np.asarray([curve.at(target) for curve in self.by_source])  # (curves, 2)
            sources = [curve.source for curve in self.by_source]
            offset, strength = (float(np.interp(source, sources, column)) for column in corrections.T)
        else:
            offset, strength = self.at(target)
        share = min(1.0, abs(target - source) / FULL_CHANGE)
        return target + share * offset, 1.0 + share * (strength - 1.0)

    def wanted_estimate(self, source: float, target: float) -> float:
        """Return at what age a face of ``source`` years is to be estimated that is changed to ``target``; all in years."""
        if not self.estimates:
            return target
        sides = [point.older if target > source else point.younger for point in self.estimates]
        misses = [estimate - point.asked for estimate, point in zip(sides, self.estimates, strict=True)]
        return target + float(np.interp(target, [point.asked for point in self.estimates], misses))
