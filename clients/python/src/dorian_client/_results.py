"""What the client returns: frozen, in plain Python types, nothing of the wire in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dorian_client._pictures import Picture

# The label of an age group ("60+"), or years.
Age: TypeAlias = str | float


@dataclass(frozen=True)
class Filter:
    """A change that has a name and no age, to ask for in the place of an age: Filter("old").

    description: one sentence for people, as Client.methods() gives it; filters of one name are equal without it.
    """

    name: str
    description: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name


# What may be aimed at.
Target: TypeAlias = Age | Filter


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the photo as it is shown, its origin at the top left."""

    x: float
    y: float
    width: float
    height: float


# Names one face of a photo: the largest, its index (0 is the largest), or a rectangle that it overlaps.
FaceLike: TypeAlias = Literal["largest"] | int | Box


@dataclass(frozen=True)
class Landmarks:
    """Five points of a face, (x, y) in pixels of the photo as it is shown, (0, 0) the centre of the top left pixel.

    Right and left are the person's own.
    """

    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    nose: tuple[float, float]
    right_mouth: tuple[float, float]
    left_mouth: tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One face of the photo.

    index: its place among the photo's faces from largest to smallest, from 0; it names the face in requests.
    box: where the face is.
    score: how sure the detector is, 0 to 1.
    landmarks: eyes, nose and mouth; None where the server gives none.
    estimated_age: the age in years that the face looks; None where it could not be read.
    """

    index: int
    box: Box
    score: float
    landmarks: Landmarks | None
    estimated_age: float | None


@dataclass(frozen=True)
class FaceError:
    """Why one face could not be treated, while others were: the server's reason ("FACE_NOT_FOUND"), and in words."""

    reason: str
    message: str


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: the method, and the bundle's name, version and SHA-256 in hexadecimal.

    method: empty where none took part.
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
        """Where the face is; None where there is none."""
        return None if self.face is None else self.face.box

    @property
    def score(self) -> float | None:
        """How sure the detector is of the face, 0 to 1; None where there is none."""
        return None if self.face is None else self.face.score


@dataclass(frozen=True)
class FaceReport(_FaceResult):
    """What was done to one face.

    face: the face, as it was found; None where the request named one that is not there.
    error: why the face was left as it was; None where it was changed.
    source: the age that the face was taken to have, a group's label or years; None where the server does not say.
    source_given: whether source came with the request, rather than from the server's estimate.
    target: the age that was aimed at, in the same terms, or the filter.
    estimated_age_after: the age in years that the face looks in the picture that came back; None where it was not read.
    identity_similarity: cosine similarity of the face's embeddings before and after, -1 to 1; None where not measured.
    """

    source: Age | None
    source_given: bool
    target: Target | None
    estimated_age_after: float | None
    identity_similarity: float | None


@dataclass(frozen=True)
class AgedPhoto:
    """The photo at one of the ages asked for.

    faces: a report per face that was to change, largest first; then one per name that no face has.
    target: the age or filter asked for; None where faces were given ages of their own, and no other was asked for.
    delta: what was added to the photo, if with_delta asked for it: a PNG of the photo's size with alpha, which is the mask
        of the faces. Its colours are signed, 128 stands for no change: the photo's pixel plus colour minus 128 is the
        picture's pixel before it was compressed. compose() adds it to the photo.
    """

    picture: Picture
    faces: tuple[FaceReport, ...]
    target: Target | None
    delta: Picture | None = None


@dataclass(frozen=True)
class AgeResult(_Result):
    """The photo at the ages asked for.

    photos: one for each age, in their order.
    faces_found: how many faces were found in the photo, changed or not.
    times: the server's seconds by stage (decode, detect, align, read, encode, optimise, generate, paste, reread, write),
        for all ages together.
    """

    photos: tuple[AgedPhoto, ...]
    faces_found: int


@dataclass(frozen=True)
class DetectResult(_Result):
    """The faces of a photo, largest first; times as in AgeResult.

    width, height: of the photo as it is shown, in pixels.
    """

    faces: tuple[Face, ...]
    width: int
    height: int


