"""What mixing styles does to faces: judged years moved, identity, and the size of what is added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.judges.base import AgeJudge, IdentityJudge
from dorian_evaluation.judges.feature_networks import recogniser_features
from dorian_evaluation.stylegan.changes import (
    Change,
    Domain,
    draw_deltas,
    preset_changes,
    same_age_swap,
    served_changes,
)
from dorian_evaluation.stylegan.networks import StyleFaces, StyleNetworks, add_deltas
from dorian_evaluation.stylegan.sizes import delta_sizes

NEAR = 3.0  # years, within which a swap of styles of the same age should be judged
Floats = NDArray[np.float64]


class MixingMeter:
    """Changes faces and lets judges compare them with what they were.

    Args:
        networks: The method.
        age: The judge of age.
        identity: The judge of identity.
        people: How faces of known people compare; ``None``: not known.
    """

    def __init__(
        self, networks: StyleNetworks, age: AgeJudge, identity: IdentityJudge, people: KnownPeople | None
    ) -> None:
        self._networks, self._age, self._people = networks, age, people
        self._embed = recogniser_features(identity, networks.template)

    def measure_domain(self, faces: StyleFaces, domain: Domain) -> dict[str, Any]:
        """Return the metrics of each preset and lender, of what a server does, and of a swap of the same age."""
        networks = self._networks
        before = (self._age.ages(faces.views), self._embed(faces.views))
        presets: dict[str, dict[str, Any]] = {}
        for change in preset_changes(networks, faces, domain):
            presets.setdefault(change.preset, {})[change.lender] = self._measure(faces, change, *before)
        return {
            "faces": len(faces),
            "target": domain.target,
            "judged_before": round(float(before[0].mean()), 2),
            "presets": presets,
            "served": self._measure_all(faces, served_changes(networks, faces, domain), *before),
            "same_age": self._measure(faces, same_age_swap(networks, faces), *before),
        }

    def _measure_all(
        self, faces: StyleFaces, changes: Iterable[Change], ages: Floats, embeddings: Floats
    ) -> dict[str, Any]:
        return {change.preset: self._measure(faces, change, ages, embeddings) for change in changes}

    def _measure(self, faces: StyleFaces, change: Change, ages: Floats, embeddings: Floats) -> dict[str, Any]:
        deltas = draw_deltas(self._networks, faces, change)
        changed = add_deltas(faces.views, deltas, self._networks.template)
        years = self._age.ages(changed) - ages
        similarity = (self._embed(changed) * embeddings).sum(axis=1)
        luma, chroma = delta_sizes(deltas, self._networks.template).mean(axis=0)
        accepted = None if self._people is None else round(float((similarity >= self._people.threshold).mean()), 4)
        return {
            "years": round(float(years.mean()), 2),
            "years_apart": round(float(np.abs(years).mean()), 2),
            "near": round(float((np.abs(years) <= NEAR).mean()), 4),
            "similarity": round(float(similarity.mean()), 4),
            "accepted": accepted,
            "luma": round(float(luma), 2),
            "chroma": round(float(chroma), 2),
        }
