"""Metrics of ageing from the judges' measurements: how far faces are from their targets, and whether they stay themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.ageing.grid_energy import grid_ratios
from dorian_evaluation.ageing.measurements import Measurements, RealFaces
from dorian_evaluation.ageing.targets import Target, count_faces
from dorian_evaluation.faces.age_errors import face_groups, sorted_labels
from dorian_evaluation.faces.identities import KnownPeople
from dorian_training.data.records import FaceRecord

ADULT_TARGETS = (25.0, 70.0)  # years, of the targets that mean errors are taken over
FEW_FACES = 20  # below which a group's metrics say little

Floats = NDArray[np.float64]


def ageing_metrics(
    measurements: Measurements, targets: Sequence[Target], real: Mapping[float, RealFaces], people: KnownPeople | None
) -> dict[str, Any]:
    """Return all metrics of a method at one strength, ready for JSON; what cannot be measured is missing or None.

    ``identity`` is over all targets. ``error``, ``similarity`` and ``groups`` are over targets in years within
    ``ADULT_TARGETS``, if there are any; age groups do not count, so that measuring them too changes no error.

    Args:
        measurements: Of the faces.
        targets: The targets that the faces were aged to.
        real: Real faces, by target in years.
        people: How faces of known people compare.
    """
    after, similarity = np.stack(measurements.after), np.stack(measurements.similarity)  # (faces, targets)
    threshold = people.threshold if people else None
    adult = [index for index, target in enumerate(targets) if is_adult_age(target)]
    errors = np.abs(after - [np.nan if target.years is None else target.years for target in targets])
    metrics: dict[str, Any] = {
        "faces": count_faces(len(measurements.records), measurements.skipped),
        "judged_before": _mean(measurements.before),
        "targets": {
            target.label: target_metrics(
                target, after[:, index], real.get(target.years) if target.years is not None else None
            )
            | identity_metrics(similarity[:, index], threshold)
            for index, target in enumerate(targets)
        },
        "identity": identity_metrics(similarity, threshold),
    }
    if adult:
        metrics |= error_metrics(errors[:, adult], [real.get(targets[index].years or 0.0) for index in adult])
        metrics["similarity"] = round(float(similarity[:, adult].mean()), 4)
    if measurements.unchanged:
        face, photo = np.asarray(measurements.unchanged, dtype=np.float64).mean(axis=0)
        metrics["unchanged"] = {
            "faces": len(measurements.unchanged),
            "face": round(face, 3),
            "picture": round(photo, 3),
        }
    face_errors = errors[:, adult].mean(axis=1) if adult else None
    face_similarity = (similarity[:, adult] if adult else similarity).mean(axis=1)
    metrics["groups"] = group_metrics(measurements.records, face_errors, face_similarity)
    ratios = grid_ratios(measurements.power / max(measurements.delta_count, 1))
    metrics["grid"] = {name: _round(ratio, 3) for name, ratio in ratios.items()}
    return metrics


def target_metrics(target: Target, judged: Floats, real: RealFaces | None) -> dict[str, Any]:
    """Return how old faces are judged at one target, against the target and against real faces of that age.

    Args:
        target: The target.
        judged: Judged ages after ageing, in years, (faces,).
        real: Real faces of about that age.

    Returns:
        ``judged`` and, for an age, ``error``; with real faces also ``judged_real``, their mean judged age, ``bias``, how much
        older than they are the judge estimates them, ``off``, how far the mean is from the target plus that bias, and
        ``error_real``. Errors are mean absolute errors.
    """
    metrics: dict[str, Any] = {"judged": _mean(judged)}
    if target.years is None:
        return metrics
    metrics["error"] = _mean(np.abs(judged - target.years))
    if real is None:
        return metrics
    bias = float((real.judged - real.ages).mean())
    return metrics | {
        "off": round(float(judged.mean()) - (target.years + bias), 2),
        "judged_real": _mean(real.judged),
        "bias": round(bias, 2),
        "error_real": _mean(np.abs(real.judged - real.ages)),
        "real_faces": len(real.ages),
        "window": real.window,
    }


def error_metrics(errors: Floats, real: Sequence[RealFaces | None]) -> dict[str, float | None]:
    """Return the mean absolute error, the judge's own error on real faces, and their ratio.

    Args:
        errors: Absolute errors in years, (faces, targets).
        real: Real faces by target; without those of every target, the judge's error and the ratio are None.
    """
    present = [faces for faces in real if faces is not None]
    error, judge_error = float(errors.mean()), None
    if len(present) == len(real):
        judge_error = float(np.mean([np.abs(faces.judged - faces.ages).mean() for faces in present]))
    return {
        "error": round(error, 2),
        "error_real": _round(judge_error, 2),
        "error_ratio": _round(_ratio(error, judge_error), 3),
    }


def identity_metrics(similarity: Floats, threshold: float | None) -> dict[str, float | None]:
    """Return the mean cosine similarity of faces before and after, and the share of them that reaches a threshold."""
    accepted = None if threshold is None else round(float((similarity >= threshold).mean()), 4)
    return {"similarity": round(float(similarity.mean()), 4), "accepted": accepted}


def group_metrics(records: Sequence[FaceRecord], errors: Floats | None, similarity: Floats) -> dict[str, Any]:
    """Return mean error and similarity by decade of age, gender and ethnicity.

    Beside each is its ratio to the best of the groups of the same kind with ``FEW_FACES`` faces or more (of all groups, if
    there is none); smaller groups are marked ``few``.

    Args:
        records: The faces.
        errors: In years, (faces,).
        similarity: (faces,).
    """
    return {
        kind: _compare_groups({label: labels == label for label in sorted_labels(labels)}, errors, similarity)
        for kind, labels in face_groups(records).items()
    }


def is_adult_age(target: Target) -> bool:
    """Return whether a target is an age within ``ADULT_TARGETS``, and no age group."""
    return target.years is not None and not target.is_group and ADULT_TARGETS[0] <= target.years <= ADULT_TARGETS[1]


def _compare_groups(
    groups: Mapping[str, NDArray[np.bool_]], errors: Floats | None, similarity: Floats
) -> dict[str, Any]:
    large = [members for members in groups.values() if members.sum() >= FEW_FACES] or list(groups.values())
    best_error = None if errors is None else min(float(errors[members].mean()) for members in large)
    best_similarity = max(float(similarity[members].mean()) for members in large)
    table = {}
    for label, members in groups.items():
        error = None if errors is None else float(errors[members].mean())
        mean_similarity = float(similarity[members].mean())
        table[label] = {
            "faces": int(members.sum()),
            "few": bool(members.sum() < FEW_FACES),
            "error": _round(error, 2),
            "error_ratio": _round(_ratio(error, best_error), 3),
            "similarity": round(mean_similarity, 4),
            "similarity_ratio": _round(_ratio(mean_similarity, best_similarity), 3),
        }
    return table


def _ratio(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mean(values: Sequence[float] | Floats) -> float:
    return round(float(np.mean(values)), 2)
