"""Bundles as they were when they were verified, whatever becomes of their files: for processes that are restarted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.errors import GraphFileError
from dorian_bundle.stored_files import StoredFile


@dataclass(frozen=True)
class HeldBundle(Bundle):
    """A verified bundle whose files are in memory, without a name, where child processes have them as well.

    Args:
        descriptors: The descriptor of each file, by its path in the bundle.
    """

    descriptors: Mapping[str, int]

    def file_path(self, file: StoredFile) -> Path:
        """Return ``file`` as it was when the bundle was verified."""
        return Path("/proc/self/fd") / str(self.descriptors[file.path])

    def release(self) -> None:
        """Give the memory back, unless a child process still has it."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)


def hold_bundle(folder: Path) -> HeldBundle:
    """Load and verify the bundle in ``folder`` as ``load_bundle`` does, and hold its files.

    Raises:
        BundleError: It is broken, or changes while it is read.
    """
    bundle = load_bundle(folder)
    descriptors: dict[str, int] = {}
    try:
        for file in bundle.manifest.files():
            descriptors[file.path] = os.memfd_create(Path(file.path).name)
            _copy(file, folder, descriptors[file.path])
    except BaseException:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise
    return HeldBundle(bundle.folder, bundle.manifest, bundle.sha256, descriptors)


def _copy(file: StoredFile, folder: Path, descriptor: int) -> None:
    digest = hashlib.sha256()
    with (folder / file.path).open("rb") as source, os.fdopen(os.dup(descriptor), "wb") as target:
        while chunk := source.read(2**20):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise GraphFileError(f"{file.kind} {file.path} has changed while it was read")
