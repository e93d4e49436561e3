"""The bodies of responses: what the SDK returns, as JSON; images are base64."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from dorian_client import Filter, IdentityMatch, Picture


def _encode(value: object) -> object:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _name_filter(value: object) -> object:
    return {"filter": value.name} if isinstance(value, Filter) else value


def _add_text(value: object) -> object:
    if not isinstance(value, IdentityMatch):
        return value
    apart = value.years_apart
    return {
        "same_person": value.same_person,
        "threshold": value.threshold,
        "false_accept_rate": value.false_accept_rate,
        "years_apart": None if apart is None else {"years": apart.years, "bound": apart.bound},
        "text": str(value),
    }


def _name_media_type(value: object) -> object:
    if not isinstance(value, Picture):
        return value
    return {
        "media_type": media_type_of(value),
        "width": value.width,
        "height": value.height,
        "data": value.data,
    }


class _Result(BaseModel):
    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)


class TargetFilter(_Result):
    """A named change that is no age."""

    filter: str


class ImageOut(_Result):
    """An image."""

    media_type: str = Field(description="image/jpeg, image/png or image/webp.")
    width: int
    height: int
    data: Annotated[str, BeforeValidator(_encode), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]


class YearsApartOut(_Result):
    """How many years apart two real photographs of one adult are that are as alike, on average."""

    years: float
    bound: Literal["about", "at_most", "at_least"]


class MatchOut(_Result):
    """What a similarity means."""

    same_person: bool
    threshold: float
    false_accept_rate: float
    years_apart: YearsApartOut | None
    text: str = Field(description="The same for people.")


AgeOut: TypeAlias = float | str | None
TargetOut: TypeAlias = Annotated[float | str | TargetFilter | None, BeforeValidator(_name_filter)]
PictureOut: TypeAlias = Annotated[ImageOut, BeforeValidator(_name_media_type)]
OptionalPicture: TypeAlias = Annotated[ImageOut | None, BeforeValidator(_name_media_type)]
OptionalMatch: TypeAlias = Annotated[MatchOut | None, BeforeValidator(_add_text)]
Point: TypeAlias = tuple[float, float]


class ProvenanceOut(_Result):
    """Which bundle and method a result comes from."""

    method: str
    bundle: str
    bundle_version: str
    bundle_sha256: str


class BoxOut(_Result):
    """A rectangle in pixels of the upright photo."""

    x: float
    y: float
    width: float
    height: float


class LandmarksOut(_Result):
    """Five points of a face in pixels; right and left are the person's own."""

    right_eye: Point
    left_eye: Point
    nose: Point
    right_mouth: Point
    left_mouth: Point


class IntervalOut(_Result):
    """Between which ages a person is likely to be."""

    low: float
    high: float
    coverage: float


class PoseOut(_Result):
    """How a face is turned, in degrees."""

    yaw: float
    pitch: float
    roll: float


class FaceOut(_Result):
    """One face of a photo."""

    index: int = Field(description="Its rank by size, from 0, the largest; selects the face in later requests.")
    box: BoxOut
    score: float
    landmarks: LandmarksOut | None
    estimated_age: float | None
    interval: IntervalOut | None
    pose: PoseOut | None
    visibility: float | None


class FaceErrorOut(_Result):
    """Why one face could not be processed while others were."""

    reason: str
    message: str


class WarningOut(_Result):
    """Why the result of a face that was changed may not be as expected."""

    code: str
    message: str


class ReachedOut(_Result):
    """How far a face was changed towards its target, with keep_identity."""

    share: float
    years: float | None


class FaceReportOut(_Result):
    """What happened to one face."""

    face: FaceOut | None
    error: FaceErrorOut | None
    source: AgeOut
    source_given: bool
    target: TargetOut
    estimated_age_after: float | None
    interval_after: IntervalOut | None
    identity_similarity: float | None
    match: OptionalMatch
    warnings: list[WarningOut]
    reached: ReachedOut | None


