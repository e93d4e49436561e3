"""What the client returns: frozen, in plain Python types, nothing of the wire in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dorian_client._pictures import Picture

# The label of an age group ("60+"), or years.
Age: TypeAlias = str | float


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the photo as it is shown, its origin at the top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: the method, and the bundle's name, version and SHA-256 in hexadecimal."""

    method: str
    bundle: str
    bundle_version: str
    bundle_sha256: str


@dataclass(frozen=True)
class FaceReport:
    """What was done to one face.

    box: where the face is.
    score: how sure the detector is, 0 to 1.
    source: the age that the face was taken to have, a group's label or years; None where the server does not say.
    source_given: whether source came with the request, rather than from the server's estimate.
    target: the age that was aimed at, in the same terms.
    """

    box: Box
    score: float
    source: Age | None
    source_given: bool
    target: Age | None


@dataclass(frozen=True)
class AgedPhoto:
    """The photo at one of the ages asked for, with a report per face, largest first."""

    picture: Picture
    faces: tuple[FaceReport, ...]


@dataclass(frozen=True)
class AgeResult:
    """The photo at the ages asked for.

    photos: one for each age, in their order.
    times: the server's seconds by stage (decode, detect, align, encode, generate, paste, write), for all ages together.
    """

    photos: tuple[AgedPhoto, ...]
    provenance: Provenance
    times: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """The server's seconds for all stages together."""
        return sum(self.times.values())


@dataclass(frozen=True)
class Reconstruction:
    """What the networks make of one face.

    box, score: where the face is, and how sure the detector is, 0 to 1.
    crop: the aligned crop that the networks saw.
    picture: what the generator draws from the latent.
    latent: the latent's numbers.
    source, source_given: the age at which the face was drawn, and whether it came with the request.
    pixel_error: root mean square difference between crop and picture, with pixel values from 0 to 1.
    """

    box: Box
    score: float
    crop: Picture
    picture: Picture
    latent: tuple[float, ...] = field(repr=False)
    source: Age | None
    source_given: bool
    pixel_error: float


@dataclass(frozen=True)
class ReconstructResult:
    """What the networks make of the faces in a photo, largest first; times as in AgeResult."""

    faces: tuple[Reconstruction, ...]
    provenance: Provenance
    times: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """The server's seconds for all stages together."""
        return sum(self.times.values())


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
    age_groups: youngest first.
    crop_size: side of the square crop that its networks see, in pixels.
    is_default: whether it is the one that answers where no method is named.
    """

    name: str
    family: str
    description: str
    age_groups: tuple[AgeGroup, ...]
    crop_size: int
    is_default: bool


@dataclass(frozen=True)
class BundleInfo:
    """What the server has loaded: its methods, the default first, and where they come from.

    sha256: of the bundle's manifest, in hexadecimal.
    weights_licence: an SPDX expression, or words.
    """

    name: str
    version: str
    sha256: str
    weights_licence: str
    server_version: str
    methods: tuple[Method, ...]
