"""Requests to the pipeline, in the server's own types, with the defaults and budgets that pipeline and admission share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dorian_bundle.ages import AgeGroup, age_condition, check_age, group_condition, group_index
from dorian_bundle.graphs import Array

Box = tuple[float, float, float, float]  # left, top, width, height in pixels
ImageFormat = Literal["JPEG", "PNG", "WEBP"]
BlendMode = Literal["delta", "replace"]
SearchBudget = Literal["none", "fast", "full"]
Objective = Literal["pixelwise", "identity", "blended"]
OptimizerName = Literal["l-bfgs-b", "adam"]

DEFAULT_QUALITY = 92
DEFAULT_STEPS = 60
MAX_STRENGTH = 1.5
DEFAULT_REFERENCES = 5
BUDGET_STEPS = 5  # bisections of the way to a target under an identity budget; the whole way is looked at before


@dataclass(frozen=True)
class SearchSettings:
    """How to search a latent.

    Args:
        objective: What the search minimises.
        optimizer: The algorithm that minimises it.
        steps: At most so many evaluations of loss and gradient, the one at the start included; in a request 0 for the default.
    """

    objective: Objective = "identity"
    optimizer: OptimizerName = "l-bfgs-b"
    steps: int = DEFAULT_STEPS


SEARCH_BUDGETS: Mapping[SearchBudget, SearchSettings | None] = {
    "none": None,
    "fast": SearchSettings("identity", steps=15),
    "full": SearchSettings("identity", steps=60),
}


@dataclass(frozen=True)
class Age:
    """A source age or a target: the label of an age ``group``, a number of ``years``, or the name of a ``filter``."""

    group: str | None = None
    years: float | None = None
    filter: str | None = None

    def years_in(self, groups: Sequence[AgeGroup]) -> float:
        """Return the age in years; a group stands for its centre.

        Raises:
            AgeError: There is no such group, or the years are out of range.
        """
        if self.group is not None:
            return groups[group_index(groups, self.group)].centre
        years = self.years if self.years is not None else float("nan")
        check_age(years)
        return years

    def condition(self, groups: Sequence[AgeGroup]) -> Array:
        """Return the age's condition, float32 (groups,).

        Raises:
            AgeError: There is no such group, or the years are out of range.
        """
        if self.group is not None:
            return group_condition(groups, group_index(groups, self.group))
        return age_condition(groups, self.years if self.years is not None else float("nan"))


@dataclass(frozen=True)
class FaceSelector:
    """Names a face by its ``box`` or by its ``index``, counted from the largest; with neither, the largest face."""

    index: int | None = None
    box: Box | None = None

    def __str__(self) -> str:
        if self.box is not None:
            return f"the box {', '.join(f'{side:g}' for side in self.box)}"
        return "the largest" if self.index is None else f"index {self.index}"


@dataclass(frozen=True)
class FaceTarget:
    """What one face is to become, and its source age where the caller knows it."""

    face: FaceSelector
    target: Age
    source: Age | None = None


@dataclass(frozen=True)
class FaceLatent:
    """A face and its latent (latent,), from an earlier search."""

    face: FaceSelector
    latent: Array


@dataclass(frozen=True)
class Output:
    """How to encode images.

    Args:
        format: Format of the files; ``None`` for the photo's.
        quality: From 1 to 100, for the formats that have one.
        keep_metadata: Whether the photo's EXIF is copied.
    """

    format: ImageFormat | None = None
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
    optimisation: SearchBudget = "none"
    latents: Sequence[FaceLatent] = ()
    keep_identity: float | None = None
    keep_hair: bool = False

    @property
    def needs_latents(self) -> bool:
        """Whether only a method with an encoder can serve it."""
        return self.optimisation != "none" or bool(self.latents)


@dataclass(frozen=True)
class ReconstructRequest:
    """A photo's file, the faces to reconstruct, and how to search their latents; without ``search`` the encoder's are used."""

    data: bytes
    source: Age | None = None
    faces: Sequence[FaceSelector] = ()
    output: Output = Output()
    search: SearchSettings | None = None


@dataclass(frozen=True)
class OptimizeRequest:
    """A photo's file and how to search the latent of one of its faces.

    Args:
        data: The file.
        search: How to search.
        face: The face.
        source: Its age; ``None`` for the estimated age.
        preview_every: Steps between previews; 0 for none.
        start: Latent (latent,) at which the search starts; ``None`` for the encoder's.
        output: How to encode the result and the previews.
    """

    data: bytes
    search: SearchSettings
    face: FaceSelector = FaceSelector()
    source: Age | None = None
    preview_every: int = 0
    start: Array | None = None
    output: Output = Output()


@dataclass(frozen=True)
class StyleReference:
    """A photo's file, the face in it that gives its styles, and its ``levels``; without any, the request says which."""

    data: bytes
    face: FaceSelector = FaceSelector()
    levels: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReferenceChoice:
    """Which of a bundle's references to choose.

    Args:
        age: Their age.
        count: How many; 0 for as many as a preset has groups, or for ``DEFAULT_REFERENCES`` where it has one.
        woman: Whether they are women; ``None`` for either.
    """

    age: Age
    count: int = 0
    woman: bool | None = None


@dataclass(frozen=True)
class MixRequest:
    """A photo's file, references in photos or a choice of the bundle's, and at which levels to mix; see ``MixStylesRequest`` in the contract."""

    data: bytes
    references: Sequence[StyleReference] = ()
    choice: ReferenceChoice | None = None
    preset: str = ""
    levels: tuple[int, ...] = ()
    faces: Sequence[FaceSelector] = ()
    strength: float = 1.0
    blend: BlendMode = "delta"
    output: Output = Output()
    with_delta: bool = False


@dataclass(frozen=True)
class CompareRequest:
    """Two photos' files, a face in each, and the false-accept rate to decide at; 0 for the default rate."""

    first: bytes
    second: bytes
    first_face: FaceSelector = FaceSelector()
    second_face: FaceSelector = FaceSelector()
    false_accept_rate: float = 0.0
