"""The protocol of a method that mixes styles: some of a face's are exchanged for those of references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dorian_bundle.graphs import Array
from dorian_bundle.style_library import StyleLibrary
from dorian_server.domain.clock import Clock
from dorian_server.methods.method import Drawing, EncodingMethod


@dataclass(frozen=True)
class MixedStyles:
    """What is exchanged in a face: ``styles`` (levels, style) in full, of which those at ``levels``, from 1, are taken; ``strength``: how far."""

    styles: Array
    levels: tuple[int, ...]
    strength: float = 1.0


Change = MixedStyles | str  # styles that are exchanged, or the name of a filter


@runtime_checkable
class MixingMethod(EncodingMethod, Protocol):
    """A method whose latents are a structure and styles at ``level_count`` levels, with a ``library`` of references' styles."""

    @property
    def level_count(self) -> int: ...

    @property
    def library(self) -> StyleLibrary: ...

    def styles_of(self, latent: Array) -> Array:
        """Return the styles (levels, style) in ``latent`` (latent,)."""
        ...

    def structure_of(self, latent: Array) -> Array:
        """Return the structure (numbers,) in ``latent`` (latent,)."""
        ...

    def draw_changes(self, latents: Array, changes: Sequence[Sequence[Change]], clock: Clock) -> list[list[Drawing]]:
        """Return the drawings of each face, of ``latents`` (faces, latent), one for each of its ``changes``."""
        ...
