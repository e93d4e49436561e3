"""Errors of ages read from faces: in years, over all faces and by decade, gender and ethnicity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.records import FaceRecord

Floats = NDArray[np.floating[Any]]
_OLDEST = 80  # the last decade has no end


def age_figures(read: Mapping[str, Floats], records: Sequence[FaceRecord]) -> dict[str, Any]:
    """Mean errors in years of the ages ``read`` (faces,) by each reader, on ``records``, all of known age.

    Apart for exact ages, where it is the mean absolute error, and for brackets, where it is the distance from the bracket.
    Each has ``all`` and, by name of group, ``decade``, ``gender`` and ``ethnicity``, as number of faces and error by reader.
    """
    low = np.asarray([record.age_low for record in records], dtype=np.float64)
    high = np.asarray([record.age_high for record in records], dtype=np.float64)
    errors = {reader: years_outside(ages, low, high) for reader, ages in read.items()}
    groups = face_groups(records)
    kinds = {"exact": low == high, "bracket": low < high}
    return {kind: _grouped(errors, groups, chosen) for kind, chosen in kinds.items() if chosen.any()}


def face_groups(records: Sequence[FaceRecord]) -> dict[str, NDArray[np.str_]]:
    """The ``decade``, ``gender`` and ``ethnicity`` of each of ``records``, all of known age; (faces,) each."""
    ages = [record.age for record in records]
    return {
        "decade": np.asarray([decade(age) for age in ages if age is not None]),
        "gender": np.asarray([record.gender or "unknown" for record in records]),
        "ethnicity": np.asarray([record.ethnicity or "unknown" for record in records]),
    }


def in_order(labels: NDArray[np.str_]) -> list[str]:
    """The different ``labels``: decades by their years, other names by the alphabet."""
    return sorted(set(labels.tolist()), key=_key)


def years_outside(ages: Floats, low: Floats, high: Floats) -> Floats:
    """Years by which ``ages`` (faces,) lie outside of ``low`` to ``high`` (faces,); where these are equal, the absolute error."""
    return np.maximum(np.maximum(low - ages, ages - high), 0)


def decade(age: float) -> str:
    """The name of the decade of ``age`` in years: ``0-9`` to ``70-79``, then ``80+``."""
    first = int(age) // 10 * 10
    return f"{_OLDEST}+" if first >= _OLDEST else f"{first}-{first + 9}"


def _grouped(
    errors: Mapping[str, Floats], groups: Mapping[str, NDArray[np.str_]], chosen: NDArray[np.bool_]
) -> dict[str, Any]:
    def row(which: NDArray[np.bool_]) -> dict[str, float | int]:
        means = {reader: round(float(values[which].mean()), 2) for reader, values in errors.items()}
        return {"faces": int(which.sum()), **means}

    table: dict[str, Any] = {"all": row(chosen)}
    for name, labels in groups.items():
        table[name] = {label: row(chosen & (labels == label)) for label in in_order(labels[chosen])}
    return table


def _key(label: str) -> tuple[int, str]:
    digits = label.rstrip("+").split("-")[0]
    return (int(digits) if digits.isdigit() else 0, label)
