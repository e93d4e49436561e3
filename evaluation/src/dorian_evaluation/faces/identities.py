"""Metrics of a recogniser on people it has not seen: verified pairs, and true accepts at rates of false accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_readers import AcceptThreshold
from dorian_evaluation.judges.base import IdentityJudge
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError
from dorian_training.verification import (
    all_pairs,
    balanced_accuracy,
    best_threshold,
    false_accepts,
    group_similarities,
    similarities,
    threshold_at,
    true_accepts,
)

FALSE_ACCEPT_RATE = 1e-3
FALSE_ACCEPT_RATES = (FALSE_ACCEPT_RATE, 1e-4)


@dataclass(frozen=True)
class EmbeddedFaces:
    """Faces of known people.

    Attributes:
        embeddings: Unit vectors, float32 (faces, embedding).
        identities: A number per person, int64 (faces,).
    """

    embeddings: NDArray[np.float32]
    identities: NDArray[np.int64]

    def all_pairs(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the similarities of all pairs, and whether each is of one person."""
        pairs = all_pairs(self.identities)
        return similarities(self.embeddings, pairs), pairs.same


@dataclass(frozen=True)
class KnownPeople:
    """How faces of known people compare, by a judge of identity.

    Attributes:
        people: Number of people.
        faces: Number of faces.
        threshold: Similarity at which ``FALSE_ACCEPT_RATE`` of the pairs of different people are accepted.
        same: Mean similarity of pairs of one person.
    """

    people: int
    faces: int
    threshold: float
    same: float

    def as_metrics(self) -> dict[str, float]:
        """Return the same, rounded, for JSON."""
        return {
            "people": self.people,
            "faces": self.faces,
            "threshold": round(self.threshold, 4),
            "same": round(self.same, 4),
        }


def measure_people(
    judge: IdentityJudge, records: Sequence[FaceRecord], cache: Path | None = None
) -> KnownPeople | None:
    """Compare the faces of known people among ``records``; return None if there are none."""
    identified = select_identified(records)
    if not identified:
        return None
    crops = cut_crops(identified, judge.crop_size, cache, judge.template)
    faces = EmbeddedFaces(judge.embeddings(crops.pixels), number_identities(crops.records))
    similarity, same = faces.all_pairs()
    return KnownPeople(
        people=int(faces.identities.max()) + 1,
        faces=len(faces.identities),
        threshold=threshold_at(similarity, same, FALSE_ACCEPT_RATE),
        same=float(similarity[same].mean()),
    )


def select_identified(records: Sequence[FaceRecord], max_count: int | None = None) -> list[FaceRecord]:
    """Return the faces of known people, person by person; no further person from ``max_count`` faces on."""
    by_person: dict[tuple[str, str], list[FaceRecord]] = {}
    for record in records:
        if record.identity:
            by_person.setdefault((record.source, record.identity), []).append(record)
    selected: list[FaceRecord] = []
    for faces in by_person.values():
        if max_count is not None and len(selected) >= max_count:
            break
        selected += faces
    return selected


def number_identities(records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """Return a number for the person of each record, int64 (faces,).

    Raises:
        DataError: There are fewer than two people, or no person has two faces.
    """
    numbers: dict[tuple[str, str], int] = {}
    identities = [numbers.setdefault((record.source, record.identity), len(numbers)) for record in records]
    if len(numbers) < 2 or len(numbers) == len(identities):
        raise DataError("verification needs two people or more, one of them with two faces, in each of val and test")
    return np.asarray(identities, dtype=np.int64)


def verification_metrics(val: EmbeddedFaces, test: EmbeddedFaces) -> dict[str, Any]:
    """Return the accuracy on pairs of the test split, and true accepts at each of ``FALSE_ACCEPT_RATES``.

    All pairs count. The accuracy is the mean of the shares of pairs of one person and of two that are told right, at the
    threshold that is best in the validation split. True accepts are at the thresholds that have the rate in the
    validation split and in the test split itself.
    """
    val_pairs, test_pairs = val.all_pairs(), test.all_pairs()
    threshold = best_threshold(*val_pairs)
    at_rates = {
        f"at_{rate:g}_of": {
            split: accept_rates(*test_pairs, threshold_at(*pairs, rate))
            for split, pairs in (("val", val_pairs), ("test", test_pairs))
        }
        for rate in FALSE_ACCEPT_RATES
    }
    return {
        "accuracy": round(balanced_accuracy(*test_pairs, threshold), 4),
        "threshold": round(threshold, 4),
        **at_rates,
    }


def group_metrics(
    embeddings: NDArray[np.float32], groups: Sequence[str], thresholds: Sequence[AcceptThreshold]
) -> dict[str, Any]:
    """Return the false accepts among different people of one group, at a manifest's thresholds.

    Args:
        embeddings: Unit vectors of different people, (faces, embedding).
        groups: The group of each.
        thresholds: Of the manifest.

    Returns:
        By group: number of faces, and ``false_accepts`` by the stated rate.
    """
    return {
        group: {
            "faces": Counter(groups)[group],
            "false_accepts": {
                f"{item.false_accept_rate:g}": float(f"{(similarity >= item.similarity).mean():.3g}")
                for item in thresholds
            },
        }
        for group, similarity in group_similarities(embeddings, groups).items()
    }


def accept_metrics(test: EmbeddedFaces, thresholds: Sequence[AcceptThreshold]) -> list[dict[str, float]]:
    """Return the accept rates of a manifest's thresholds on all pairs of the test split, beside the stated rates."""
    similarity, same = test.all_pairs()
    return [
        {"stated": threshold.false_accept_rate, **accept_rates(similarity, same, threshold.similarity)}
        for threshold in thresholds
    ]


def accept_rates(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Return a threshold with its shares of true and of false accepts."""
    return {
        "threshold": round(threshold, 4),
        "true_accepts": round(true_accepts(similarity, same, threshold), 4),
        "false_accepts": float(f"{false_accepts(similarity, same, threshold):.3g}"),
    }
