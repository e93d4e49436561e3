"""Bundles as they were when they were verified, whatever becomes of their files: for processes that are restarted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import GraphFile, Precision


@dataclass(frozen=True)
class HeldBundle(Bundle):
    """A verified bundle whose graphs are in memory, as files without a name, which child processes have as well.

    Args:
        descriptors: The descriptor of each graph's file, by its path in the bundle.
    """

    descriptors: Mapping[str, int]

    def graph_path(self, name: str, precision: Precision | None = None) -> Path:
        """Return the file of graph ``name`` as it was when the bundle was verified; otherwise as ``Bundle.graph_path``."""
        return Path("/proc/self/fd") / str(self.descriptors[self.manifest.graphs[name].file(precision).path])

    def release(self) -> None:
        """Give the memory back, unless a child process still has it."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)


def hold_bundle(folder: Path) -> HeldBundle:
    """Load and verify the bundle in ``folder`` as ``load_bundle`` does, and hold its graphs.

    Raises:
        BundleError: It is broken, or changes while it is read.
    """
    bundle = load_bundle(folder)
    files = {file.path: file for graph in bundle.manifest.graphs.values() for file in graph.files}
    descriptors: dict[str, int] = {}
    try:
        for path, file in files.items():
            descriptors[path] = os.memfd_create(Path(path).name)
            _copy(file, folder, descriptors[path])
    except BaseException:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise
    return HeldBundle(bundle.folder, bundle.manifest, bundle.sha256, descriptors)


def _copy(file: GraphFile, folder: Path, descriptor: int) -> None:
    digest = hashlib.sha256()
    with (folder / file.path).open("rb") as source, os.fdopen(os.dup(descriptor), "wb") as target:
        while chunk := source.read(2**20):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise GraphFileError(f"graph file {file.path} has changed while it was read")
