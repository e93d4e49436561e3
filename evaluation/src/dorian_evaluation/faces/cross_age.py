"""Whether a recogniser still knows people after years: pairs of photos of one person, by the years between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.faces.identities import FALSE_ACCEPT_RATE, EmbeddedFaces
from dorian_training.data.records import FaceRecord
from dorian_training.verification import all_pairs, similarities, threshold_at

SPANS = ((0, 2), (3, 5), (6, 10), (11, 20), (21, 120))  # whole years between two photos, first and last


def select_aged(records: Sequence[FaceRecord]) -> list[FaceRecord]:
    """Return the faces of known people and exact age."""
    return [record for record in records if record.identity and record.age_low is not None and _is_exact(record)]


def cross_age_metrics(faces: EmbeddedFaces, ages: NDArray[np.float64]) -> dict[str, Any]:
    """Return how alike photos of one person are, and how many are accepted, by the years between them.

    Args:
        faces: Faces of known people.
        ages: Their ages in years, (faces,).

    Returns:
        ``threshold``: similarity at which 0.001 of the pairs of different people are accepted; ``different``: the number and
        mean similarity of these; ``spans``: of each span of years, with pairs of one person, their number, mean similarity and share
        accepted.
    """
    pairs = all_pairs(faces.identities)
    similarity = similarities(faces.embeddings, pairs)
    threshold = threshold_at(similarity, pairs.same, FALSE_ACCEPT_RATE)
    years = np.abs(ages[pairs.first] - ages[pairs.second])
    spans = {}
    for first, last in SPANS:
        of_span = similarity[pairs.same & (years >= first) & (years <= last)]
        if len(of_span):
            spans[f"{first}-{last}"] = {
                "pairs": len(of_span),
                "similarity": round(float(of_span.mean()), 4),
                "accepted": round(float((of_span >= threshold).mean()), 4),
            }
    different = similarity[~pairs.same]
    return {
        "threshold": round(threshold, 4),
        "different": {"pairs": len(different), "similarity": round(float(different.mean()), 4)},
        "spans": spans,
    }


def _is_exact(record: FaceRecord) -> bool:
    return record.age_low == record.age_high
