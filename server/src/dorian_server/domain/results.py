"""What the pipeline answers, in its own types."""

from __future__ import annotations

from dataclasses import dataclass

from dorian_bundle.detection import DetectedFace
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age
from dorian_server.images import Format
from dorian_server.runtimes.session import Array


@dataclass(frozen=True)
class StoredPicture:
    """A picture in a file's bytes, with its size in pixels."""

    data: bytes
    format: Format
    width: int
    height: int


@dataclass(frozen=True)
class Reading:
    """What is read from an aligned face: the ``age`` in years that it looks, and its ``embedding`` (embedding,)."""

    age: float
    embedding: Array


@dataclass(frozen=True)
class SeenFace:
    """A face as it was found, its place among the photo's, and what was read from it (none: it cannot be aligned)."""

    index: int
    found: DetectedFace
    reading: Reading | None


@dataclass(frozen=True)
class Detected:
    """A photo's size in pixels and its faces, largest first."""

    width: int
    height: int
    faces: list[SeenFace]


@dataclass(frozen=True)
class FaceResult:
    """What became of one face in one picture. ``error`` says why it was left as it was; ``face`` is none if not found."""

    face: SeenFace | None = None
    source: Age | None = None
    source_given: bool = False
    target: Age | None = None
    after: Reading | None = None
    similarity: float | None = None
    error: RequestError | None = None


@dataclass(frozen=True)
class AgedPicture:
    """A photo at one of the ages asked for, and what became of its faces: largest first, then those that were not found.

    ``delta``: what was added to it, if that was asked for.
    """

    picture: StoredPicture
    faces: list[FaceResult]
    delta: StoredPicture | None = None


@dataclass(frozen=True)
class Aged:
    """The photo at each of the ages asked for, and how many faces it has."""

    pictures: list[AgedPicture]
    faces_found: int


@dataclass(frozen=True)
class ReconstructedFace:
    """What the networks make of one face: its crop, its latent (latent,), what is drawn from it, and how near that comes.

    ``steps``: evaluations that the search for the latent took.
    """

    face: SeenFace
    source: Age
    source_given: bool
    crop: StoredPicture
    picture: StoredPicture
    latent: Array
    pixel_error: float
    similarity: float
    steps: int = 0


@dataclass(frozen=True)
class SearchProgress:
    """A step of a search: its number from 0 on, loss, the smallest loss so far, and how near this step's drawing comes.

    ``preview``: what is drawn from the best latent so far, if it was due.
    """

    step: int
    loss: float
    best_loss: float
    similarity: float
    pixel_error: float
    preview: StoredPicture | None


@dataclass(frozen=True)
class FailedFace:
    """A face of which nothing could be made, and why; ``face`` is none where a selector found none."""

    face: SeenFace | None
    error: RequestError


@dataclass(frozen=True)
class Compared:
    """Two faces, both read, their cosine similarity, and the threshold for one person at a false-accept rate."""

    first: SeenFace
    second: SeenFace
    similarity: float
    threshold: float
    false_accept_rate: float
