"""Verification: whether two faces are one person's, told from the cosine similarity of their embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Pairs of faces: indices ``first`` and ``second`` (pairs,), and whether they are of the ``same`` person (pairs,)."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]


def balanced_pairs(identities: NDArray[np.int64], count: int, seed: int) -> Pairs:
    """Draw ``count`` random pairs of one person and as many of two, of the faces of ``identities`` (faces,)."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(identities == identity) for identity in np.unique(identities)]
    several = [faces for faces in members if len(faces) > 1]
    pairs: list[tuple[int, int]] = []
    for _ in range(count):
        first, second = random.choice(several[random.integers(len(several))], 2, replace=False)
        pairs.append((first, second))
    for _ in range(count):
        one, other = random.choice(len(members), 2, replace=False)
        pairs.append((random.choice(members[one]), random.choice(members[other])))
    first, second = np.asarray(pairs, dtype=np.int64).T
    return Pairs(first, second, identities[first] == identities[second])


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
    """Return the threshold at which most pairs are classified correctly; a pair is one person's at or above it."""
    order = np.argsort(-similarity)
    right = np.cumsum(np.where(same[order], 1, -1))
    return float(similarity[order[int(right.argmax())]])


def accuracy(similarity: NDArray[np.float32], same: NDArray[np.bool_], threshold: float) -> float:
    """Return the share of pairs classified correctly at ``threshold``."""
    return float(((similarity >= threshold) == same).mean())


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
