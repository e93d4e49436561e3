"""Age translator: one network gives the difference between a face at the age that it has and at any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.methods.method import Crop, Drawing
from dorian_server.runtimes.session import Session, chunks


class AgeTranslator:
    """The network of one age_translator method. A drawing is the crop and the crop with the delta added."""

    learned_under_mask = True
    filters: Sequence[Filter] = ()

    def __init__(self, manifest: AgeTranslatorMethod, open_session: Callable[[str], Session]) -> None:
        self.manifest = manifest
        self.groups = manifest.age_groups
        self._session = open_session(manifest.graph)

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("generate"):
            pictures = crops_to_images(crops)
            conditions = [
                self._condition(source, age) for source, ages in zip(sources, targets, strict=True) for age in ages
            ]
            faces = np.repeat(np.arange(len(crops)), [len(ages) for ages in targets])
            own, drawn, factors = np.asarray(conditions, dtype=np.float32).T  # each (rows,), a row per face and target
            deltas = self._deltas(pictures, faces, own, drawn) * factors[:, None, None, None]
            rows = iter(deltas.transpose(0, 2, 3, 1))
            befores = pictures.transpose(0, 2, 3, 1)
            return [
                [Drawing(before, before + next(rows)) for _ in ages]
                for before, ages in zip(befores, targets, strict=True)
            ]

    def _condition(self, source: Age, target: Age) -> tuple[float, float, float]:
        """The ages in years to tell the network for a face of ``source`` that is to look like ``target``, and the delta's factor."""
        least, most = self.manifest.min_years, self.manifest.max_years
        own, asked = (min(max(age.years_in(self.groups), least), most) for age in (source, target))
        drawn, factor = self.manifest.calibration.correct(own, asked)
        return own, min(max(drawn, least), most), factor

    def _deltas(self, pictures: Array, faces: NDArray[np.intp], own: Array, drawn: Array) -> Array:
        """Deltas (rows, 3, size, size) of ``pictures`` (faces, 3, size, size), a row for each of ``faces`` (rows,).

        ``own`` and ``drawn`` (rows,) are ages in years.
        """
        views = 2 if self.manifest.mirrored else 1
        sides = np.concatenate([pictures, pictures[..., ::-1]])
        images = np.stack([faces, faces + len(pictures)], axis=1)[:, :views].reshape(-1)
        own, drawn = np.repeat(own, views), np.repeat(drawn, views)
        means = []
        for chunk in chunks(len(images)):
            inputs = {"image": sides[images[chunk]], "source_age": own[chunk], "target_age": drawn[chunk]}
            deltas = self._session.run(inputs)["delta"]
            means.append((deltas[::2] + deltas[1::2, ..., ::-1]) / 2 if self.manifest.mirrored else deltas)
        return np.concatenate(means)
