"""A recogniser's figures: pairs told right, and true accepts at a rate of false ones, on people it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_readers import AcceptThreshold
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError
from dorian_training.verification import (
    accuracy,
    all_pairs,
    balanced_pairs,
    best_threshold,
    false_accepts,
    similarities,
    threshold_at,
    true_accepts,
)

PAIRS = 6000  # half of them of one person
RATE = 1e-3  # of false accepts
_SEED = 0


@dataclass(frozen=True)
class EmbeddedFaces:
    """Faces of known people: ``embeddings`` float32 (faces, embedding) of length 1, ``identities`` int64 (faces,)."""

    embeddings: NDArray[np.float32]
    identities: NDArray[np.int64]

    def balanced(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Similarities of ``PAIRS`` pairs, and whether each is of one person."""
        pairs = balanced_pairs(self.identities, PAIRS // 2, _SEED)
        return similarities(self.embeddings, pairs), pairs.same

    def every(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Similarities of all pairs, and whether each is of one person."""
        pairs = all_pairs(self.identities)
        return similarities(self.embeddings, pairs), pairs.same


def people(records: Sequence[FaceRecord], most: int | None = None) -> list[FaceRecord]:
    """The records of known identity, person by person; at most about ``most`` of them, all faces of whom they show."""
    by_person: dict[tuple[str, str], list[FaceRecord]] = {}
    for record in records:
        if record.identity:
            by_person.setdefault((record.source, record.identity), []).append(record)
    chosen: list[FaceRecord] = []
    for faces in by_person.values():
        if most is not None and len(chosen) >= most:
            break
        chosen += faces
    return chosen


def identities_of(records: Sequence[FaceRecord]) -> NDArray[np.int64]:
    """A number for each record's person, int64 (faces,); ``DataError`` unless there are two people, one with two faces."""
    numbers: dict[tuple[str, str], int] = {}
    found = np.asarray([numbers.setdefault((r.source, r.identity), len(numbers)) for r in records], dtype=np.int64)
    if len(numbers) < 2 or len(numbers) == len(found):
        raise DataError("verification needs two people or more, one of them with two faces, in each of val and test")
    return found


def verification_figures(val: EmbeddedFaces, test: EmbeddedFaces) -> dict[str, Any]:
    """Accuracy on ``PAIRS`` of ``test``, at the threshold that is best on as many of ``val``.

    And true accepts among all pairs of ``test`` at the threshold that takes a share ``RATE`` of different people in ``val``
    for one, and beside it in ``test`` itself.
    """
    threshold = best_threshold(*val.balanced())
    similarity, same = test.every()
    at_rate = {
        origin: accepts(similarity, same, threshold_at(*pairs, RATE))
        for origin, pairs in (("val", val.every()), ("test", (similarity, same)))
    }
    return {
        "accuracy": round(accuracy(*test.balanced(), threshold), 4),
        "threshold": round(threshold, 4),
        f"at_{RATE:g}_of": at_rate,
    }


def stated_figures(test: EmbeddedFaces, thresholds: Sequence[AcceptThreshold]) -> list[dict[str, float]]:
    """What each of a manifest's ``thresholds`` gives on all pairs of ``test``, beside the rate that is stated."""
    similarity, same = test.every()
    return [
        {"stated": stated.false_accept_rate, **accepts(similarity, same, stated.similarity)} for stated in thresholds
    ]


def accepts(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """The ``threshold``, and the shares of true and of false accepts that it gives."""
    return {
        "threshold": round(threshold, 4),
        "true_accepts": round(true_accepts(similarity, same, threshold), 4),
        "false_accepts": float(f"{false_accepts(similarity, same, threshold):.3g}"),
    }
