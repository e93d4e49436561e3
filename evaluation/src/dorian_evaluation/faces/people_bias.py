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
    if not names:
        return {}
    decades = [(ages >= first) & (ages < first + 10) for first in _DECADES]
    members = np.asarray(
        [[decade & (labels == name) for name in names] for decade in decades]
    )  # (decades, people, faces)
    counts = members.sum(axis=2)
    few = counts < _FEW_FACES
    biases = {}
    for network, read in estimates.items():
        means = np.ma.masked_array(members @ (read - ages) / np.maximum(counts, 1), few)  # (decades, people)
        biases[network] = (means - means.mean(axis=1, keepdims=True)).mean(axis=0)  # (people,)
    return {
        name: {"faces": int(counts[~few[:, index], index].sum())}
        | {network: round(float(bias[index]), 2) for network, bias in biases.items()}
        for index, name in enumerate(names)
        if not few[:, index].all()
    }
