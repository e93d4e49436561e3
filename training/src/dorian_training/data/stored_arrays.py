"""Arrays kept on disk under a key of all that they were made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dorian_bundle.files import draft_file


def key_of(*made_of: object) -> str:
    """Return 16 hexadecimal digits, the same for values that are written the same."""
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]


def digest(file: Path) -> str:
    """Return the SHA-256 of ``file``."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def store(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` by name into ``path`` (.npz, uncompressed), all or nothing; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_file(path, shared=True) as draft, draft.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
