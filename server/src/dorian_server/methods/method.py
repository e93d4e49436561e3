"""What a method is to the pipeline: it draws faces at the ages, or through the filters, that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import AgeGroup
from dorian_bundle.families import Method as MethodEntry
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age

Crop = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """A face ``before``, as the method's networks see it, and ``after``: float32 RGB (size, size, 3), about [0, 1]."""

    before: Array
    after: Array

    @property
    def delta(self) -> Array:
        """What changes: float32 RGB (size, size, 3), about [-1, 1]."""
        return self.after - self.before

    @property
    def picture(self) -> Array:
        """The face at its target: float32 RGB (size, size, 3) in [0, 1]."""
        return np.clip(self.after, 0, 1)


@dataclass(frozen=True)
class Subject:
    """What a latent is to draw: an aligned ``crop``, its FaceNet ``embedding`` (embedding,), and the age to draw it at."""

    crop: Crop
    embedding: Array
    age: Age


Gradient = tuple[float, Array, Array]  # loss, its gradient (latent,) by the latent, and its terms (3,)


class Method(Protocol):
    """The networks of one method; safe to call from several threads.

    It draws any age if it has ``groups``, and its ``filters``; either may be empty. ``learned_under_mask`` tells that its
    deltas were trained as they come into the photo, so that nothing of them is to be held back.
    """

    learned_under_mask: bool

    @property
    def manifest(self) -> MethodEntry:
        """What the bundle says of it."""
        ...

    @property
    def groups(self) -> Sequence[AgeGroup]: ...

    @property
    def filters(self) -> Sequence[Filter]: ...

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        """Each face of ``crops``, aligned RGB uint8 (size, size, 3), from its age in ``sources`` to each of its ``targets``.

        ``crops`` are one or more; all ages are known to the method. Each graph runs once for all, if they are not too many.
        """
        ...


@runtime_checkable
class EncodingMethod(Method, Protocol):
    """A method with an encoder: a face becomes a latent, and a latent a picture.

    ``searches`` tells whether its latents, of ``latent_size`` numbers, can be searched, by ``loss_and_gradient``.
    """

    searches: bool

    @property
    def latent_size(self) -> int: ...

    def encode(self, crops: Sequence[Crop]) -> Array:
        """Latents (faces, latent) of ``crops``, aligned RGB uint8 (size, size, 3)."""
        ...

    def generate(self, latents: Array, ages: Sequence[Age]) -> Array:
        """Pictures float32 RGB (faces, size, size, 3) in [0, 1] of ``latents`` (faces, latent), each at its age."""
        ...

    def draw_latents(
        self, latents: Array, sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        """As ``draw``, of ``latents`` (faces, latent) in place of crops."""
        ...

    def loss_and_gradient(self, latent: Array, subject: Subject, weights: Sequence[float]) -> Gradient:
        """How well ``latent`` (latent,) draws ``subject``, with a weight for each of the three terms (see ``dorian_bundle.families.age_cgan``).

        Concurrent calls share batches.
        """
        ...
