"""The bodies of requests: fields have the names and meanings of the SDK's arguments; ranges are left to the server."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from dorian_client import AgeOptions, Box, FaceLike, Filter, MixOptions, Reference, Target
from dorian_gateway.errors import RequestInvalid


def _decode_photo(value: object) -> object:
    """Return the bytes of a photo: those of a multipart file as they are, base64 of JSON decoded."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a photo in JSON is the base64 of a JPEG, PNG or WebP file") from None


Photo: TypeAlias = Annotated[
    bytes, BeforeValidator(_decode_photo), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
]
ImageFormat: TypeAlias = Literal["jpeg", "png", "webp"]
SearchMode: TypeAlias = Literal["pixelwise", "identity", "blended"]
Optimizer: TypeAlias = Literal["l-bfgs-b", "adam"]


# More entries than any server takes, so that its own limits and reasons count; they bound what a body costs to read.
_MAX_ENTRIES = 1024
_MAX_NUMBERS = 65_536


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True)


class FilterTarget(_Body):
    """A named change that is no age."""

    filter: str = Field(description="The filter's name, as /v1/methods gives it.")


class BoxSelector(_Body):
    """The face that overlaps a rectangle of the upright photo most."""

    x: float
    y: float
    width: float
    height: float


AnyAge: TypeAlias = float | str
AnyTarget: TypeAlias = float | str | FilterTarget
AnyFace: TypeAlias = Literal["largest"] | int | BoxSelector


class FaceAge(_Body):
    """The target of one face."""

    face: AnyFace
    to: AnyTarget


class FaceLatent(_Body):
    """The latent of one face."""

    face: AnyFace
    latent: list[float] = Field(max_length=_MAX_NUMBERS)


class _ChangeBody(_Body):
    photo: Photo = Field(description="A JPEG, PNG or WebP file.")
    faces: list[AnyFace] | None = Field(
        None, max_length=_MAX_ENTRIES, description="The faces to change; all unless given."
    )
    method: str | None = Field(None, description="The method's name, as /v1/methods gives it.")
    strength: float | None = Field(None, description="Factor on the change, 0 to 1.5.")
    blend: Literal["delta", "replace"] | None = Field(None, description="How the change is put into the photo.")
    format: ImageFormat | None = Field(None, description="Format of the result; that of the photo unless given.")
    quality: int | None = Field(None, description="1 to 100, for JPEG and WebP.")
    keep_metadata: bool = Field(False, description="Whether to keep camera, time and author of the photo's EXIF.")
    with_delta: bool = Field(False, description="Whether to return the change as a layer, too.")


class AgeBody(_ChangeBody):
    """A photo whose faces are to change."""

    to: list[AnyTarget] = Field(
        [], max_length=_MAX_ENTRIES, description="Targets: years, labels of age groups, or filters; a photo for each."
    )
    face_ages: list[FaceAge] | None = Field(
        None, max_length=_MAX_ENTRIES, description="Targets of single faces, the same in every photo."
    )
    source: AnyAge | None = Field(None, description="The age that the faces have now; estimated unless given.")
    keep_identity: float | None = Field(
        None,
        description="The least similarity that faces keep, above 0 and at most 1; they change as far as it allows.",
    )
    keep_hair: bool = Field(
        False, description="Whether hair, beards and brows stay as they are, in place of going grey with age."
    )
    optimisation: Literal["none", "fast", "full"] | None = Field(None, description="How long to search for latents.")
    latents: list[FaceLatent] | None = Field(
        None, max_length=_MAX_ENTRIES, description="Latents to draw faces from, without a search."
    )

    def to_targets(self) -> list[Target]:
        """Return the targets as the SDK takes them."""
        return [_to_target(target) for target in self.to]

    def to_options(self) -> AgeOptions:
        """Return the options as the SDK takes them."""
        face_ages, latents = self.face_ages or [], self.latents
        return AgeOptions(
            faces=_to_faces(self.faces),
            face_ages=[(_to_face(pair.face), _to_target(pair.to)) for pair in face_ages],
            source=self.source,
            method=self.method,
            strength=self.strength,
            keep_identity=self.keep_identity,
            keep_hair=self.keep_hair,
            blend=self.blend,
            format=self.format,
            quality=self.quality,
            keep_metadata=self.keep_metadata,
            with_delta=self.with_delta,
            optimisation=self.optimisation,
            latents=None if latents is None else [(_to_face(pair.face), pair.latent) for pair in latents],
        )


