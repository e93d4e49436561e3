"""The protocol of a method: it draws faces at ages, or through filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import AgeGroup
from dorian_bundle.calibration import Calibration
from dorian_bundle.face_shape import FaceShape
from dorian_bundle.families import Method as MethodEntry
from dorian_bundle.graphs import Array
from dorian_bundle.method_entry import Filter
from dorian_bundle.skin_detail import SkinDetail
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.faces.hair import HairFinder

Crop = NDArray[np.uint8]
Gradient = tuple[float, Array, Array]  # loss, its gradient (latent,) by the latent, and its terms (3,)


@dataclass(frozen=True)
class PhotoChange:
    """How the photo's own pixels change from the age ``source`` to ``target``, in years.

    ``detail`` changes the fine structure of skin, ``shape`` the shape of the face, ``hair`` finds hair to recolour; ``None``: it stays.
    Skin and shape change to the age ``corrected`` where the face did not look its target; hair and beard belong to the target.
    """

    source: float
    target: float
    detail: SkinDetail | None
    shape: FaceShape | None
    hair: HairFinder | None = None
    corrected: float | None = None

    @property
    def face_target(self) -> float:
        """The age that skin and shape change to, in years."""
        return self.target if self.corrected is None else self.corrected


@dataclass(frozen=True)
class Drawing:
    """What a method draws of a face: ``before`` and ``after``, float32 RGB (size, size, 3), about [0, 1].

    ``photo`` is changed beside it where the delta is added to the photo; ``None``: nothing is.
    """

    before: Array
    after: Array
    photo: PhotoChange | None = None

    @property
    def delta(self) -> Array:
        """The change: float32 RGB (size, size, 3), about [-1, 1]."""
        return self.after - self.before

    def changed_by(self, share: float, years: float) -> Drawing:
        """Return the drawing with ``share`` times its delta, beside which skin and shape change to an age of ``years``."""
        photo = self.photo and replace(self.photo, corrected=years)
        return Drawing(self.before, self.before + np.float32(share) * self.delta, photo)

    @property
    def image(self) -> Array:
        """The face at its target: float32 RGB (size, size, 3) in [0, 1]."""
        return np.clip(self.after, 0, 1)


@dataclass(frozen=True)
class Subject:
    """What a latent is to draw.

    Args:
        crop: The aligned crop, RGB uint8 (size, size, 3).
        embedding: Its FaceNet embedding (embedding,).
        age: The age to draw it at.
    """

    crop: Crop
    embedding: Array
    age: Age


class Method(Protocol):
    """The networks of one method; safe to call from several threads.

    It draws any age if it has ``groups``, and its ``filters``; either may be empty. With ``learned_under_mask`` its deltas were
    trained as they appear in the photo, and are applied in full. Where there is a calibration to ``read_back``
    by, faces that are not estimated as it says get more or less of their change.
    """

    learned_under_mask: bool
    read_back: Calibration | None

    @property
    def manifest(self) -> MethodEntry:
        """Its entry in the bundle's manifest."""
        ...

    @property
    def groups(self) -> Sequence[AgeGroup]: ...

    @property
    def filters(self) -> Sequence[Filter]: ...

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        """Return the drawings of each face, one for each of its targets.

        Args:
            crops: Aligned crops of one or more faces, RGB uint8 (size, size, 3).
            sources: The source age of each.
            targets: The targets of each, all of which the method can draw.
            clock: Times the stages.
        """
        ...


@runtime_checkable
class EncodingMethod(Method, Protocol):
    """A method with an encoder, which turns a face into a latent, and a generator, which turns a latent into an image.

    Its latents, of ``latent_size`` numbers, can be searched by ``loss_and_gradient`` if ``is_searchable``.
    """

    is_searchable: bool

    @property
    def latent_size(self) -> int: ...

    def encode(self, crops: Sequence[Crop]) -> Array:
        """Return the latents (faces, latent) of ``crops``, aligned RGB uint8 (size, size, 3)."""
        ...

    def generate(self, latents: Array, ages: Sequence[Age]) -> Array:
        """Return images, float32 RGB (faces, size, size, 3) in [0, 1], of ``latents`` (faces, latent), each at its age."""
        ...

    def draw_latents(
        self, latents: Array, sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        """As ``draw``, from ``latents`` (faces, latent) in place of crops."""
        ...

    def loss_and_gradient(self, latent: Array, subject: Subject, weights: Sequence[float]) -> Gradient:
        """Return how far ``latent`` is from drawing ``subject``; concurrent calls share batches.

        Args:
            latent: (latent,).
            subject: What to draw.
            weights: A weight for each of the three terms of the graph ``latent_gradient``.
        """
        ...
