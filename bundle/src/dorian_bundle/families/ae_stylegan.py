"""AE-StyleGAN: an encoder finds the structure and the styles of a face, and a generator draws it with some styles exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from dorian_bundle.ages import MAX_AGE, MIN_AGE, AgeGroup, check_groups
from dorian_bundle.calibration import Calibration
from dorian_bundle.entries import Provenance, require_graph
from dorian_bundle.graphs import BATCH, Array, Graph, Signature, TensorSpec
from dorian_bundle.method_entry import Filter, MethodEntry
from dorian_bundle.stored_files import StoredFile
from dorian_bundle.style_levels import require_levels


class AeStyleGanMethod(MethodEntry):
    """A method of the family ``ae_stylegan``: any age, in years or as the centre of one of ``age_groups``; styles can be mixed.

    A face is ``structure`` numbers, of which none are mixed (0: it has none), and ``levels`` styles of ``style`` numbers. Its
    age is changed at ``age_levels`` by the difference of the mean styles of two ages, from ``min_years`` to ``max_years``;
    ``calibration`` says by which age and how much. ``library`` holds these means and references' styles (see
    ``style_library``). ``max_change`` bounds what is drawn, softly, in parts of the range from black to white; ``None``: it is not
    bounded. ``filters`` are generators, too: what one draws of a face's own code more than ``generator`` does.
    """

    family: Literal["ae_stylegan"] = "ae_stylegan"
    encoder: str
    generator: str
    crop_size: int = Field(ge=16, le=1024)
    levels: int = Field(ge=2, le=18)
    style: int = Field(ge=1, le=1024)
    structure: int = Field(ge=0, le=4096)
    age_levels: tuple[int, ...]
    age_groups: tuple[AgeGroup, ...]
    min_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    max_years: float = Field(ge=MIN_AGE, le=MAX_AGE)
    calibration: Calibration
    library: StoredFile
    max_change: float | None = Field(default=None, gt=0, le=1)
    filters: tuple[Filter, ...] = ()
    filters_provenance: Provenance | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _check_order(self) -> AeStyleGanMethod:
        if self.min_years >= self.max_years:
            raise ValueError(f"min_years {self.min_years:g} must be less than max_years {self.max_years:g}")
        return self

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        check_groups(self.age_groups)
        require_levels(self.age_levels, self.levels)
        require_graph(graphs, "encoder", self.encoder, self.encoder_signature())
        require_graph(graphs, "generator", self.generator, self.generator_signature())
        for filter in self.filters:
            require_graph(graphs, f"filter {filter.name!r}", filter.graph, self.generator_signature())

    def graph_names(self) -> tuple[str, ...]:
        return (self.encoder, self.generator, *(filter.graph for filter in self.filters))

    def further_provenances(self) -> Mapping[str, Provenance]:
        return {} if self.filters_provenance is None else {f"filters of {self.name}": self.filters_provenance}

    def named_filters(self) -> tuple[Filter, ...]:
        return self.filters

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.library,)

    def encoder_signature(self) -> Signature:
        """Return the encoder's signature: aligned crop → code."""
        return Signature(inputs=(_image(self.crop_size),), outputs=self._code())

    def generator_signature(self) -> Signature:
        """Return the generator's signature: code → image, about [0, 1]."""
        return Signature(inputs=self._code(), outputs=(_image(self.crop_size),))

    def bounded(self, change: Array) -> Array:
        """Return ``change``, of images in [0, 1] and of any shape, as it is applied: near 0 as it is, and never beyond ``max_change``."""
        if self.max_change is None:
            return change
        limit = np.float32(self.max_change)
        result: Array = limit * np.tanh(change / limit)
        return result

    def _code(self) -> tuple[TensorSpec, ...]:
        styles = TensorSpec(name="styles", shape=(BATCH, self.levels, self.style))
        if not self.structure:
            return (styles,)
        return (TensorSpec(name="structure", shape=(BATCH, self.structure)), styles)


def _image(crop_size: int) -> TensorSpec:
    return TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
