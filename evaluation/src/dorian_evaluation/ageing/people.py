"""Whether people of every ethnicity and gender are aged alike: each pair against real faces of the same people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dorian_evaluation.ageing.measurements import Measurements, RealFaces, measure_real_faces
from dorian_evaluation.ageing.metrics import FEW_FACES, is_adult_age, target_metrics
from dorian_evaluation.ageing.targets import Target
from dorian_evaluation.faces.people_bias import people_label
from dorian_evaluation.judges.base import AgeJudge
from dorian_training.data.records import FaceRecord

FEW_REAL_FACES = 8  # below which a mean of real faces says little

RealPeople = Mapping[str, Mapping[float, RealFaces]]


def measure_real_people(judge: AgeJudge, records: Sequence[FaceRecord], ages: Sequence[float]) -> RealPeople:
    """Let the judge estimate the ages of real faces of about each of ``ages``, separately by ``people_label``.

    Faces of exact age and of a bracket count alike, as both are aged: of one archive alone, some people look years younger at an age than
    in the other.
    """
    by_label: dict[str, list[FaceRecord]] = {}
    for record in records:
        label = people_label(record)
        if label is not None:
            by_label.setdefault(label, []).append(record)
    return {label: measure_real_faces(judge, by_label[label], ages, prefer_exact=False) for label in sorted(by_label)}


def people_metrics(measurements: Measurements, targets: Sequence[Target], real: RealPeople) -> dict[str, Any]:
    """Return how old people of each ethnicity and gender are judged at every target, and how much they stay themselves.

    Args:
        measurements: Of the faces.
        targets: The targets that they were aged to.
        real: Real faces by ``people_label`` and by target in years.

    Returns:
        By label: ``faces``, ``few`` (below ``FEW_FACES``), ``targets``, see ``target_metrics``; the mean ``similarity`` at
        adult targets and its ratio to the best of those with enough faces.
    """
    after, similarity = np.stack(measurements.after), np.stack(measurements.similarity)  # (faces, targets)
    labels = np.asarray([people_label(record) or "" for record in measurements.records])
    adult = [index for index, target in enumerate(targets) if is_adult_age(target)]
    table: dict[str, Any] = {}
    for label in sorted(set(labels.tolist()) - {""}):
        members = labels == label
        of_age = real.get(label, {})
        table[label] = {
            "faces": int(members.sum()),
            "few": bool(members.sum() < FEW_FACES),
            "targets": {
                target.label: target_metrics(target, after[members, index], of_age.get(target.years or 0.0))
                for index, target in enumerate(targets)
            },
            "similarity": round(float(similarity[members][:, adult].mean()), 4) if adult else None,
        }
    known = [row["similarity"] for row in table.values() if not row["few"] and row["similarity"]]
    for row in table.values():
        row["similarity_ratio"] = round(row["similarity"] / max(known), 3) if known and row["similarity"] else None
    return table
