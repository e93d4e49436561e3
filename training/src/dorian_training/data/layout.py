"""Layouts of public sets: the check that what a loader needs is in the folder it was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dorian_training.errors import DataError


def find_in(folder: Path, name: str, layout: str, subfolders: Sequence[str] = (".",)) -> Path:
    """Return the path of ``name`` in the first of ``subfolders`` under ``folder`` that has it.

    ``DataError`` if none has: it says what is missing, and ``layout``, what was to be there.
    """
    for subfolder in subfolders:
        path = folder / subfolder / name
        if path.exists():
            return path
    raise DataError(f"{folder} has no {name}; expected {layout}")