@dataclass(frozen=True)
class CompareResult(_Result):
    """Whether a face of one photo and a face of another are the same person's; times as in AgeResult.

    first_embedding, second_embedding: the faces' FaceNet embeddings, of length 1.
    similarity: cosine similarity of the embeddings, -1 to 1.
    distance: squared Euclidean distance of the embeddings, 0 to 4.
    same_person: whether similarity reaches threshold.
    threshold: the similarity at which two faces count as one person's.
    false_accept_rate: share of pairs of different people that reached threshold when it was measured.
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


@dataclass(frozen=True)
class Reconstruction(_FaceResult):
    """What the networks make of one face.

    face: the face, as it was found; None where the request named one that is not there.
    error: why the face could not be reconstructed; None where it was. With an error, all but face is None or empty.
    crop: the aligned crop that the networks saw.
    picture: what the generator draws from the latent.
    latent: the latent's numbers, as Client.age() and Client.optimize() take them.
    source, source_given: the age at which the face was drawn, and whether it came with the request.
    pixel_error: root mean square difference between crop and picture, with pixel values from 0 to 1.
    identity_similarity: cosine similarity of the embeddings of crop and picture, -1 to 1; None where not measured.
    steps: evaluations of loss and gradient that the search took; 0 where there was none.
    """

    crop: Picture | None
    picture: Picture | None
    latent: tuple[float, ...] = field(repr=False)
    source: Age | None
    source_given: bool
    pixel_error: float | None
    identity_similarity: float | None
    steps: int = 0


@dataclass(frozen=True)
class ReconstructResult(_Result):
    """What the networks make of the faces in a photo, largest first; times as in AgeResult."""

    faces: tuple[Reconstruction, ...]


@dataclass(frozen=True)
class SearchStep:
    """A step of a search.

    step: its number; 0 is the start.
    loss: what the search makes small, at this step; best_loss: the smallest so far.
    identity_similarity: cosine similarity of the embeddings of the crop and of what is drawn of it, -1 to 1, at this step.
    pixel_error: root mean square difference between the two, with pixel values from 0 to 1, at this step.
    preview: what the generator draws from the best latent so far; None where no preview was due.
    """

    step: int
    loss: float
    best_loss: float
    identity_similarity: float
    pixel_error: float
    preview: Picture | None


@dataclass(frozen=True)
class SearchResult(_Result):
    """What a search ended with: the face, drawn from the best latent; times as in AgeResult."""

    reconstruction: Reconstruction


@dataclass(frozen=True)
class AgeGroup:
    """An age group that a method knows.

    label: what to call it in a request.
    low, high: first and last age in whole years; high is None for an open end.
    centre: the age in years that stands for the group alone.
    """

    label: str
    low: int
    high: int | None
    centre: float


@dataclass(frozen=True)
class Method:
    """A method of the bundle.

    name: what to call it in a request.
    family: the family of networks.
    description: one sentence for people.
    age_groups: youngest first; none if it has filters alone.
    crop_size: side of the square crop that its networks see, in pixels.
    is_default: whether it is the one that answers, if it can, where no method is named.
    filters: those that it has; each may be asked for as it is.
    reconstructs: whether Client.reconstruct() has its latents.
    optimises: whether its latents can be searched, by optimize(), by modes of reconstruct() and by age()'s optimisation.
    """

    name: str
    family: str
    description: str
    age_groups: tuple[AgeGroup, ...]
    crop_size: int
    is_default: bool
    filters: tuple[Filter, ...] = ()
    reconstructs: bool = False
    optimises: bool = False


@dataclass(frozen=True)
class BundleInfo:
    """A bundle that the server has loaded: its methods, the default first, and where they come from.

    sha256: of the bundle's manifest, in hexadecimal.
    weights_licence: an SPDX expression, or words.
    false_accept_rates: those that Client.compare() can be asked for.
    bundles: all that are served, by the names that Client's bundle has for them; the first is what no name stands for.
    """

    name: str
    version: str
    sha256: str
    weights_licence: str
    server_version: str
    methods: tuple[Method, ...]
    false_accept_rates: tuple[float, ...]
    bundles: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServedBundle:
    """A bundle that a server has read anew.

    name: what Client's bundle calls it.
    sha256: of the bundle's manifest, in hexadecimal.
    changed: whether it is another than before.
    """

    name: str
    version: str
    sha256: str
    changed: bool
