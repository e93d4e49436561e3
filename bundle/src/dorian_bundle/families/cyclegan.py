"""CycleGAN: named filters, each a translator from one domain of faces to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from dorian_bundle.entries import Provenance, require_graph
from dorian_bundle.graphs import BATCH, Graph, Signature, TensorSpec
from dorian_bundle.method_entry import Filter, MethodEntry


def cyclegan_signature(crop_size: int) -> Signature:
    """Return the signature of a filter: aligned crop → the same crop in the other domain."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="translated", shape=image.shape),))


class CycleGanMethod(MethodEntry):
    """A method of the family ``cyclegan``: a graph for each of its ``filters``."""

    family: Literal["cyclegan"] = "cyclegan"
    filters: tuple[Filter, ...] = Field(min_length=1)
    crop_size: int = Field(ge=16, le=1024)
    provenance: Provenance

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        for filter in self.filters:
            require_graph(graphs, f"filter {filter.name!r}", filter.graph, cyclegan_signature(self.crop_size))

    def graph_names(self) -> tuple[str, ...]:
        return tuple(filter.graph for filter in self.filters)

    def named_filters(self) -> tuple[Filter, ...]:
        return self.filters
