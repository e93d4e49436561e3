"""Arrays in a file of a bundle, read within bounds."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from dorian_bundle.errors import GraphFileError

Stored = TypeVar("Stored")


def load_arrays(path: Path, make: Callable[..., Stored], kind: str, contents: str, max_bytes: int) -> Stored:
    """Read the arrays in ``path`` (.npz).

    Args:
        path: The file.
        make: Takes the arrays by their names, in float32.
        kind: What the file should be, as errors call it.
        contents: What it holds, as errors call it.
        max_bytes: What it may hold at most.

    Returns:
        What ``make`` makes of them.

    Raises:
        GraphFileError: If the file holds something else, or more.
    """
    try:
        if sum(item.file_size for item in zipfile.ZipFile(path).infolist()) > max_bytes:
            raise GraphFileError(f"{path} holds more than {max_bytes >> 20} MiB of {contents}")
        with np.load(path, allow_pickle=False) as stored:
            return make(**{name: np.asarray(stored[name], dtype=np.float32) for name in stored.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise GraphFileError(f"{path} is not a {kind}: {error}") from error
