"""Results of the pipeline, in the server's own types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import Array
from dorian_bundle.similarity_by_years import YearsApart
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age, ImageFormat


@dataclass(frozen=True)
class EncodedImage:
    """An image's file, and its size in pixels."""

    data: bytes
    format: ImageFormat
    width: int
    height: int


@dataclass(frozen=True)
class FaceReading:
    """What the face readers say of an aligned face: its estimated age in years, and its ``embedding`` (embedding,).

    ``age_interval``: the lowest and the highest age that the estimate allows; ``None`` where that was not measured.
    """

    estimated_age: float
    embedding: Array
    age_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Face:
    """A face of a photo.

    Args:
        index: Its place among the photo's faces, the largest first.
        detected: What the detector says of it.
        reading: What the face readers say of it; ``None`` if it cannot be aligned.
    """

    index: int
    detected: DetectedFace
    reading: FaceReading | None


@dataclass(frozen=True)
class DetectionResult:
    """A photo's size in pixels and its faces, largest first."""

    width: int
    height: int
    faces: list[Face]


@dataclass(frozen=True)
class IdentityMatch:
    """What a similarity of two faces means.

    Args:
        same_person: Whether it reaches the threshold.
        threshold: Similarity from which on two faces count as one person's.
        false_accept_rate: Share of pairs of different people that reached the threshold when it was measured.
        years_apart: How far apart in time photographs of one adult with this similarity are; ``None`` where that is unknown.
    """

    same_person: bool
    threshold: float
    false_accept_rate: float
    years_apart: YearsApart | None


class WarningCode(StrEnum):
    """What may have gone wrong with a face that was changed."""

    AGE_UNCERTAIN = "AGE_UNCERTAIN"
    FACE_COVERED = "FACE_COVERED"
    FACE_TURNED = "FACE_TURNED"


@dataclass(frozen=True)
class FaceWarning:
    """Why the result of a face that was changed may not be as expected, for programs and for people."""

    code: WarningCode
    message: str


@dataclass(frozen=True)
class ReachedTarget:
    """How far a face was changed under an identity budget.

    Args:
        share: Share of the way to its target, from 0 for no change to 1.
        years: The age that was drawn; ``None`` for a filter.
    """

    share: float
    years: float | None


@dataclass(frozen=True)
class FaceReport:
    """What became of one face in one image.

    Args:
        face: The face; ``None`` if a selector matched none.
        source: Its source age.
        source_given: Whether the caller gave the source age.
        target: What it was to become.
        after: What the face readers say of the result.
        similarity: Cosine of its embeddings before and after.
        warnings: Why the result may not be as expected.
        error: Why the face was left as it was.
        reached: How far it was changed, where there is an identity budget.
    """

    face: Face | None = None
    source: Age | None = None
    source_given: bool = False
    target: Age | None = None
    after: FaceReading | None = None
    similarity: float | None = None
    warnings: tuple[FaceWarning, ...] = ()
    error: RequestError | None = None
    reached: ReachedTarget | None = None


@dataclass(frozen=True)
class AgedImage:
    """A photo at one target.

    Args:
        image: The photo with its faces changed.
        faces: Reports of its faces, largest first, then those of selectors that matched no face.
        delta: What was added to the photo, where it was requested.
    """

    image: EncodedImage
    faces: list[FaceReport]
    delta: EncodedImage | None = None


@dataclass(frozen=True)
class AgeResult:
    """The photo at each target, and how many faces it has."""

    images: list[AgedImage]
    face_count: int


@dataclass(frozen=True)
class KeptReference:
    """What a bundle knows of a reference that it keeps: first and last year of its age, and whether it is a woman."""

    age_low: float
    age_high: float
    woman: bool


@dataclass(frozen=True)
class UsedReference:
    """A reference whose styles were taken.

    Args:
        index: Its place in the request, or among those that the bundle keeps.
        levels: At which levels.
        face: Its face; ``None`` for one that the bundle keeps.
        kept: What is known of one that the bundle keeps.
        chosen_for: Index of the face that it was chosen for; ``None`` for a reference of the request.
    """

    index: int
    levels: tuple[int, ...]
    face: Face | None = None
    kept: KeptReference | None = None
    chosen_for: int | None = None


@dataclass(frozen=True)
class MixResult:
    """The photo with mixed styles, the references that gave them, and how many faces the photo has."""

    image: AgedImage
    references: list[UsedReference]
    face_count: int


@dataclass(frozen=True)
class ReconstructedFace:
    """What the networks make of one face.

    Args:
        face: The face.
        source: The age that it was drawn at.
        source_given: Whether the caller gave that age.
        crop: Its aligned crop.
        image: What the generator draws from its latent.
        latent: Its latent (latent,).
        pixel_error: Root mean square difference of ``image`` and ``crop``, of pixel values from 0 to 1.
        similarity: Cosine of the embeddings of ``image`` and ``crop``.
        steps: Evaluations that the search for the latent took.
    """

    face: Face
    source: Age
    source_given: bool
    crop: EncodedImage
    image: EncodedImage
    latent: Array
    pixel_error: float
    similarity: float
    steps: int = 0


@dataclass(frozen=True)
class SearchProgress:
    """A step of a latent search.

    Args:
        step: Its number, from 0.
        loss: Loss at this step.
        best_loss: Smallest loss so far.
        similarity: Cosine of the embeddings of this step's drawing and the crop.
        pixel_error: Root mean square difference of this step's drawing and the crop.
        preview: What the best latent so far draws, if a preview was due.
    """

    step: int
    loss: float
    best_loss: float
    similarity: float
    pixel_error: float
    preview: EncodedImage | None


@dataclass(frozen=True)
class FailedFace:
    """A face that could not be processed, and why; ``face`` is ``None`` where a selector matched none."""

    face: Face | None
    error: RequestError


@dataclass(frozen=True)
class ComparisonResult:
    """Two faces, their cosine similarity, and what it means."""

    first: Face
    second: Face
    similarity: float
    match: IdentityMatch
