"""What ageing is measured at: the aims to ask for, the faces to ask it of, and the real faces to compare with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import AgeGroup
from dorian_evaluation.faces.age_errors import face_groups
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

YOUNGEST, OLDEST = 18.0, 70.0  # years of the faces that are aged
ENOUGH = 30  # real faces of an age, from which on no others are looked for
WINDOWS = (3, 4, 5, 6)  # years around an age, tried in turn


@dataclass(frozen=True)
class Aim:
    """What a face is to become: ``years`` old, or what the filter called ``label`` makes of it.

    With ``is_group`` the age group called ``label`` is asked for, whose centre ``years`` is.
    """

    label: str
    years: float | None = None
    is_group: bool = False


def age_aims(ages: Sequence[float]) -> tuple[Aim, ...]:
    """An aim for each of ``ages`` in years."""
    return tuple(Aim(f"{age:g}", age) for age in ages)


def group_aims(groups: Sequence[AgeGroup]) -> tuple[Aim, ...]:
    """An aim for each of ``groups``."""
    return tuple(Aim(group.label, group.centre, is_group=True) for group in groups)


def drawn_faces(records: Sequence[FaceRecord], count: int, seed: int) -> list[FaceRecord]:
    """``count`` of those ``records`` that are ``YOUNGEST`` to ``OLDEST`` years old, or all if there are not so many.

    Decades take turns, and within a decade pairs of gender and ethnicity do, each in an order drawn from ``seed``; what has
    run out is passed over. ``DataError`` if nobody is of that age.
    """
    fitting = [record for record in records if record.age is not None and YOUNGEST <= record.age <= OLDEST]
    if not fitting:
        raise DataError(f"no face of the test split is {YOUNGEST:g} to {OLDEST:g} years old")
    random = np.random.default_rng(seed)
    groups = face_groups(fitting)
    people = np.char.add(np.char.add(groups["gender"], " "), groups["ethnicity"])
    queues = []
    for decade in np.unique(groups["decade"]):
        own = np.flatnonzero(groups["decade"] == decade)
        cells = [random.permutation(own[people[own] == name]).tolist() for name in np.unique(people[own])]
        random.shuffle(cells)
        queues.append(list(_in_turns(cells)))
    order = list(_in_turns(queues))
    return [fitting[index] for index in order[:count]]


def faces_of_age(records: Sequence[FaceRecord], years: float) -> tuple[NDArray[np.int64], int]:
    """Indices of ``records`` that are about ``years`` old, and the years that they may be off.

    Faces of exact age count, in the narrowest of ``WINDOWS`` that holds ``ENOUGH``; if none does, the middles of brackets
    count, too, and if still none does, the widest window is taken with what it holds.
    """
    ages = np.asarray([np.nan if record.age is None else record.age for record in records], dtype=np.float64)
    exact = np.asarray([record.age_low == record.age_high for record in records], dtype=np.bool_)
    found = np.zeros(0, dtype=np.int64)
    for usable in (exact, np.ones(len(records), dtype=np.bool_)):
        for window in WINDOWS:
            found = np.flatnonzero(usable & (np.abs(ages - years) <= window))
            if len(found) >= ENOUGH:
                return found, window
    return found, WINDOWS[-1]


def chosen_face(boxes: NDArray[np.float64], landmarks: NDArray[np.float64]) -> int | None:
    """Which of ``boxes`` (faces, 4), x, y, width, height, holds most of the ``landmarks`` (5, 2), and more than half of them.

    Of several, the one whose centre is nearest to theirs; ``None`` if there is none.
    """
    if not len(boxes):
        return None
    low, high = boxes[:, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None]
    held = ((landmarks >= low) & (landmarks <= high)).all(axis=2).sum(axis=1)
    away = np.linalg.norm(boxes[:, :2] + boxes[:, 2:] / 2 - landmarks.mean(axis=0), axis=1)
    best = int(np.lexsort((away, -held))[0])
    return best if 2 * held[best] > len(landmarks) else None


def face_counts(measured: int, reasons: Sequence[str]) -> dict[str, Any]:
    """How many faces were ``asked`` for and ``measured``, and how often each of ``reasons`` left one out, most frequent first."""
    return {"asked": measured + len(reasons), "measured": measured, "left_out": dict(Counter(reasons).most_common())}


def _in_turns(queues: Sequence[Sequence[int]]) -> Iterator[int]:
    """The first of each queue, then the second of each, and so on."""
    for place in range(max(map(len, queues))):
        for queue in queues:
            if place < len(queue):
                yield queue[place]
