"""FaceNet's thresholds at rates of false accepts, and what one of them means for groups of people, as measured at export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dorian_bundle.face_readers import AcceptThreshold
from dorian_export.errors import ExportError
from dorian_training.data.crops import Crops
from dorian_training.data.fairface import stranger_group
from dorian_training.methods.embedding import embed, identity_labels
from dorian_training.networks.facenet import FaceNet
from dorian_training.verification import all_pairs, group_similarities, similarities, threshold_at

RATES = (1e-2, 1e-3, 1e-4)  # false-accept rates at which thresholds are measured
GROUP_RATE = 1e-3  # at whose threshold groups are measured
_MIN_IMPOSTOR_PAIRS = 10 / min(RATES)  # pairs of different people, so that ten lie above the strictest threshold


def measure_thresholds(facenet: FaceNet, faces: Crops) -> tuple[AcceptThreshold, ...]:
    """Measure the similarities that pairs of different people reach at each of ``RATES``, over all pairs.

    Args:
        facenet: The network, for inference.
        faces: Cut with a margin about the side that it takes.

    Raises:
        ExportError: If there are too few pairs for the strictest rate.
    """
    identified = faces.where(np.asarray([bool(record.identity) for record in faces.records], dtype=bool))
    pairs = all_pairs(identity_labels(identified).numpy())
    impostors = int((~pairs.same).sum())
    if impostors < _MIN_IMPOSTOR_PAIRS:
        raise ExportError(
            f"FaceNet's thresholds need {_MIN_IMPOSTOR_PAIRS:,.0f} pairs of different people in the validation split; there are {impostors:,}"
        )
    similarity = similarities(embed(facenet, identified), pairs)
    return tuple(
        AcceptThreshold(false_accept_rate=rate, similarity=round(threshold_at(similarity, pairs.same, rate), 4))
        for rate in RATES
    )


def measure_group_rates(
    facenet: FaceNet, strangers: Crops | None, thresholds: Sequence[AcceptThreshold]
) -> dict[str, Any]:
    """Measure the false accepts among the people of each ethnicity and gender, at the threshold of ``GROUP_RATE``.

    Args:
        facenet: The network, for inference.
        strangers: Faces of different people with a ``stranger_group``, cut with a margin; ``None`` if there are none.
        thresholds: Measured ones, that of ``GROUP_RATE`` among them.

    Returns:
        ``group_false_accepts``: of each group with two faces or more, their number and the share of their pairs accepted.
        Empty without faces.
    """
    threshold = next((item.similarity for item in thresholds if item.false_accept_rate == GROUP_RATE), None)
    if strangers is None or threshold is None:
        return {}
    groups = [stranger_group(record) or "" for record in strangers.records]
    by_group = group_similarities(embed(facenet, strangers), groups)
    return {
        "group_false_accepts": {
            group: {
                "faces": groups.count(group),
                "false_accepts": float(f"{(similarity >= threshold).mean():.3g}"),
            }
            for group, similarity in by_group.items()
        }
    }
