"""Age-cGAN: the encoder finds a latent, the generator draws it at any age."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dorian_bundle.calibration import Calibration
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.methods.method import Crop, Drawing, Gradient, Subject
from dorian_server.runtimes.session import Session


class AgeCgan:
    """The networks of one age_cgan method. A drawing is the generator's at the source age and at the target age."""

    filters: Sequence[Filter] = ()
    read_back: Calibration | None = None

    def __init__(self, manifest: AgeCganMethod, open_session: Callable[[str], Session]) -> None:
        self.manifest = manifest
        self.groups, self.latent_size = manifest.age_groups, manifest.latent_size
        self.learned_under_mask = manifest.learned_under_mask
        self._encoder = open_session(manifest.graphs["encoder"])
        self._generator = open_session(manifest.graphs["generator"])
        gradient = manifest.graphs.get("latent_gradient")
        self._gradient = open_session(gradient) if gradient else None
        self.is_searchable = self._gradient is not None

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("encode"):
            latents = self.encode(crops)
        return self.draw_latents(latents, sources, targets, clock)

    def draw_latents(
        self, latents: Array, sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("generate"):
            ages = [[source, *face_targets] for source, face_targets in zip(sources, targets, strict=True)]
            rows = np.repeat(latents, [len(face_ages) for face_ages in ages], axis=0)
            drawn = iter(self.generate(rows, [age for face_ages in ages for age in face_ages]))
            drawings = []
            for face_targets in targets:
                before = next(drawn)
                drawings.append([Drawing(before, next(drawn)) for _ in face_targets])
            return drawings

    def encode(self, crops: Sequence[Crop]) -> Array:
        """Return the latents (faces, latent) of ``crops``: the initial approximation of Antipov et al. 2017, §3.2."""
        return self._encoder.run({"image": crops_to_images(crops)})["latent"]

    def generate(self, latents: Array, ages: Sequence[Age]) -> Array:
        """Return images, float32 RGB (faces, size, size, 3) in [0, 1] of ``latents`` (faces, latent), each at its age."""
        conditions = np.stack([age.condition(self.groups) for age in ages])
        images = self._generator.run({"latent": latents, "condition": conditions})["image"]
        return images.transpose(0, 2, 3, 1)

    def loss_and_gradient(self, latent: Array, subject: Subject, weights: Sequence[float]) -> Gradient:
        assert self._gradient is not None, "only asked of a method that searches"
        inputs = {
            "latent": latent[None],
            "condition": subject.age.condition(self.groups)[None],
            "image": crops_to_images([subject.crop]),
            "embedding": subject.embedding[None],
            "weights": np.asarray([weights], dtype=np.float32),
        }
        outputs = self._gradient.run(inputs)
        return float(outputs["loss"][0]), outputs["gradient"][0], outputs["terms"][0]