class MixBody(_ChangeBody):
    """A photo whose faces take styles of faces in other photos, or of an age."""

    references: list[Photo] = Field([], max_length=_MAX_ENTRIES, description="Photos that give their styles, up to 8.")
    reference_faces: list[AnyFace] | None = Field(
        None, max_length=_MAX_ENTRIES, description="The face of each reference; the largest unless given."
    )
    reference_levels: list[list[int]] | None = Field(
        None, max_length=_MAX_ENTRIES, description="The levels that each reference gives, from 1."
    )
    to: AnyAge | None = Field(None, description="An age; the server chooses references of it, in place of photos.")
    count: int | None = Field(None, description="How many it chooses, up to 8.")
    gender: Literal["woman", "man"] | None = Field(None, description="Of those that it chooses; either unless given.")
    preset: str | None = Field(None, description='A preset of /v1/methods; "mid" where no levels are given.')
    levels: list[int] | None = Field(
        None, max_length=_MAX_ENTRIES, description="Levels, from 1, at which the mean of all references is taken."
    )

    def to_references(self) -> list[Reference]:
        """Return the references as the SDK takes them.

        Raises:
            RequestInvalid: There are fewer or more faces, or lists of levels, than references.
        """
        count = len(self.references)
        for name, entries in (("reference_faces", self.reference_faces), ("reference_levels", self.reference_levels)):
            if entries is not None and len(entries) != count:
                raise RequestInvalid(
                    f"{name} has {len(entries)} entries for {count} references; give one for each", name
                )
        faces = [None] * count if self.reference_faces is None else list(map(_to_face, self.reference_faces))
        levels = [None] * count if self.reference_levels is None else self.reference_levels
        return [Reference(*parts) for parts in zip(self.references, faces, levels, strict=True)]

    def to_options(self) -> MixOptions:
        """Return the options as the SDK takes them."""
        return MixOptions(
            to=self.to,
            count=self.count,
            gender=self.gender,
            preset=self.preset,
            levels=self.levels,
            faces=_to_faces(self.faces),
            method=self.method,
            strength=self.strength,
            blend=self.blend,
            format=self.format,
            quality=self.quality,
            keep_metadata=self.keep_metadata,
            with_delta=self.with_delta,
        )


class DetectBody(_Body):
    """A photo whose faces are to be found."""

    photo: Photo = Field(description="A JPEG, PNG or WebP file.")


class CompareBody(_Body):
    """Two photos whose faces are to be compared."""

    first: Photo = Field(description="A JPEG, PNG or WebP file.")
    second: Photo = Field(description="A JPEG, PNG or WebP file.")
    first_face: AnyFace | None = Field(None, description="The face of the first photo; the largest unless given.")
    second_face: AnyFace | None = Field(None, description="The face of the second photo; the largest unless given.")
    false_accept_rate: float | None = Field(None, description="One of the rates that /v1/methods gives.")

    def to_arguments(self) -> dict[str, Any]:
        """Return the arguments as the SDK takes them."""
        return {
            "first_face": None if self.first_face is None else _to_face(self.first_face),
            "second_face": None if self.second_face is None else _to_face(self.second_face),
            "false_accept_rate": self.false_accept_rate,
        }


class _DrawingBody(_Body):
    photo: Photo = Field(description="A JPEG, PNG or WebP file.")
    optimizer: Optimizer | None = Field(None, description="What minimises the loss of a search.")
    max_steps: int | None = Field(None, description="Most steps of a search.")
    source: AnyAge | None = Field(None, description="The age at which to draw the face; estimated unless given.")
    method: str | None = Field(None, description="The method's name, as /v1/methods gives it.")
    format: ImageFormat | None = Field(None, description="Format of the images; that of the photo unless given.")
    quality: int | None = Field(None, description="1 to 100, for JPEG and WebP.")


class ReconstructBody(_DrawingBody):
    """A photo whose faces are to be drawn from their latents."""

    faces: list[AnyFace] | None = Field(None, max_length=_MAX_ENTRIES, description="The faces; all unless given.")
    mode: Literal["initial"] | SearchMode = Field("initial", description="How the latents are found.")

    def to_arguments(self) -> dict[str, Any]:
        """Return the arguments as the SDK takes them."""
        return self.model_dump(exclude={"photo", "faces"}) | {"faces": _to_faces(self.faces)}


class OptimizeBody(_DrawingBody):
    """A photo and the face in it whose latent is searched for."""

    face: AnyFace | None = Field(None, description="The face; the largest unless given.")
    mode: SearchMode = Field("identity", description="What the search minimises.")
    preview_every: int | None = Field(
        None, description="Steps from one preview to the next; only the last unless given."
    )
    latent: list[float] | None = Field(None, max_length=_MAX_NUMBERS, description="Where the search starts.")

    def to_arguments(self) -> dict[str, Any]:
        """Return the arguments as the SDK takes them."""
        face = None if self.face is None else _to_face(self.face)
        return self.model_dump(exclude={"photo", "face"}) | {"face": face}


def _to_target(target: AnyTarget) -> Target:
    return Filter(target.filter) if isinstance(target, FilterTarget) else target


def _to_faces(faces: list[AnyFace] | None) -> list[FaceLike] | None:
    return None if faces is None else [_to_face(face) for face in faces]


def _to_face(face: AnyFace) -> FaceLike:
    return Box(face.x, face.y, face.width, face.height) if isinstance(face, BoxSelector) else face
