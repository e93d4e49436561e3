"""What every method says of itself in the manifest, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from dorian_bundle.entries import Entry, Provenance
from dorian_bundle.face_readers import FaceReaders
from dorian_bundle.graphs import Graph
from dorian_bundle.stored_files import StoredFile

_NAME = "^[a-z][a-z0-9_]*$"  # of methods and filters, as requests give them


class Filter(Entry):
    """A change that has a name and no age, made by ``graph``."""

    name: str = Field(pattern=_NAME)
    description: str
    graph: str


class MethodEntry(Entry):
    """Base of the methods' entries, one class per family.

    A family's class narrows ``family`` to its name, adds the sizes of its networks, the names of its graphs and its
    ``provenance``, lists these graphs in ``graph_names``, and says in ``check_graphs`` what they take and give.
    """

    family: str
    name: str = Field(pattern=_NAME)
    description: str

    @property
    def changes_hair(self) -> bool:
        """Whether hair and beards change with a face's age; by default they stay."""
        return False

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        """Check the entry against the bundle's graphs.

        Raises:
            BundleError: If the entry contradicts itself, or a graph is missing or of another signature.
        """
        raise NotImplementedError

    def graph_names(self) -> tuple[str, ...]:
        """Return the names of the graphs that the method needs, in any order."""
        raise NotImplementedError

    def further_provenances(self) -> Mapping[str, Provenance]:
        """Return where networks beside those of ``provenance`` come from, by what they are called; by default there are none."""
        return {}

    def stored_files(self) -> tuple[StoredFile, ...]:
        """Return the files beside the graphs that the method needs; by default none."""
        return ()

    def check_readers(self, readers: FaceReaders) -> None:
        """Check the entry against the networks that read faces; by default a method does not depend on them.

        Raises:
            BundleError: If the method was made for others.
        """

    def named_filters(self) -> tuple[Filter, ...]:
        """Return the filters that requests may name; by default none."""
        return ()
