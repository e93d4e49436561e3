"""AE-StyleGAN: the encoder finds a face's structure and styles, and the generator draws it with some styles exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dorian_bundle.calibration import Calibration
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_bundle.style_library import StyleLibrary
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.methods.method import Crop, Drawing, Gradient, Subject
from dorian_server.methods.mixing import Change, MixedStyles
from dorian_server.runtimes.session import Session, chunks


class AeStyleGan:
    """The networks and the styles of one ae_stylegan method.

    A drawing is the generator's of the face's own code and of the mixed one. A latent is a code as one vector: the structure,
    then the styles of one level after the other.
    """

    learned_under_mask = True
    read_back: Calibration | None = None
    is_searchable = False

    def __init__(
        self, manifest: AeStyleGanMethod, open_session: Callable[[str], Session], library: StyleLibrary
    ) -> None:
        self.manifest, self.library = manifest, library
        self.groups = manifest.age_groups
        self.filters: Sequence[Filter] = manifest.filters
        self.level_count = manifest.levels
        self.latent_size = manifest.structure + manifest.levels * manifest.style
        self._encoder = open_session(manifest.encoder)
        self._generator = open_session(manifest.generator)
        self._filter_generators = {filter.name: open_session(filter.graph) for filter in manifest.filters}

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("encode"):
            latents = self.encode(crops)
        return self.draw_latents(latents, sources, targets, clock)

    def draw_latents(
        self, latents: Array, sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        changes: list[list[Change]] = [
            [target.filter or self._shift(latent, source, target) for target in ages]
            for latent, source, ages in zip(latents, sources, targets, strict=True)
        ]
        return self.draw_changes(latents, changes, clock)

    def draw_changes(self, latents: Array, changes: Sequence[Sequence[Change]], clock: Clock) -> list[list[Drawing]]:
        """Return the drawings of each face, of ``latents`` (faces, latent), one for each of its ``changes``."""
        with clock.stage("generate"):
            rows: dict[str | None, list[Array]] = {None: [*latents]}  # by the filter that draws them
            for latent, of_face in zip(latents, changes, strict=True):
                for change in of_face:
                    row = latent if isinstance(change, str) else self._mixed(latent, change)
                    rows.setdefault(_filter_of(change), []).append(row)
            drawn = {name: iter(self._generate(np.stack(of_filter), name)) for name, of_filter in rows.items()}
            owns = [next(drawn[None]) for _ in latents]
            return [
                [self._drawing(own, next(drawn[_filter_of(change)]), change) for change in of_face]
                for own, of_face in zip(owns, changes, strict=True)
            ]

    def encode(self, crops: Sequence[Crop]) -> Array:
        """Return the latents (faces, latent) of ``crops``."""
        images = crops_to_images(crops)
        parts = []
        for chunk in chunks(len(images)):
            code = self._encoder.run({"image": images[chunk]})
            styles = code["styles"].reshape(len(code["styles"]), -1)
            parts.append(np.concatenate([code["structure"], styles], axis=1) if self.manifest.structure else styles)
        return np.concatenate(parts)

    def generate(self, latents: Array, ages: Sequence[Age]) -> Array:
        """Return images, float32 RGB (faces, size, size, 3) in [0, 1], of ``latents`` (faces, latent) as they are, whatever ``ages``."""
        return np.clip(self._generate(latents, None), 0, 1)

    def loss_and_gradient(self, latent: Array, subject: Subject, weights: Sequence[float]) -> Gradient:
        raise AssertionError("only asked of a method that searches")

    def styles_of(self, latent: Array) -> Array:
        """Return the styles (levels, style) in ``latent`` (latent,)."""
        return latent[self.manifest.structure :].reshape(self.manifest.levels, self.manifest.style)

    def structure_of(self, latent: Array) -> Array:
        """Return the structure (numbers,) in ``latent`` (latent,)."""
        return latent[: self.manifest.structure]

    def _shift(self, latent: Array, source: Age, target: Age) -> MixedStyles:
        """The face's own styles, moved by the difference of the means of two ages, calibrated."""
        lowest, highest = self.manifest.min_years, self.manifest.max_years
        source_age, target_age = (min(max(age.years_in(self.groups), lowest), highest) for age in (source, target))
        calibrated, factor = self.manifest.calibration.correct(source_age, target_age)
        calibrated = min(max(calibrated, lowest), highest)
        shift = self.library.mean_at(calibrated) - self.library.mean_at(source_age)
        return MixedStyles(self.styles_of(latent) + shift, self.manifest.age_levels, factor)

    def _drawing(self, own: Array, changed: Array, change: Change) -> Drawing:
        strength = 1.0 if isinstance(change, str) else change.strength
        return Drawing(own, own + strength * self.manifest.bounded(changed - own))

    def _mixed(self, latent: Array, mix: MixedStyles) -> Array:
        styles = self.styles_of(latent).copy()
        levels = _indices(mix.levels)
        styles[levels] = mix.styles[levels]
        return np.concatenate([self.structure_of(latent), styles.reshape(-1)])

    def _generate(self, latents: Array, filter: str | None) -> Array:
        """Images, float32 RGB (rows, size, size, 3), about [0, 1], of ``latents`` (rows, latent), by the generator or by a filter's."""
        session = self._generator if filter is None else self._filter_generators[filter]
        manifest, images = self.manifest, []
        for chunk in chunks(len(latents)):
            part = latents[chunk]
            inputs = {"styles": part[:, manifest.structure :].reshape(-1, manifest.levels, manifest.style)}
            if manifest.structure:
                inputs["structure"] = np.ascontiguousarray(part[:, : manifest.structure])
            images.append(session.run(inputs)["image"].transpose(0, 2, 3, 1))
        return np.concatenate(images)


def _filter_of(change: Change) -> str | None:
    return change if isinstance(change, str) else None


def _indices(levels: Iterable[int]) -> list[int]:
    return [level - 1 for level in levels]
