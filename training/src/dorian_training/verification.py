"""Verification: whether two faces are one person's, told from the cosine similarity of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Pairs of faces: indices ``first`` and ``second`` (pairs,), and whether they are of the ``same`` person (pairs,)."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]


def all_pairs(identities: NDArray[np.int64]) -> Pairs:
    """Return every pair of the faces of ``identities`` (faces,)."""
    first, second = np.triu_indices(len(identities), 1)
    return Pairs(first, second, identities[first] == identities[second])


def similarities(embeddings: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float32]:
    """Return the cosine similarity of each pair's ``embeddings`` (faces, embedding), which have length 1."""
    chunks = [
        np.einsum(
            "ij,ij->i", embeddings[pairs.first[start : start + 65536]], embeddings[pairs.second[start : start + 65536]]
        )
        for start in range(0, len(pairs.first), 65536)
    ]
    return np.concatenate(chunks)


def best_threshold(similarity: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """Return the threshold of the best ``balanced_accuracy``; a pair is one person's at or above it."""
    order = np.argsort(-similarity)
    right = np.cumsum(np.where(same[order], 1 / max(same.sum(), 1), -1 / max((~same).sum(), 1)))
    return float(similarity[order[int(right.argmax())]])


def balanced_accuracy(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> float:
    """Return the mean of two shares at ``threshold``: of one person's pairs that are accepted, of two people's that are not."""
    return (true_accepts(similarity, same, threshold) + 1 - false_accepts(similarity, same, threshold)) / 2


def threshold_at(similarity: NDArray[np.float32], same: NDArray[np.bool_], false_accepts: float) -> float:
    """Return the lowest threshold that takes at most a share ``false_accepts`` of pairs of two people for one."""
    others = np.sort(similarity[~same])[::-1]
    return float(np.nextafter(others[int(false_accepts * len(others))], np.float32(2)))


def true_accepts(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> float:
    """Return the share of pairs of one person that are taken for one at ``threshold``."""
    return float((similarity[same] >= threshold).mean())


def false_accepts(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> float:
    """Return the share of pairs of two people that are taken for one at ``threshold``."""
    return float((similarity[~same] >= threshold).mean())


def group_similarities(embeddings: NDArray[np.float32], groups: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the similarities (pairs,) of all pairs of different people of one group.

    Args:
        embeddings: Of different people, (faces, embedding), of length 1.
        groups: The group of each.

    Returns:
        By group, those with two people or more, sorted by name.
    """
    labels = np.asarray(groups)
    members = {group: embeddings[labels == group] for group in sorted(set(groups))}
    return {
        group: (faces @ faces.T)[np.triu_indices(len(faces), 1)] for group, faces in members.items() if len(faces) > 1
    }
