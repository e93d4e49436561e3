"""Judges: independent networks that measure results and never train.

To add a judge, write its class in a file of its own here, and add a line to ``AGE_JUDGES`` or ``IDENTITY_JUDGES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dorian_evaluation.judges import faceapi, reidentification
from dorian_evaluation.judges.base import AgeJudge, IdentityJudge

# By the name of its file in the folder of judges; if the folder has several, the first counts.
AGE_JUDGES: Mapping[str, Callable[[Path], AgeJudge]] = {faceapi.FILE_NAME: faceapi.FaceApiJudge}
IDENTITY_JUDGES: Mapping[str, Callable[[Path], IdentityJudge]] = {
    reidentification.FILE_NAME: reidentification.ReidentificationJudge
}


def open_age_judge(folder: Path) -> AgeJudge:
    """Open the judge of age in a folder of judges; raise DataError if that fails."""
    path = _find_file(folder, AGE_JUDGES)
    return AGE_JUDGES[path.name](path)


def open_identity_judge(folder: Path) -> IdentityJudge:
    """Open the judge of identity in a folder of judges; raise DataError if that fails."""
    path = identity_judge_path(folder)
    return IDENTITY_JUDGES[path.name](path)


def identity_judge_path(folder: Path) -> Path:
    """Return the file of the judge of identity in a folder of judges, which may be missing."""
    return _find_file(folder, IDENTITY_JUDGES)


def _find_file(folder: Path, names: Iterable[str]) -> Path:
    paths = [folder / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])
