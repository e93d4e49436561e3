"""What is asked of the pipeline, in its own types, checked where they are made from messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dorian_bundle.ages import AgeGroup, age_condition, check_age, group_condition, group_index
from dorian_server.images import DEFAULT_QUALITY, Format
from dorian_server.pipeline.latent_search import SearchSettings
from dorian_server.runtimes.session import Array

Box = tuple[float, float, float, float]
BlendMode = Literal["delta", "replace"]
Budget = Literal["none", "fast", "full"]
MAX_STRENGTH = 1.5


@dataclass(frozen=True)
class Age:
    """What was asked for: the label of an age ``group``, a number of ``years``, or the name of a ``filter``."""

    group: str | None = None
    years: float | None = None
    filter: str | None = None

    def years_in(self, groups: Sequence[AgeGroup]) -> float:
        """Its years: a group's are its centre. ``dorian_bundle.AgeError`` if there is no such group or age."""
        if self.group is not None:
            return groups[group_index(groups, self.group)].centre
        years = self.years if self.years is not None else float("nan")
        check_age(years)
        return years

    def condition(self, groups: Sequence[AgeGroup]) -> Array:
        """Its condition, float32 (groups,). ``dorian_bundle.AgeError`` if there is no such group or age."""
        if self.group is not None:
            return group_condition(groups, group_index(groups, self.group))
        return age_condition(groups, self.years if self.years is not None else float("nan"))


@dataclass(frozen=True)
class FaceSelector:
    """Names a face: by ``box`` (x, y, width, height), by ``index`` from the largest on, or, with neither, the largest."""

    index: int | None = None
    box: Box | None = None

    def __str__(self) -> str:
        if self.box is not None:
            return f"the box {', '.join(f'{side:g}' for side in self.box)}"
        return "the largest" if self.index is None else f"index {self.index}"


@dataclass(frozen=True)
class FaceTarget:
    """A face with an age of its own to aim at, and perhaps the age that it has now."""

    face: FaceSelector
    target: Age
    source: Age | None = None


@dataclass(frozen=True)
class FaceLatent:
    """A face and its latent (latent,), as a search found it before."""

    face: FaceSelector
    latent: Array


@dataclass(frozen=True)
class Output:
    """How to store pictures: ``format`` (none: the photo's own), ``quality`` from 1 to 100, and whether EXIF stays."""

    format: Format | None = None
    quality: int = DEFAULT_QUALITY
    keep_metadata: bool = False


@dataclass(frozen=True)
class AgeRequest:
    """A photo's file and what to do with its faces; see ``AgeTransformRequest`` in the contract."""

    data: bytes
    targets: Sequence[Age] = ()
    source: Age | None = None
    faces: Sequence[FaceSelector] = ()
    face_targets: Sequence[FaceTarget] = ()
    strength: float = 1.0
    blend: BlendMode = "delta"
    output: Output = Output()
    with_delta: bool = False
    optimisation: Budget = "none"
    latents: Sequence[FaceLatent] = ()

    @property
    def needs_latents(self) -> bool:
        """Whether only a method with an encoder can serve it."""
        return self.optimisation != "none" or bool(self.latents)


@dataclass(frozen=True)
class ReconstructRequest:
    """A photo's file, which of its faces to reconstruct, and how latents are searched (none: the encoder's stay)."""

    data: bytes
    source: Age | None = None
    faces: Sequence[FaceSelector] = ()
    output: Output = Output()
    search: SearchSettings | None = None


@dataclass(frozen=True)
class OptimizeRequest:
    """A photo's file and how to search the latent of one of its faces.

    ``preview_every``: steps between previews, 0 for none. ``start`` (latent,): where to begin, unless where the encoder says.
    """

    data: bytes
    search: SearchSettings
    face: FaceSelector = FaceSelector()
    source: Age | None = None
    preview_every: int = 0
    start: Array | None = None
    output: Output = Output()


@dataclass(frozen=True)
class CompareRequest:
    """Two photos' files, a face in each, and how often two people may be taken for one (0: the usual rate)."""

    first: bytes
    second: bytes
    first_face: FaceSelector = FaceSelector()
    second_face: FaceSelector = FaceSelector()
    false_accept_rate: float = 0.0
