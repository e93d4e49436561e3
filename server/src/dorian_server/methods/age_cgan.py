"""Age-cGAN: the encoder finds a latent, the generator draws it at any age."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.manifest import AgeCganMethod
from dorian_server.reading import pictures_of
from dorian_server.sessions.session import Array, Session


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
        """Pictures (faces, size, size, 3) of ``latents`` (faces, latent) under ``conditions`` (faces, groups)."""
        images = self._generator.run({"latent": latents, "condition": conditions})["image"]
        return images.transpose(0, 2, 3, 1)
