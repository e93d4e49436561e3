"""The keyword arguments of calls, shared by the synchronous and the asynchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from dorian_client._faces import Age, FaceLike, Target
from dorian_client._photos import PhotoLike
from dorian_client._results import Reconstruction

Targets: TypeAlias = Target | Iterable[Target] | None
Faces: TypeAlias = FaceLike | Iterable[FaceLike] | None
FaceAges: TypeAlias = Mapping[FaceLike, Target] | Iterable[tuple[FaceLike, Target]] | None
Latent: TypeAlias = Sequence[float] | npt.NDArray[np.floating]
Latents: TypeAlias = (
    Reconstruction | Iterable[Reconstruction | tuple[FaceLike, Latent]] | Mapping[FaceLike, Latent] | None
)


@dataclass(frozen=True)
class Reference:
    """A face in another photo, which gives its styles to `Client.mix`.

    Attributes:
        photo: The photo.
        face: The face; None for the largest.
        levels: The levels that this reference gives, from 1, none of which another does; None where a preset or `levels` say
            which.
    """

    photo: PhotoLike
    face: FaceLike | None = None
    levels: Sequence[int] | None = None


References: TypeAlias = PhotoLike | Reference | Sequence[PhotoLike | Reference] | None


class AgeOptions(TypedDict, total=False):
    """Keyword arguments of `Client.age` and `Client.sweep`, all optional; None stands for the default.

    Attributes:
        faces: The faces to change to the targets; all faces by default, at most the 32 largest.
        face_ages: Targets of single faces, the same in every picture, as a mapping from faces to targets or as pairs
            (`{0: "60+", 2: 8}`). Without other targets there is one picture, in which only these faces change.
        source: The age that the faces have now; by default the server estimates it, face by face.
        method: A method's name; by default the first that can do what is requested, the server's default first.
        strength: How much of the change to make, 0 to 1.5; 1 by default.
        blend: "delta", the default, adds to the photo what the method changes between source and target age; "replace"
            puts the drawn face, matched in colour, into its place.
        format: Format of the pictures: "jpeg", "png" or "webp"; by default that of the photo.
        quality: 1 to 100, for JPEG and WebP; by default the server's.
        keep_metadata: Whether to keep camera, time and author of the photo's EXIF. The location is never kept.
        with_delta: Whether to return what was added to the photo as a layer, `AgedPhoto.delta`, too.
        keep_identity: The least `FaceReport.identity_similarity`, above 0 and at most 1. Each face is changed as far towards its
            target as it stays above; `FaceReport.reached` says how far. By default the whole way, however much it changes.
        keep_hair: Whether hair, beards and brows stay as they are. By default they go grey with age, grey hair and beards dark
            where a face gets younger, and adults made children lose their beard.
        optimisation: How long a method that optimises searches for a latent that keeps the person, before it draws the
            face: "none", the default, "fast" for most of the gain, or "full".
        latents: Latents to draw faces from, without a search: reconstructions of this photo by this method (those with an
            error are ignored), a mapping from faces to latents, or (face, latent) pairs.
    """

    faces: Faces
    face_ages: FaceAges
    source: Age | None
    method: str | None
    strength: float | None
    blend: str | None
    format: str | None
    quality: int | None
    keep_metadata: bool
    with_delta: bool
    keep_identity: float | None
    keep_hair: bool
    optimisation: str | None
    latents: Latents


class ReconstructOptions(TypedDict, total=False):
    """Keyword arguments of `Client.reconstruct`, all optional; None stands for the default, except of the mode.

    Attributes:
        faces: The faces; all faces by default, at most the 32 largest.
        mode: How the latent is found. "initial", the default, takes the encoder's; the others search, with a method that
            optimises, for the drawing whose pixels are nearest to the face's ("pixelwise"), whose embedding is
            ("identity"), or both ("blended").
        optimizer: "l-bfgs-b", the default, or "adam", for a search.
        max_steps: Evaluations of loss and gradient at most, for a search; None or 0 for the server's number.
        source: The age at which to draw the faces; by default the server estimates it, face by face.
        method: A method's name; by default the first that has an encoder.
        format: Format of the pictures: "jpeg", "png" or "webp"; by default that of the photo.
        quality: 1 to 100, for JPEG and WebP; by default the server's.
    """

    faces: Faces
    mode: str
    optimizer: str | None
    max_steps: int | None
    source: Age | None
    method: str | None
    format: str | None
    quality: int | None


class OptimizeOptions(TypedDict, total=False):
    """Keyword arguments of `Client.optimize`, all optional; None stands for the default, except of the mode.

    Attributes:
        face: The face; the largest by default.
        mode: The objective: "identity", the default, "pixelwise" or "blended", as for `ReconstructOptions`.
        optimizer: "l-bfgs-b", the default, or "adam".
        max_steps: Evaluations of loss and gradient at most; None or 0 for the server's number.
        preview_every: Steps from one preview to the next; None or 0 for a single preview, at the end.
        latent: Where the search starts, as `reconstruct` or `optimize` returned it; by default at the encoder's latent.
        source: The age at which to draw the face; by default the server estimates it.
        method: A method's name; by default the first that optimises.
        format: Format of the pictures: "jpeg", "png" or "webp"; by default that of the photo.
        quality: 1 to 100, for JPEG and WebP; by default the server's.
    """

    face: FaceLike | None
    mode: str
    optimizer: str | None
    max_steps: int | None
    preview_every: int | None
    latent: Latent | None
    source: Age | None
    method: str | None
    format: str | None
    quality: int | None


class MixOptions(TypedDict, total=False):
    """Keyword arguments of `Client.mix`, all optional; None stands for the default.

    Attributes:
        to: An age; the server chooses references of it for each face, in place of photos.
        count: How many it chooses, up to 8; 5 by default, or as many as the preset has groups.
        gender: "woman" or "man", for those that it chooses; either by default.
        preset: Name of a preset, as `methods` lists it; "mid" by default, where no levels are given. One of several groups takes
            as many references, each of which gives its group of levels; one of a single group takes their mean.
        levels: Levels, from 1, at which the mean of all references is taken.
        faces: The faces to change; all faces by default, at most the 32 largest.
        method: A method's name; by default the first that mixes styles.
        strength: How much of the change to make, 0 to 1.5; 1 by default.
        blend: "delta", the default, or "replace", as for `AgeOptions`.
        format: Format of the picture: "jpeg", "png" or "webp"; by default that of the photo.
        quality: 1 to 100, for JPEG and WebP; by default the server's.
        keep_metadata: Whether to keep camera, time and author of the photo's EXIF. The location is never kept.
        with_delta: Whether to return what was added to the photo as a layer, `MixResult.delta`, too.
    """

    to: Age | None
    count: int | None
    gender: str | None
    preset: str | None
    levels: Sequence[int] | None
    faces: Faces
    method: str | None
    strength: float | None
    blend: str | None
    format: str | None
    quality: int | None
    keep_metadata: bool
    with_delta: bool


def check_options(options: Mapping[str, object], kind: type) -> None:
    """Raise TypeError for keyword arguments that a TypedDict such as `AgeOptions` does not have."""
    for name in options:
        if name not in kind.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}; the options are {', '.join(kind.__annotations__)}")
