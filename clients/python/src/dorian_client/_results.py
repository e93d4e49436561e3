"""What calls return: frozen, in plain Python types, without messages of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dorian_client._faces import Age, AgeInterval, Box, Face, FaceError, FaceWarning, Target
from dorian_client._matches import IdentityMatch
from dorian_client._pictures import Picture


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    Attributes:
        method: The method's name; empty if none took part.
        bundle: The bundle's name.
        bundle_version: The bundle's version.
        bundle_sha256: Of the bundle's manifest, in hexadecimal.
    """

    method: str
    bundle: str
    bundle_version: str
    bundle_sha256: str


@dataclass(frozen=True, kw_only=True)
class _Result:
    provenance: Provenance
    times: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """The server's seconds for all stages together."""
        return sum(self.times.values())


@dataclass(frozen=True, kw_only=True)
class _FaceResult:
    face: Face | None
    error: FaceError | None

    @property
    def box(self) -> Box | None:
        """Where the face is; None if there is none."""
        return None if self.face is None else self.face.box

    @property
    def score(self) -> float | None:
        """The detector's confidence, 0 to 1; None if there is no face."""
        return None if self.face is None else self.face.score


@dataclass(frozen=True)
class ReachedTarget:
    """How far a face was changed towards its target, with `keep_identity`.

    Attributes:
        share: Share of the way, 0 to 1; 0: the face is as it was, 1: it reached the target.
        years: The age that was drawn, between the face's age and the target; None for filters.
    """

    share: float
    years: float | None


@dataclass(frozen=True)
class FaceReport(_FaceResult):
    """What happened to one face.

    Attributes:
        face: The face as it was detected; None if the request selected one that is not there.
        error: Why the face is unchanged; None if it was changed.
        source: The age that the face was taken to have, a group's label or years; None if the server does not say.
        source_given: Whether `source` came with the request; if not, it is the server's estimate.
        target: The target age, a group's label or years, or the filter.
        estimated_age_after: Estimated age in the result, in years; None if it could not be estimated.
        identity_similarity: Cosine similarity of the face's embeddings before and after, -1 to 1; None if not measured.
        match: What that similarity means; None if the server does not say.
        interval_after: How sure `estimated_age_after` is; None if the server does not say.
        warnings: Why the result may not be as expected; empty for most faces.
        reached: How far the face was changed; None without `keep_identity`.
    """

    source: Age | None
    source_given: bool
    target: Target | None
    estimated_age_after: float | None
    identity_similarity: float | None
    match: IdentityMatch | None = None
    interval_after: AgeInterval | None = None
    warnings: tuple[FaceWarning, ...] = ()
    reached: ReachedTarget | None = None


@dataclass(frozen=True)
class AgedPhoto:
    """The photo at one target.

    Attributes:
        picture: The photo with its faces changed.
        faces: A report per face that was to change, largest first, then one per selected face that is not there.
        target: The age or filter; None if only `face_ages` were given.
        delta: What was added to the photo, if `with_delta` was set: a PNG of the photo's size whose alpha is the mask of the
            faces. Its colours are signed, 128 stands for no change: photo + colour - 128 is the picture before compression.
            `compose` adds it to the photo.
    """

    picture: Picture
    faces: tuple[FaceReport, ...]
    target: Target | None
    delta: Picture | None = None


@dataclass(frozen=True)
class AgeResult(_Result):
    """The photo at each target.

    Attributes:
        photos: One per target, in their order.
        faces_found: Number of faces in the photo, changed or not.
        provenance: Method and bundle.
        times: The server's seconds by stage (decode, detect, align, read, encode, optimise, generate, paste, reread, write),
            for all targets together.
    """

    photos: tuple[AgedPhoto, ...]
    faces_found: int


@dataclass(frozen=True)
class UsedReference:
    """A reference whose styles were taken.

    Attributes:
        index: Its place among the references that were given, or among those that the bundle keeps.
        levels: At which levels.
        face: The face in its photo, with its estimated age; None for one that the bundle keeps.
        chosen_for: Index of the face that the server chose it for; None for one that was given, which every face has.
        age_low: First year of the age of one that the bundle keeps.
        age_high: Last year of that age.
        gender: "woman" or "man", of one that the bundle keeps.
    """

    index: int
    levels: tuple[int, ...]
    face: Face | None = None
    chosen_for: int | None = None
    age_low: float | None = None
    age_high: float | None = None
    gender: str | None = None