class AgedPhotoOut(_Result):
    """The photo at one target."""

    target: TargetOut
    picture: PictureOut
    delta: OptionalPicture
    faces: list[FaceReportOut]


class _Sourced(_Result):
    provenance: ProvenanceOut
    times: dict[str, float] = Field(description="The server's seconds by stage.")


class AgeResponse(_Sourced):
    """The photo at each target."""

    photos: list[AgedPhotoOut]
    faces_found: int


class UsedReferenceOut(_Result):
    """A reference whose styles were taken."""

    index: int = Field(description="Its place among the references of the request, or among those of the bundle.")
    levels: list[int]
    face: FaceOut | None = Field(description="The face in its photo; null for one of the bundle.")
    chosen_for: int | None = Field(description="Index of the face that the server chose it for.")
    age_low: float | None
    age_high: float | None
    gender: str | None


class MixResponse(_Sourced):
    """The photo with some styles of its faces exchanged for those of references."""

    picture: PictureOut
    delta: OptionalPicture
    faces: list[FaceReportOut]
    references: list[UsedReferenceOut]
    faces_found: int


class DetectResponse(_Sourced):
    """The faces of a photo."""

    faces: list[FaceOut]
    width: int
    height: int


class CompareResponse(_Sourced):
    """Whether a face of one photo and a face of another belong to the same person."""

    first: FaceOut
    second: FaceOut
    first_embedding: list[float]
    second_embedding: list[float]
    similarity: float
    distance: float
    same_person: bool
    threshold: float
    false_accept_rate: float
    match: OptionalMatch


class ReconstructionOut(_Result):
    """What the networks make of one face."""

    face: FaceOut | None
    error: FaceErrorOut | None
    crop: OptionalPicture
    picture: OptionalPicture
    latent: list[float]
    source: AgeOut
    source_given: bool
    pixel_error: float | None
    identity_similarity: float | None
    match: OptionalMatch
    steps: int


class ReconstructResponse(_Sourced):
    """What the networks make of the faces in a photo."""

    faces: list[ReconstructionOut]


class SearchStepOut(_Result):
    """A step of a latent search: the data of an event "step"."""

    step: int
    loss: float
    best_loss: float
    identity_similarity: float
    pixel_error: float
    preview: OptionalPicture
    match: OptionalMatch


class SearchResultOut(_Sourced):
    """What a latent search ended with: the data of the event "result", the last."""

    reconstruction: ReconstructionOut


class AgeGroupOut(_Result):
    """An age group of a method."""

    label: str
    low: int
    high: int | None
    centre: float


class FilterOut(_Result):
    """A named change that is no age."""

    name: str
    description: str


class StylePresetOut(_Result):
    """A named choice of levels for /v1/mix."""

    name: str
    groups: list[list[int]] = Field(description="One for the mean of all references, or one for each reference.")


class MethodOut(_Result):
    """A method of a bundle."""

    name: str
    family: str
    description: str
    age_groups: list[AgeGroupOut]
    crop_size: int
    is_default: bool
    filters: list[FilterOut]
    reconstructs: bool
    optimises: bool
    commercial_use: bool | None
    licence_obstacles: list[str]
    style_levels: int = Field(description="How many levels of styles it has for /v1/mix; 0 if it mixes none.")
    style_presets: list[StylePresetOut]
    changes_hair: bool = Field(description="Whether hair and beards change with age, unless keep_hair is set.")


class MethodsResponse(_Result):
    """What the server has loaded."""

    name: str
    version: str
    sha256: str
    weights_licence: str
    server_version: str
    methods: list[MethodOut]
    false_accept_rates: list[float]
    bundles: list[str]


def media_type_of(picture: Picture) -> str:
    """Return the media type of an image that the server sent."""
    return f"image/{picture.format}" if picture.format else "application/octet-stream"


def render(model: type[_Result], result: Any) -> bytes:
    """Return a result of the SDK as JSON.

    Args:
        model: The response's model.
        result: What the SDK returned.
    """
    return model.model_validate(result).model_dump_json().encode()
