"""The age translator: one network draws the delta between a face at the age that it has and at any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE, AgeGroup, check_groups
from dorian_bundle.calibration import Calibration
from dorian_bundle.entries import Provenance, require_graph
from dorian_bundle.graphs import BATCH, Graph, Signature, TensorSpec
from dorian_bundle.hair_networks import HairNetworks
from dorian_bundle.method_entry import MethodEntry
from dorian_bundle.stored_files import StoredFile


def age_translator_signature(crop_size: int) -> Signature:
    """Return the signature: aligned crop, its age and the age to draw it at, in years → delta of the crop, in [-1, 1]."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    ages = (TensorSpec(name="source_age", shape=(BATCH,)), TensorSpec(name="target_age", shape=(BATCH,)))
    return Signature(inputs=(image, *ages), outputs=(TensorSpec(name="delta", shape=image.shape),))


class AgeTranslatorMethod(MethodEntry):
    """A method of the family ``age_translator``: any age, in years or as the centre of one of ``age_groups``.

    ``graph`` draws ages from ``min_years`` to ``max_years``; those beyond are drawn as the nearest of them. ``calibration``
    says which age to give to the graph. ``mirrored``: whether a delta is the mean of the crop's and of its mirror image's,
    turned back. ``reads_back``: whether a face that is read off its target gets more or less of its change. ``detail`` and
    ``shape``: tables by which the photo's own fine structure of skin (see ``skin_detail``) and the face's shape (see ``face_shape``)
    are changed, ``hair``: networks by which its hair and beard are; ``None``: they stay as they are.
    """

    family: Literal["age_translator"] = "age_translator"
    graph: str
    age_groups: tuple[AgeGroup, ...]
    crop_size: int = Field(ge=16, le=1024)
    min_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    max_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    calibration: Calibration
    mirrored: bool = False
    reads_back: bool = False
    detail: StoredFile | None = None
    detail_provenance: Provenance | None = None
    shape: StoredFile | None = None
    shape_provenance: Provenance | None = None
    hair: HairNetworks | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _check_order(self) -> AgeTranslatorMethod:
        if self.min_years >= self.max_years:
            raise ValueError(f"min_years {self.min_years:g} must be less than max_years {self.max_years:g}")
        return self

    @property
    def changes_hair(self) -> bool:
        return self.hair is not None

    def graph_names(self) -> tuple[str, ...]:
        return (self.graph, *(self.hair.graph_names() if self.hair else ()))

    def further_provenances(self) -> Mapping[str, Provenance]:
        parts = {
            f"skin detail of {self.name}": self.detail_provenance,
            f"face shape of {self.name}": self.shape_provenance,
            f"hair segmenter of {self.name}": self.hair.provenance if self.hair else None,
        }
        return {name: provenance for name, provenance in parts.items() if provenance is not None}

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        check_groups(self.age_groups)
        require_graph(graphs, "translator", self.graph, age_translator_signature(self.crop_size))
        if self.hair:
            self.hair.check_graphs(graphs)

    def stored_files(self) -> tuple[StoredFile, ...]:
        return tuple(file for file in (self.detail, self.shape) if file is not None)
