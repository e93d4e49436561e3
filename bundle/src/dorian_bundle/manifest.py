"""The manifest: what a bundle says of itself in ``manifest.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dorian_bundle.ages import AgeGroup, check_groups
from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.errors import BundleError
from dorian_bundle.families import age_cgan_signatures
from dorian_bundle.graphs import Graph

SCHEMA_VERSION: Literal[1] = 1
MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"


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


class AgeCganMethod(Entry):
    """A method of the family ``age_cgan``. ``graphs`` maps its roles (encoder, generator) to names of graphs."""

    family: Literal["age_cgan"] = "age_cgan"
    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    description: str
    graphs: dict[str, str]
    age_groups: tuple[AgeGroup, ...]
    crop_size: int = Field(ge=16, le=1024)
    latent_size: int = Field(ge=1)
    provenance: Provenance

    def check(self, graphs: dict[str, Graph]) -> None:
        """Raise ``BundleError`` unless the age groups hold together and every role has its graph, of the right shape."""
        check_groups(self.age_groups)
        needed = age_cgan_signatures(self.crop_size, self.latent_size, len(self.age_groups))
        if set(self.graphs) != set(needed):
            raise BundleError(f"needs graphs for {', '.join(needed)}, has them for {', '.join(self.graphs)}")
        for role, signature in needed.items():
            name = self.graphs[role]
            if name not in graphs:
                raise BundleError(f"its {role} is the graph {name!r}, which the bundle lacks")
            signature.require_same(graphs[name].signature, f"its {role}, the graph {name!r},")


class Manifest(Entry):
    """All of ``manifest.json``. The first method is the default one."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    created: str
    alignment: AlignmentTemplate
    graphs: dict[str, Graph]
    methods: tuple[AgeCganMethod, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> Manifest:
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError(f"method names repeat: {', '.join(names)}")
        for method in self.methods:
            try:
                method.check(self.graphs)
            except BundleError as error:
                raise ValueError(f"method {method.name!r}: {error}") from error
        return self