@dataclass(frozen=True)
class MixResult(_Result):
    """The photo with some styles of its faces exchanged for those of references.

    Attributes:
        picture: The photo with its faces changed.
        faces: A report per face that was to change, largest first, then one per selected face that is not there. Its target is the
            age of references that the server chose, or None.
        references: The references in their order; or those that the server chose, face by face, the most alike first.
        faces_found: Number of faces in the photo, changed or not.
        delta: What was added to the photo, if `with_delta` was set, as in `AgedPhoto`.
        provenance: Method and bundle.
        times: The server's seconds by stage.
    """

    picture: Picture
    faces: tuple[FaceReport, ...]
    references: tuple[UsedReference, ...]
    faces_found: int
    delta: Picture | None = None


@dataclass(frozen=True)
class DetectResult(_Result):
    """The faces of a photo.

    Attributes:
        faces: Largest first.
        width: Of the upright photo, in pixels.
        height: Of the upright photo, in pixels.
        provenance: The bundle.
        times: The server's seconds by stage.
    """

    faces: tuple[Face, ...]
    width: int
    height: int


@dataclass(frozen=True)
class CompareResult(_Result):
    """Whether a face of one photo and a face of another belong to the same person.

    Attributes:
        first: The face of the first photo.
        second: The face of the second photo.
        first_embedding: FaceNet embedding of the first face, a unit vector.
        second_embedding: FaceNet embedding of the second face, a unit vector.
        similarity: Cosine similarity of the embeddings, -1 to 1.
        distance: Squared Euclidean distance of the embeddings, 0 to 4.
        same_person: Whether `similarity` reaches `threshold`.
        threshold: Similarity from which two faces count as one person's.
        false_accept_rate: Share of pairs of different people that reached the threshold when it was measured.
        match: What `similarity` means, with how many years apart real photographs with it are; None if the server does not say.
        provenance: The bundle.
        times: The server's seconds by stage.
    """

    first: Face
    second: Face
    first_embedding: tuple[float, ...] = field(repr=False)
    second_embedding: tuple[float, ...] = field(repr=False)
    similarity: float
    distance: float
    same_person: bool
    threshold: float
    false_accept_rate: float
    match: IdentityMatch | None = None


@dataclass(frozen=True)
class Reconstruction(_FaceResult):
    """What the networks make of one face.

    Attributes:
        face: The face as it was detected; None if the request selected one that is not there.
        error: Why the face could not be reconstructed; None if it was. With an error, all but `face` is None or empty.
        crop: The aligned crop that the networks see.
        picture: What the generator draws from the latent.
        latent: The latent, as `Client.age` and `Client.optimize` take it.
        source: The age at which the face was drawn, a group's label or years.
        source_given: Whether `source` came with the request; if not, it is the server's estimate.
        pixel_error: Root mean square difference between crop and picture, for pixel values from 0 to 1.
        identity_similarity: Cosine similarity of the embeddings of crop and picture, -1 to 1; None if not measured.
        match: What that similarity means; None if the server does not say.
        steps: Evaluations of loss and gradient that the latent search took; 0 without a search.
    """

    crop: Picture | None
    picture: Picture | None
    latent: tuple[float, ...] = field(repr=False)
    source: Age | None
    source_given: bool
    pixel_error: float | None
    identity_similarity: float | None
    steps: int = 0
    match: IdentityMatch | None = None


@dataclass(frozen=True)
class ReconstructResult(_Result):
    """What the networks make of the faces in a photo.

    Attributes:
        faces: A reconstruction per face, largest first.
        provenance: Method and bundle.
        times: The server's seconds by stage.
    """

    faces: tuple[Reconstruction, ...]


@dataclass(frozen=True)
class SearchStep:
    """A step of a latent search.

    Attributes:
        step: Its number; 0 is the start.
        loss: The objective at this step.
        best_loss: The smallest loss so far.
        identity_similarity: Cosine similarity of the embeddings of crop and drawing, -1 to 1.
        pixel_error: Root mean square difference between crop and drawing, for pixel values from 0 to 1.
        preview: What the generator draws from the best latent so far; None if no preview was due.
        match: What `identity_similarity` means; None if the server does not say.
    """

    step: int
    loss: float
    best_loss: float
    identity_similarity: float
    pixel_error: float
    preview: Picture | None
    match: IdentityMatch | None = None


@dataclass(frozen=True)
class SearchResult(_Result):
    """What a latent search ended with.

    Attributes:
        reconstruction: The face, drawn from the best latent.
        provenance: Method and bundle.
        times: The server's seconds by stage.
    """

    reconstruction: Reconstruction
