"""How alike two photographs of one adult are, by the years between them; and what a similarity therefore means."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from dorian_bundle.entries import Entry

YearsBound = Literal["about", "at_most", "at_least"]


@dataclass(frozen=True)
class YearsApart:
    """How many years apart two photographs of one adult with some similarity are on average.

    ``bound`` is "at_most" for similarities above the curve's first point, and "at_least" below its last one, as nothing was
    measured beyond them.
    """

    years: float
    bound: YearsBound


class SimilarityByYears(Entry):
    """The mean ``similarity`` of two photographs of one adult that lie ``years`` apart, as measured.

    ``spread``: nine in ten pairs lie above the curve less this. ``source``: on what the curve was measured.
    """

    years: tuple[float, ...] = Field(min_length=2)
    similarity: tuple[float, ...] = Field(min_length=2)
    spread: float = Field(ge=0, le=2)
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check_curve(self) -> Self:
        if len(self.years) != len(self.similarity):
            raise ValueError(f"the curve has {len(self.years)} years, but {len(self.similarity)} similarities")
        if self.years[0] < 0 or not all(before < after for before, after in pairwise(self.years)):
            raise ValueError("the years of the curve must ascend from 0 or more")
        if not all(1 >= before > after >= -1 for before, after in pairwise(self.similarity)):
            raise ValueError("the similarities of the curve must descend within 1 and -1")
        return self

    def years_apart(self, similarity: float) -> YearsApart:
        """Return how many years apart photographs with ``similarity`` are on average, interpolated linearly."""
        if similarity > self.similarity[0]:
            return YearsApart(self.years[0], "at_most")
        if similarity < self.similarity[-1]:
            return YearsApart(self.years[-1], "at_least")
        return YearsApart(float(np.interp(-similarity, -np.asarray(self.similarity), self.years)), "about")
