"""What the manifest's entries have in common: their base, the provenance of weights, and the check of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dorian_bundle.errors import BundleError
from dorian_bundle.graphs import Graph, Signature


class Entry(BaseModel):
    """Base of the manifest's parts: unknown fields are errors, and nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Entry):
    """What weights come from, its licence, and whether that lets weights made with it be used commercially."""

    name: str
    licence: str
    commercial_use: bool


class DataSet(Source):
    """A set of faces that weights were trained on."""

    faces: int = Field(gt=0)


class Provenance(Entry):
    """Where weights come from, and whether they may be used commercially.

    ``data``: what they were trained on. ``networks``: those of others that labelled it or that the weights began from.
    ``training`` holds the run's settings, ``metrics`` what was measured on it.
    """

    licence: str
    commercial_use: bool
    data: tuple[DataSet, ...] = Field(min_length=1)
    networks: tuple[Source, ...] = ()
    seed: int
    steps: dict[str, int]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


def require_graph(graphs: Mapping[str, Graph], role: str, name: str, signature: Signature) -> None:
    """Check that the graph ``name``, which an entry uses as its ``role``, is there and has ``signature``.

    Raises:
        BundleError: If it is not.
    """
    if name not in graphs:
        raise BundleError(f"its {role} is the graph {name!r}, which the bundle lacks")
    signature.require_same(graphs[name].signature, f"its {role}, the graph {name!r},")
