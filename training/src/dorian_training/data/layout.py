"""Layouts of public sets: the check that what a loader needs is in the folder it was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dorian_training.errors import DataError


def find_in(folder: Path, name: str, layout: str, places: Sequence[str] = (".",)) -> Path:
    """``name`` in the first of ``places`` under ``folder`` that has it.

    ``DataError`` if none has: it says what is missing, and ``layout``, what was to be there.
    """
    for place in places:
        path = folder / place / name
        if path.exists():
            return path
    raise DataError(f"{folder} has no {name}; expected {layout}")
