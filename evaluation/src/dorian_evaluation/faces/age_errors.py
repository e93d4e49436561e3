"""Errors of estimated ages in years: over all faces, and by decade, gender and ethnicity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.records import FaceRecord

Floats = NDArray[np.floating[Any]]
_OLDEST = 80  # the last decade has no end


def age_metrics(
    estimates: Mapping[str, Floats], records: Sequence[FaceRecord], intervals: Floats | None = None
) -> dict[str, Any]:
    """Return the mean errors of estimated ages in years, separately for faces of ``exact`` age and of an age ``bracket``.

    For exact ages they are mean absolute errors, for brackets mean distances from the bracket.

    Args:
        estimates: Ages in years, (faces,), by the name of the network that estimated them.
        records: The faces, all of known age.
        intervals: The lowest and highest ages that the first network allows, (faces, 2).

    Returns:
        By kind of age, ``all`` and, by group, ``decade``, ``gender`` and ``ethnicity``: the number of faces and the error
        by network; for exact ages and with ``intervals`` the share that they ``covered`` and their mean ``width`` in years.
    """
    low = np.asarray([record.age_low for record in records], dtype=np.float64)
    high = np.asarray([record.age_high for record in records], dtype=np.float64)
    errors = {name: years_outside(ages, low, high) for name, ages in estimates.items()}
    groups = face_groups(records)
    kinds = {"exact": low == high, "bracket": low < high}
    tables = {kind: _errors_by_group(errors, groups, selected) for kind, selected in kinds.items() if selected.any()}
    if intervals is not None and "exact" in tables:
        covered = (intervals[:, 0] <= low) & (low < intervals[:, 1] + 1)  # an age in whole years lasts for one
        figures = {"covered": covered.astype(np.float64), "width": intervals[:, 1] - intervals[:, 0]}
        _merge(tables["exact"], _errors_by_group(figures, groups, kinds["exact"]))
    return tables


def face_groups(records: Sequence[FaceRecord]) -> dict[str, NDArray[np.str_]]:
    """Return the ``decade``, ``gender`` and ``ethnicity`` of faces of known age, (faces,) each."""
    ages = [record.age for record in records]
    return {
        "decade": np.asarray([decade(age) for age in ages if age is not None]),
        "gender": np.asarray([record.gender or "unknown" for record in records]),
        "ethnicity": np.asarray([record.ethnicity or "unknown" for record in records]),
    }


def sorted_labels(labels: NDArray[np.str_]) -> list[str]:
    """Return the different labels: decades by age, others alphabetically."""
    return sorted(set(labels.tolist()), key=_sort_key)


def years_outside(ages: Floats, low: Floats, high: Floats) -> Floats:
    """Return the distance in years of ages (faces,) from the brackets ``low`` to ``high`` (faces,); 0 inside of them."""
    return np.maximum(np.maximum(low - ages, ages - high), 0)


def decade(age: float) -> str:
    """Return the name of an age's decade: ``0-9`` to ``70-79``, then ``80+``."""
    first = int(age) // 10 * 10
    return f"{_OLDEST}+" if first >= _OLDEST else f"{first}-{first + 9}"


def _errors_by_group(
    errors: Mapping[str, Floats], groups: Mapping[str, NDArray[np.str_]], selected: NDArray[np.bool_]
) -> dict[str, Any]:
    def row(members: NDArray[np.bool_]) -> dict[str, float | int]:
        means = {name: round(float(values[members].mean()), 2) for name, values in errors.items()}
        return {"faces": int(members.sum()), **means}

    table: dict[str, Any] = {"all": row(selected)}
    for name, labels in groups.items():
        table[name] = {label: row(selected & (labels == label)) for label in sorted_labels(labels[selected])}
    return table


def _merge(table: dict[str, Any], further: Mapping[str, Any]) -> None:
    """Add the figures of ``further``, of the same groups, to the rows of ``table``."""
    for name, value in further.items():
        if isinstance(value, dict):
            _merge(table[name], value)
        else:
            table[name] = value


def _sort_key(label: str) -> tuple[int, str]:
    digits = label.rstrip("+").split("-")[0]
    return (int(digits) if digits.isdigit() else 0, label)
