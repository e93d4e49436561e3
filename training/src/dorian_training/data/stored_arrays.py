"""Arrays kept on disk under a key of all that they were made from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np


def key_of(*made_of: object) -> str:
    """16 hexadecimal digits, the same for values that are written the same."""
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]


def digest(file: Path) -> str:
    """The SHA-256 of ``file``."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def draft_of(path: Path) -> Path:
    """Where this process writes what is to become ``path``, so that nobody reads half of it; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def store(path: Path, **arrays: np.ndarray) -> None:
    """Writes ``arrays`` by name into ``path`` (.npz, uncompressed), all or nothing."""
    draft = draft_of(path)
    with draft.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    draft.replace(path)
