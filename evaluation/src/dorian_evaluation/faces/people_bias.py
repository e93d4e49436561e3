"""Whether people of every ethnicity and gender are estimated as old as others of their age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.records import FaceRecord

# Data sets split people differently; these are the ethnicities that all of them can be brought to.
_ETHNICITIES = {
    "Asian": "Asian",
    "East Asian": "Asian",
    "Southeast Asian": "Asian",
    "Black": "Black",
    "Indian": "Indian",
    "Latino_Hispanic": "other",
    "Middle Eastern": "other",
    "Other": "other",
    "White": "White",
}
_DECADES = (20, 30, 40, 50, 60)  # first years; adults, of whom all people have faces
_FEW_FACES = 5  # of a decade, below which their mean says little

Floats = NDArray[np.floating[Any]]


def people_label(record: FaceRecord) -> str | None:
    """Return a face's ethnicity, one of five, and gender, such as ``Black Female``; None if either is unknown."""
    ethnicity = _ETHNICITIES.get(record.ethnicity or "")
    return f"{ethnicity} {record.gender}" if ethnicity and record.gender else None


def people_bias(estimates: Mapping[str, Floats], records: Sequence[FaceRecord]) -> dict[str, dict[str, float | int]]:
    """Return by how many years people are estimated older than others of the same decade.

    By decade it is the mean of an estimate less the age, the middle of a bracket, less the mean of these means over all people.

    Args:
        estimates: Ages in years, (faces,), by the name of the network that estimated them.
        records: The faces, all of known age.

    Returns:
        By ``people_label``: the number of faces and the mean over the decades, by network. Decades with few faces of these people, or
        of people with none that count, are left out.
    """
    labels = np.asarray([people_label(record) or "" for record in records])
    ages = np.asarray([record.age for record in records], dtype=np.float64)
    names = sorted(set(labels.tolist()) - {""})
    cells = {
        decade: {
            name: members for name in names if (members := _members(labels, ages, name, decade)).sum() >= _FEW_FACES
        }
        for decade in _DECADES
    }
    table: dict[str, dict[str, float | int]] = {}
    for name in names:
        counted = [of_people for of_people in cells.values() if name in of_people]
        if counted:
            table[name] = {"faces": int(sum(of_people[name].sum() for of_people in counted))}
    for network, read in estimates.items():
        off = read - ages
        means = [{name: off[members].mean() for name, members in of_people.items()} for of_people in cells.values()]
        for name, row in table.items():
            biases = [of_people[name] - np.mean(list(of_people.values())) for of_people in means if name in of_people]
            row[network] = round(float(np.mean(biases)), 2)
    return table


def _members(labels: NDArray[np.str_], ages: Floats, name: str, decade: int) -> NDArray[np.bool_]:
    return np.asarray((labels == name) & (ages >= decade) & (ages < decade + 10))
