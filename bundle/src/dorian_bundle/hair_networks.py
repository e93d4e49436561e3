"""The networks that find hair, by which a method changes its colour: their signatures and their entry in the manifest."""

from __future__ import annotations

from collections.abc import Mapping

from dorian_bundle.entries import Entry, Provenance, require_graph
from dorian_bundle.graphs import BATCH, Graph, Signature, TensorSpec
from dorian_bundle.hair import NEAR_SIZE, PEOPLE_SIZE


def hair_segmenter_signature() -> Signature:
    """Return the signature: the near view of a face → how much of each pixel is hair, and beard, in [0, 1]; see ``dorian_bundle.hair``."""
    image = TensorSpec(name="image", shape=(BATCH, 3, NEAR_SIZE, NEAR_SIZE))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="hair", shape=(BATCH, 2, NEAR_SIZE, NEAR_SIZE)),))


def person_segmenter_signature() -> Signature:
    """Return the signature: a picture → how much of each pixel is a person, in [0, 1]."""
    image = TensorSpec(name="image", shape=(BATCH, 3, PEOPLE_SIZE, PEOPLE_SIZE))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="people", shape=(BATCH, 1, PEOPLE_SIZE, PEOPLE_SIZE)),))


class HairNetworks(Entry):
    """The graphs that find hair and beards. ``provenance`` is that of ``hair_segmenter``; ``person_segmenter`` is among its networks."""

    hair_segmenter: str
    person_segmenter: str
    provenance: Provenance

    def graph_names(self) -> tuple[str, ...]:
        """Return the names of the graphs."""
        return (self.hair_segmenter, self.person_segmenter)

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        """Check the entry against the bundle's graphs.

        Raises:
            BundleError: If a graph is missing or of another signature.
        """
        require_graph(graphs, "hair segmenter", self.hair_segmenter, hair_segmenter_signature())
        require_graph(graphs, "person segmenter", self.person_segmenter, person_segmenter_signature())
