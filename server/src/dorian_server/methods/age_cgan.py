"""Age-cGAN: the encoder finds a latent, the generator draws it at any age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import AgeGroup, age_condition, group_condition, group_index
from dorian_bundle.manifest import AgeCganMethod
from dorian_server.sessions.session import Array, Session


@dataclass(frozen=True)
class Age:
    """An age as it was asked for: the label of a ``group``, or a number of ``years``."""

    group: str | None = None
    years: float | None = None

    def condition(self, groups: Sequence[AgeGroup]) -> Array:
        """Its condition, float32 (groups,). ``dorian_bundle.AgeError`` if there is no such group or age."""
        if self.group is not None:
            return group_condition(groups, group_index(groups, self.group))
        return age_condition(groups, self.years if self.years is not None else float("nan"))


class AgeCgan:
    """The networks of one age_cgan method. Crops are RGB uint8 (size, size, 3); pictures float32 RGB in [0, 1]."""

    def __init__(self, manifest: AgeCganMethod, open_session: Callable[[str], Session]) -> None:
        self.manifest = manifest
        self.groups = manifest.age_groups
        self._encoder = open_session(manifest.graphs["encoder"])
        self._generator = open_session(manifest.graphs["generator"])

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops that the networks take."""
        return self.manifest.crop_size

    def encode(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        """Latents (faces, latent) of ``crops``: the initial approximation of Antipov et al. 2017, §3.2."""
        return self._encoder.run({"image": pictures_of(crops)})["latent"]

    def generate(self, latents: Array, conditions: Array) -> Array:
        """Pictures (faces, conditions, size, size, 3) of each latent (faces, latent) under each condition (·, groups)."""
        faces, ages = len(latents), len(conditions)
        latent = np.repeat(latents, ages, axis=0)
        condition = np.tile(conditions, (faces, 1))
        images = self._generator.run({"latent": latent, "condition": condition})["image"]
        return images.reshape(faces, ages, *images.shape[1:]).transpose(0, 1, 3, 4, 2)

    def nearest_group(self, crop: NDArray[np.uint8], reconstructions: Array) -> int:
        """The group whose reconstruction, of ``reconstructions`` (groups, size, size, 3), differs least from ``crop``."""
        difference = reconstructions - crop.astype(np.float32) / 255
        return int(np.square(difference).mean(axis=(1, 2, 3)).argmin())


def pictures_of(crops: Sequence[NDArray[np.uint8]]) -> Array:
    """``crops`` as the graphs take them: float32 RGB in [0, 1], (faces, 3, size, size)."""
    stacked = np.stack(crops).astype(np.float32) / 255
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
