"""The manifest: what a bundle says of itself in ``manifest.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE, AgeGroup, check_groups
from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.calibration import Calibration
from dorian_bundle.errors import BundleError
from dorian_bundle.families import (
    age_cgan_signatures,
    age_estimator_signature,
    age_translator_signature,
    cyclegan_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
    latent_gradient_signature,
)
from dorian_bundle.graphs import Graph, Signature

SCHEMA_VERSION: Literal[5] = 5
MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
_NAME = "^[a-z][a-z0-9_]*$"  # of methods and filters, as requests give them


class Entry(BaseModel):
    """Base of the manifest's parts: nothing unknown is let through, nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSet(Entry):
    """A set of faces that weights were trained on."""

    name: str
    faces: int = Field(gt=0)
    licence: str


class Provenance(Entry):
    """Where the weights come from. ``training`` holds the run's settings, ``metrics`` what was measured on it."""

    licence: str
    data: tuple[DataSet, ...] = Field(min_length=1)
    seed: int
    steps: dict[str, int]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


class FaceDetector(Entry):
    """The network that finds faces. A face counts from ``min_score`` on, a small one from ``min_small_score`` on.

    See ``dorian_bundle.detection.find_faces``.
    """

    graph: str
    min_score: float = Field(gt=0, lt=1)
    min_small_score: float = Field(gt=0, lt=1)
    provenance: Provenance

    def signature(self) -> Signature:
        return detector_signature()


class LandmarkRefiner(Entry):
    """The network that looks at a found face again, to say where its landmarks are.

    It sees a view of ``view_size``, aligned by the detector's landmarks to the bundle's template, in which the face appears
    ``zoom`` times as large as in a crop.
    """

    graph: str
    view_size: int = Field(ge=16, le=1024)
    zoom: float = Field(gt=0, le=1)
    provenance: Provenance

    def signature(self) -> Signature:
        return landmark_refiner_signature(self.view_size)


class AgeEstimator(Entry):
    """The network that reads how old an aligned crop of ``crop_size`` looks."""

    graph: str
    crop_size: int = Field(ge=16, le=1024)
    provenance: Provenance

    def signature(self) -> Signature:
        return age_estimator_signature(self.crop_size)


class AcceptThreshold(Entry):
    """The cosine ``similarity`` that pairs of different people reach at the ``false_accept_rate``, as measured."""

    false_accept_rate: float = Field(gt=0, lt=1)
    similarity: float = Field(ge=-1, le=1)


class FaceNet(Entry):
    """The network that turns an aligned crop into an embedding, and what similarity tells of identity."""

    graph: str
    crop_size: int = Field(ge=16, le=1024)
    embedding_size: int = Field(ge=1)
    thresholds: tuple[AcceptThreshold, ...] = Field(min_length=1)
    provenance: Provenance

    def signature(self) -> Signature:
        return facenet_signature(self.crop_size, self.embedding_size)


class FaceReaders(Entry):
    """The networks that every photo passes, whatever the method: they see faces and change nothing."""

    detector: FaceDetector
    landmark_refiner: LandmarkRefiner
    age_estimator: AgeEstimator
    facenet: FaceNet

    def check(self, graphs: dict[str, Graph]) -> None:
        """Raise ``BundleError`` unless each has its graph, of the right shape."""
        for role, entry in (
            ("detector", self.detector),
            ("landmark refiner", self.landmark_refiner),
            ("age estimator", self.age_estimator),
            ("FaceNet", self.facenet),
        ):
            _require(graphs, role, entry.graph, entry.signature())


class AgeCganMethod(Entry):
    """A method of the family ``age_cgan``. ``graphs`` maps its roles (encoder, generator) to names of graphs.

    With a third, ``latent_gradient``, its latents can be searched; ``embedding_size`` is that of the FaceNet in that graph, which is
    the bundle's. ``learned_under_mask``: whether the generator learned what its differences do to a photo, under the face's mask.
    """

    family: Literal["age_cgan"] = "age_cgan"
    name: str = Field(pattern=_NAME)
    description: str
    graphs: dict[str, str]
    age_groups: tuple[AgeGroup, ...]
    crop_size: int = Field(ge=16, le=1024)
    latent_size: int = Field(ge=1)
    embedding_size: int | None = Field(default=None, ge=1)
    learned_under_mask: bool = False
    provenance: Provenance

    def check(self, graphs: dict[str, Graph]) -> None:
        """Raise ``BundleError`` unless the age groups hold together and every role has its graph, of the right shape."""
        check_groups(self.age_groups)
        sizes = (self.crop_size, self.latent_size, len(self.age_groups))
        needed = age_cgan_signatures(*sizes)
        if self.embedding_size is not None:
            needed["latent_gradient"] = latent_gradient_signature(*sizes, self.embedding_size)
        if set(self.graphs) != set(needed):
            raise BundleError(f"needs graphs for {', '.join(needed)}, has them for {', '.join(self.graphs)}")
        for role, signature in needed.items():
            _require(graphs, role, self.graphs[role], signature)


