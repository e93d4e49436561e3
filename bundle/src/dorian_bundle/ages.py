"""Age groups, and the conditions that ages and group labels become.

The groups are data: every bundle's manifest carries its own list. ``PAPER_GROUPS`` are the six of Antipov et al. 2017, §3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dorian_bundle.errors import AgeError

MIN_AGE = 0.0
MAX_AGE = 120.0


class AgeGroup(BaseModel):
    """One age group: ``label`` as users write it, whole years ``low`` to ``high`` (none: no upper end), both included.

    ``centre`` is the age in years at which the group's condition stands alone, unblended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(min_length=1, max_length=32)
    low: int = Field(ge=0, le=120)
    high: int | None = Field(default=None, ge=0, le=120)
    centre: float = Field(ge=MIN_AGE, le=MAX_AGE)

    @model_validator(mode="after")
    def _check_order(self) -> AgeGroup:
        top = MAX_AGE if self.high is None else self.high
        if not self.low <= self.centre <= top:
            raise ValueError(f"age group {self.label!r}: centre {self.centre} lies outside {self.low}..{top}")
        return self


PAPER_GROUPS: tuple[AgeGroup, ...] = (
    AgeGroup(label="0-18", low=0, high=18, centre=9.0),
    AgeGroup(label="19-29", low=19, high=29, centre=24.0),
    AgeGroup(label="30-39", low=30, high=39, centre=34.5),
    AgeGroup(label="40-49", low=40, high=49, centre=44.5),
    AgeGroup(label="50-59", low=50, high=59, centre=54.5),
    AgeGroup(label="60+", low=60, high=None, centre=70.0),
)


def check_groups(groups: Sequence[AgeGroup]) -> None:
    """Raise ``AgeError`` unless ``groups`` are at least two, ascending, without gap or overlap, with distinct labels."""
    if len(groups) < 2:
        raise AgeError(f"at least two age groups are needed, got {len(groups)}")
    labels = [normalise_label(group.label) for group in groups]
    if len(set(labels)) != len(labels):
        raise AgeError(f"age group labels repeat: {[group.label for group in groups]}")
    for before, after in pairwise(groups):
        if before.high is None or after.low != before.high + 1:
            raise AgeError(f"age group {after.label!r} must start one year after {before.label!r} ends")


def normalise_label(label: str) -> str:
    """Return ``label`` in lower case, without spaces, every kind of dash as ``-``."""
    return re.sub(r"[\u2010-\u2015\u2212]", "-", re.sub(r"\s+", "", label)).lower()


def group_index(groups: Sequence[AgeGroup], label: str) -> int:
    """Return the index of the group called ``label``; dashes, spaces and case do not matter.

    Raises:
        AgeError: If there is none; it lists those that there are.
    """
    normalised = normalise_label(label)
    for index, group in enumerate(groups):
        if normalise_label(group.label) == normalised:
            return index
    raise AgeError(f"unknown age group {label!r}; known: {', '.join(group.label for group in groups)}")


def group_of_age(groups: Sequence[AgeGroup], age: float) -> int:
    """Return the index of the group that holds ``age`` in years.

    Raises:
        AgeError: If the age is not from 0 to 120, or above the last group.
    """
    check_age(age)
    for index, group in enumerate(groups):
        if group.high is None or age < group.high + 1:
            return index
    raise AgeError(f"no age group holds age {age:g}; the last ends at {groups[-1].high}")


def check_age(age: float) -> None:
    """Raise ``AgeError`` unless ``age`` is a number of years from 0 to 120."""
    if not MIN_AGE <= age <= MAX_AGE:
        raise AgeError(f"age {age:g} is out of range; it must be between {MIN_AGE:g} and {MAX_AGE:g} years")


def group_condition(groups: Sequence[AgeGroup], index: int) -> np.ndarray:
    """Return the one-hot condition of group ``index``, float32 (groups,)."""
    condition = np.zeros(len(groups), dtype=np.float32)
    condition[index] = 1.0
    return condition


def age_condition(groups: Sequence[AgeGroup], age: float) -> np.ndarray:
    """Return the condition of an exact age: the two groups with the nearest centres, blended linearly.

    Before the first centre and after the last, the end group stands alone.

    Returns:
        float32 (groups,), sum 1.

    Raises:
        AgeError: If the age is not from 0 to 120 years.
    """
    check_age(age)
    centres = [group.centre for group in groups]
    position = float(np.interp(age, centres, range(len(groups))))  # 1.25: a quarter of the way from group 1 to group 2
    below = min(int(position), len(groups) - 2)
    condition = np.zeros(len(groups), dtype=np.float32)
    condition[below + 1] = position - below
    condition[below] = 1.0 - condition[below + 1]
    return condition
