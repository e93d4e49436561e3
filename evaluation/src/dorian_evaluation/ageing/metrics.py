"""Figures of ageing from the judges' readings: how far faces land from the ages asked for, and whether they stay themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.ageing.grid_energy import grid_ratios
from dorian_evaluation.ageing.readings import People, Readings, RealFaces
from dorian_evaluation.ageing.targets import Aim, face_counts
from dorian_evaluation.faces.age_errors import face_groups, in_order
from dorian_training.data.records import FaceRecord

GROWN = (25.0, 70.0)  # years of the targets that errors are taken over
FEW = 20  # faces, below which a group's figures say little

Floats = NDArray[np.float64]


def ageing_figures(
    readings: Readings, aims: Sequence[Aim], real: Mapping[float, RealFaces], known: People | None
) -> dict[str, Any]:
    """All figures of one method at one strength, ready for JSON; what cannot be told is missing or ``None``.

    ``identity`` is over all aims; ``error``, ``similarity`` and ``groups`` are over aims in years within ``GROWN``, where there are
    any; age groups are apart, so that asking for them, too, changes no error.
    """
    after, similarity = np.stack(readings.after), np.stack(readings.similarity)
    threshold = known.threshold if known else None
    grown = [index for index, aim in enumerate(aims) if _is_grown(aim)]
    errors = np.abs(after - [np.nan if aim.years is None else aim.years for aim in aims])
    unchanged = np.asarray(readings.unchanged, dtype=np.float64).reshape(-1, 2)
    figures: dict[str, Any] = {
        "faces": face_counts(len(readings.records), readings.left_out),
        "judged_before": _mean(readings.before),
        "targets": {
            aim.label: aim_figures(aim, after[:, index], real.get(aim.years) if aim.years is not None else None)
            | identity_figures(similarity[:, index], threshold)
            for index, aim in enumerate(aims)
        },
        "identity": identity_figures(similarity, threshold),
    }
    if grown:
        figures |= error_figures(errors[:, grown], [real.get(aims[index].years or 0.0) for index in grown])
        figures["similarity"] = round(float(similarity[:, grown].mean()), 4)
    if len(unchanged):
        face, picture = unchanged.mean(axis=0)
        figures["unchanged"] = {"faces": len(unchanged), "face": round(face, 3), "picture": round(picture, 3)}
    by_face = errors[:, grown].mean(axis=1) if grown else None
    figures["groups"] = group_figures(
        readings.records, by_face, (similarity[:, grown] if grown else similarity).mean(axis=1)
    )
    ratios = grid_ratios(readings.power / max(readings.deltas, 1))
    figures["grid"] = {name: _rounded(ratio, 3) for name, ratio in ratios.items()}
    return figures


def aim_figures(aim: Aim, judged: Floats, real: RealFaces | None) -> dict[str, Any]:
    """Faces ``judged`` (faces,) in years after ageing, against the ``aim`` and against ``real`` faces of that age.

    ``judged_real`` is the mean reading of these, ``bias`` what the judge reads beyond their age, and ``off`` how far the mean
    lies from the aim plus that; ``error`` and ``error_real`` are mean absolute errors, against the aim and of real faces.
    """
    figures: dict[str, Any] = {"judged": _mean(judged)}
    if aim.years is None:
        return figures
    figures["error"] = _mean(np.abs(judged - aim.years))
    if real is None:
        return figures
    bias = float((real.read - real.ages).mean())
    return figures | {
        "off": round(float(judged.mean()) - (aim.years + bias), 2),
        "judged_real": _mean(real.read),
        "bias": round(bias, 2),
        "error_real": _mean(np.abs(real.read - real.ages)),
        "real_faces": len(real.ages),
        "window": real.window,
    }


def error_figures(errors: Floats, real: Sequence[RealFaces | None]) -> dict[str, float | None]:
    """The mean of absolute ``errors`` (faces, targets), the judge's own on ``real`` faces, target by target, and their ratio.

    The judge's own is ``None``, and so is the ratio, unless there are real faces of every target.
    """
    known = [faces for faces in real if faces is not None]
    error, own = float(errors.mean()), None
    if len(known) == len(real):
        own = float(np.mean([np.abs(faces.read - faces.ages).mean() for faces in known]))
    return {"error": round(error, 2), "error_real": _rounded(own, 2), "error_ratio": _rounded(_ratio(error, own), 3)}


def identity_figures(similarity: Floats, threshold: float | None) -> dict[str, float | None]:
    """Mean cosine ``similarity`` of faces to themselves before, and the share of them from ``threshold`` on."""
    accepted = None if threshold is None else round(float((similarity >= threshold).mean()), 4)
    return {"similarity": round(float(similarity.mean()), 4), "accepted": accepted}


def group_figures(records: Sequence[FaceRecord], errors: Floats | None, similarity: Floats) -> dict[str, Any]:
    """Mean ``errors`` in years and ``similarity``, (faces,) both, by decade of age, gender and ethnicity of ``records``.

    Beside each its ratio to the best of the groups of the same kind that have ``FEW`` faces or more (of all groups, if none
    has); the others are marked ``few``.
    """
    return {
        kind: _compared({label: labels == label for label in in_order(labels)}, errors, similarity)
        for kind, labels in face_groups(records).items()
    }


def _is_grown(aim: Aim) -> bool:
    return aim.years is not None and not aim.is_group and GROWN[0] <= aim.years <= GROWN[1]


def _compared(groups: Mapping[str, NDArray[np.bool_]], errors: Floats | None, similarity: Floats) -> dict[str, Any]:
    large = [own for own in groups.values() if own.sum() >= FEW] or list(groups.values())
    best_error = None if errors is None else min(float(errors[own].mean()) for own in large)
    best_similarity = max(float(similarity[own].mean()) for own in large)
    table = {}
    for label, own in groups.items():
        error = None if errors is None else float(errors[own].mean())
        alike = float(similarity[own].mean())
        table[label] = {
            "faces": int(own.sum()),
            "few": bool(own.sum() < FEW),
            "error": _rounded(error, 2),
            "error_ratio": _rounded(_ratio(error, best_error), 3),
            "similarity": round(alike, 4),
            "similarity_ratio": _rounded(_ratio(alike, best_similarity), 3),
        }
    return table


def _ratio(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mean(values: Sequence[float] | Floats) -> float:
    return round(float(np.mean(values)), 2)