class AgeTranslatorMethod(Entry):
    """A method of the family ``age_translator``: any age, in years or as the centre of one of ``age_groups``.

    ``graph`` draws ages from ``min_years`` to ``max_years``; those beyond are drawn as the nearest of them. ``calibration``
    says what it is to be asked for. ``mirrored``: whether a delta is the mean of the crop's and of its mirror image's, turned back.
    """

    family: Literal["age_translator"] = "age_translator"
    name: str = Field(pattern=_NAME)
    description: str
    graph: str
    age_groups: tuple[AgeGroup, ...]
    crop_size: int = Field(ge=16, le=1024)
    min_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    max_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    calibration: Calibration
    mirrored: bool = False
    provenance: Provenance

    @model_validator(mode="after")
    def _ordered(self) -> AgeTranslatorMethod:
        if self.min_years >= self.max_years:
            raise ValueError(f"min_years {self.min_years:g} must be less than max_years {self.max_years:g}")
        return self

    def check(self, graphs: dict[str, Graph]) -> None:
        """Raise ``BundleError`` unless the age groups hold together and the graph is there, of the right shape."""
        check_groups(self.age_groups)
        _require(graphs, "translator", self.graph, age_translator_signature(self.crop_size))


class Filter(Entry):
    """A change that has a name and no age: ``graph`` makes it."""

    name: str = Field(pattern=_NAME)
    description: str
    graph: str


class CycleGanMethod(Entry):
    """A method of the family ``cyclegan``: named filters, each a translator from one domain of faces to another."""

    family: Literal["cyclegan"] = "cyclegan"
    name: str = Field(pattern=_NAME)
    description: str
    filters: tuple[Filter, ...] = Field(min_length=1)
    crop_size: int = Field(ge=16, le=1024)
    provenance: Provenance

    def check(self, graphs: dict[str, Graph]) -> None:
        """Raise ``BundleError`` unless every filter has its graph, of the right shape."""
        for each in self.filters:
            _require(graphs, f"filter {each.name!r}", each.graph, cyclegan_signature(self.crop_size))


Method = Annotated[AgeCganMethod | AgeTranslatorMethod | CycleGanMethod, Field(discriminator="family")]


def _require(graphs: dict[str, Graph], role: str, name: str, signature: Signature) -> None:
    if name not in graphs:
        raise BundleError(f"its {role} is the graph {name!r}, which the bundle lacks")
    signature.require_same(graphs[name].signature, f"its {role}, the graph {name!r},")


class Manifest(Entry):
    """All of ``manifest.json``. The first method is the default one."""

    schema_version: Literal[5] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    created: str
    alignment: AlignmentTemplate
    graphs: dict[str, Graph]
    readers: FaceReaders
    methods: tuple[Method, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> Manifest:
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError(f"method names repeat: {', '.join(names)}")
        filters = [each.name for method in self.methods if method.family == "cyclegan" for each in method.filters]
        if len(set(filters)) != len(filters):
            raise ValueError(f"filter names repeat: {', '.join(filters)}")
        size = self.readers.facenet.embedding_size
        for method in self.methods:
            if method.family == "age_cgan" and method.embedding_size not in (None, size):
                words = f"searches embeddings of {method.embedding_size} values, but FaceNet's have {size}"
                raise ValueError(f"method {method.name!r} {words}")
        parts = [("readers", self.readers)] + [(f"method {method.name!r}", method) for method in self.methods]
        for words, part in parts:
            try:
                part.check(self.graphs)
            except BundleError as error:
                raise ValueError(f"{words}: {error}") from error
        return self
