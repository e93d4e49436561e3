"""The manifest: what a bundle says of itself in ``manifest.json``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field, model_validator

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.entries import Entry
from dorian_bundle.errors import BundleError, ManifestError
from dorian_bundle.face_readers import FaceReaders
from dorian_bundle.families import Method
from dorian_bundle.graphs import Graph
from dorian_bundle.stored_files import StoredFile

SCHEMA_VERSION: Literal[6] = 6
MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"


class Manifest(Entry):
    """All of ``manifest.json``. The first method is the default one."""

    schema_version: Literal[6] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    created: str
    alignment: AlignmentTemplate
    graphs: dict[str, Graph]
    readers: FaceReaders
    methods: tuple[Method, ...] = Field(min_length=1)

    def files(self) -> tuple[StoredFile, ...]:
        """Return all files of the bundle but the manifest and the card."""
        graphs = [file for graph in self.graphs.values() for file in graph.files]
        return (*graphs, *(file for method in self.methods for file in method.stored_files()))

    def subset(self, names: Collection[str]) -> Manifest:
        """Return the manifest with the methods ``names`` alone, and with those graphs alone that they and the readers need.

        Raises:
            ManifestError: If ``names`` are none, or not all of them are methods.
        """
        unknown = [name for name in names if name not in {method.name for method in self.methods}]
        if unknown or not names:
            problem = f"has no method {unknown[0]!r}" if unknown else "would be left without a method"
            known = ", ".join(method.name for method in self.methods)
            raise ManifestError(f"the bundle {self.name} {problem}; it has {known}")
        methods = tuple(method for method in self.methods if method.name in names)
        needed = {*self.readers.graph_names(), *(graph for method in methods for graph in method.graph_names())}
        graphs = {name: graph for name, graph in self.graphs.items() if name in needed}
        return self.model_copy(update={"methods": methods, "graphs": graphs})

    @model_validator(mode="after")
    def _check_consistency(self) -> Manifest:
        _require_unique("method", [method.name for method in self.methods])
        _require_unique("filter", [filter.name for method in self.methods for filter in method.named_filters()])
        for method in self.methods:
            try:
                method.check_readers(self.readers)
            except BundleError as error:
                raise ValueError(f"method {method.name!r} {error}") from error
        parts = [("readers", self.readers), *((f"method {method.name!r}", method) for method in self.methods)]
        for name, part in parts:
            try:
                part.check_graphs(self.graphs)
            except BundleError as error:
                raise ValueError(f"{name}: {error}") from error
        return self


def _require_unique(kind: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"{kind} names repeat: {', '.join(names)}")
