"""What ageing is measured at: the targets, the faces to age, and the real faces to compare them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import AgeGroup
from dorian_client import Filter
from dorian_client import Target as RequestTarget
from dorian_evaluation.faces.age_errors import face_groups
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

MIN_AGE, MAX_AGE = 18.0, 70.0  # years, of the faces that are aged
MIN_REAL_FACES = 30  # of an age; with as many, the window around it is not widened
WINDOWS = (3, 4, 5, 6)  # years around an age, tried in turn


@dataclass(frozen=True)
class Target:
    """What faces are changed to: an age in years, an age group, or a filter.

    Attributes:
        label: The name of the target in reports; of an age group or filter also its name in requests.
        years: The age, or the centre of the age group; None for a filter.
        is_group: Whether it is an age group.
    """

    label: str
    years: float | None = None
    is_group: bool = False

    @property
    def request(self) -> RequestTarget:
        """The target as the SDK takes it."""
        if self.is_group:
            return self.label
        return Filter(self.label) if self.years is None else self.years


def age_targets(ages: Sequence[float]) -> tuple[Target, ...]:
    """Return a target for each of ``ages`` in years."""
    return tuple(Target(f"{age:g}", age) for age in ages)


def group_targets(groups: Sequence[AgeGroup]) -> tuple[Target, ...]:
    """Return a target for each age group."""
    return tuple(Target(group.label, group.centre, is_group=True) for group in groups)


def sample_faces(
    records: Sequence[FaceRecord], count: int, seed: int, ages: tuple[float, float] = (MIN_AGE, MAX_AGE)
) -> list[FaceRecord]:
    """Return faces, of adults unless ``ages`` says else, evenly over decades and, within a decade, over pairs of gender and ethnicity.

    Decades take turns, and within a decade the pairs do, each in random order; what has no face left is passed over.

    Args:
        records: The faces to choose from.
        count: How many to return; all if there are fewer.
        seed: Of the random order.
        ages: The lowest and highest ages that are used, in years.

    Raises:
        DataError: No face is of that age.
    """
    lowest, highest = ages
    usable = [record for record in records if record.age is not None and lowest <= record.age <= highest]
    if not usable:
        raise DataError(f"no face of the test split is {lowest:g} to {highest:g} years old")
    random = np.random.default_rng(seed)
    groups = face_groups(usable)
    people = np.char.add(np.char.add(groups["gender"], " "), groups["ethnicity"])
    queues = []
    for decade in np.unique(groups["decade"]):
        members = np.flatnonzero(groups["decade"] == decade)
        cells = [random.permutation(members[people[members] == name]).tolist() for name in np.unique(people[members])]
        random.shuffle(cells)
        queues.append(list(_take_turns(cells)))
    order = list(_take_turns(queues))
    return [usable[index] for index in order[:count]]


def find_faces_of_age(
    records: Sequence[FaceRecord], years: float, prefer_exact: bool = True
) -> tuple[NDArray[np.int64], int]:
    """Return the indices of faces of about an age, and how many years they may be off.

    Faces of exact age count, in the narrowest of ``WINDOWS`` that holds ``MIN_REAL_FACES``. If none does, or unless exact ages are
    preferred, faces of an age bracket count by its middle, too; if still none does, the widest window is taken with what it holds.
    """
    ages = np.asarray([np.nan if record.age is None else record.age for record in records], dtype=np.float64)
    is_exact = np.asarray([record.age_low == record.age_high for record in records], dtype=np.bool_)
    indices = np.zeros(0, dtype=np.int64)
    is_any = np.ones(len(records), dtype=np.bool_)
    for is_usable in (is_exact, is_any) if prefer_exact else (is_any,):
        for window in WINDOWS:
            indices = np.flatnonzero(is_usable & (np.abs(ages - years) <= window))
            if len(indices) >= MIN_REAL_FACES:
                return indices, window
    return indices, WINDOWS[-1]


def count_faces(measured: int, skipped: Sequence[str]) -> dict[str, Any]:
    """Return how many faces were to be measured and were, and how often they were skipped by reason, most frequent first."""
    return {"asked": measured + len(skipped), "measured": measured, "left_out": dict(Counter(skipped).most_common())}


def _take_turns(queues: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the first item of each queue, then the second of each, and so on."""
    for position in range(max(map(len, queues))):
        for queue in queues:
            if position < len(queue):
                yield queue[position]
