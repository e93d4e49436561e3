"""Age translator: one network gives the delta between a face at its own age and at any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_shape import FaceShape
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_bundle.skin_detail import SkinDetail
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.faces.hair import HairFinder
from dorian_server.methods.method import Crop, Drawing, PhotoChange
from dorian_server.runtimes.session import Session, chunks


class AgeTranslator:
    """The network of one age_translator method, and its tables of skin's detail and of faces' shapes, and what finds hair, if it has them.

    A drawing is the crop and the crop with the delta added.
    """

    learned_under_mask = True
    filters: Sequence[Filter] = ()

    def __init__(
        self,
        manifest: AgeTranslatorMethod,
        open_session: Callable[[str], Session],
        detail: SkinDetail | None,
        shape: FaceShape | None,
    ) -> None:
        self.manifest, self._detail, self._shape = manifest, detail, shape
        self.groups = manifest.age_groups
        self.read_back = manifest.calibration if manifest.reads_back else None
        self._session = open_session(manifest.graph)
        self._hair = HairFinder(manifest.hair, open_session) if manifest.hair else None

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("generate"):
            originals = crops_to_images(crops)  # (crops, 3, size, size)
            conditions = [
                self._condition(source, age) for source, ages in zip(sources, targets, strict=True) for age in ages
            ]
            faces = np.repeat(np.arange(len(crops)), [len(ages) for ages in targets])
            source_ages, target_ages, factors = np.asarray(
                conditions, dtype=np.float32
            ).T  # each (rows,), a row per face and target
            deltas = self._deltas(originals, faces, source_ages, target_ages) * factors[:, None, None, None]
            rows = iter(deltas.transpose(0, 2, 3, 1))
            befores = originals.transpose(0, 2, 3, 1)
            return [
                [Drawing(before, before + next(rows), self._photo_change(source, age)) for age in ages]
                for before, source, ages in zip(befores, sources, targets, strict=True)
            ]

    def _photo_change(self, source: Age, target: Age) -> PhotoChange:
        years = source.years_in(self.groups), target.years_in(self.groups)
        return PhotoChange(*years, self._detail, self._shape, self._hair)

    def _condition(self, source: Age, target: Age) -> tuple[float, float, float]:
        """Source and target age in years as the network takes them, calibrated, and the factor on the delta."""
        lowest, highest = self.manifest.min_years, self.manifest.max_years
        source_age, target_age = (min(max(age.years_in(self.groups), lowest), highest) for age in (source, target))
        calibrated, factor = self.manifest.calibration.correct(source_age, target_age)
        return source_age, min(max(calibrated, lowest), highest), factor

    def _deltas(self, originals: Array, faces: NDArray[np.intp], source_ages: Array, target_ages: Array) -> Array:
        """Deltas (rows, 3, size, size) of ``originals`` (faces, 3, size, size), a row for each of ``faces`` (rows,).

        ``source_ages`` and ``target_ages`` (rows,) are in years.
        """
        views = 2 if self.manifest.mirrored else 1
        sides = np.concatenate([originals, originals[..., ::-1]])
        images = np.stack([faces, faces + len(originals)], axis=1)[:, :views].reshape(-1)
        source_ages, target_ages = np.repeat(source_ages, views), np.repeat(target_ages, views)
        means = []
        for chunk in chunks(len(images)):
            inputs = {"image": sides[images[chunk]], "source_age": source_ages[chunk], "target_age": target_ages[chunk]}
            deltas = self._session.run(inputs)["delta"]
            means.append((deltas[::2] + deltas[1::2, ..., ::-1]) / 2 if self.manifest.mirrored else deltas)
        return np.concatenate(means)
