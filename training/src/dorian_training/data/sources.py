"""Where faces come from: ``KIND:FOLDER``, as users name data sets on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dorian_training.data.archives import load_archives
from dorian_training.data.cacd import load_cacd
from dorian_training.data.celeba import load_celeba
from dorian_training.data.fairface import load_fairface
from dorian_training.data.imdb_wiki import load_imdb_wiki
from dorian_training.data.records import FaceRecord
from dorian_training.data.utkface import load_utkface
from dorian_training.errors import DataError

LOADERS: dict[str, Callable[[Path], list[FaceRecord]]] = {
    "archives": load_archives,
    "utkface": load_utkface,
    "fairface": load_fairface,
    "celeba": load_celeba,
    "imdb-wiki": load_imdb_wiki,
    "cacd": load_cacd,
}


@dataclass(frozen=True)
class Terms:
    """What a data set or a network of others is called, and the terms on which weights made with it may be used."""

    name: str
    licence: str
    commercial_use: bool


_RESEARCH = "non-commercial research"
LICENCES: dict[str, Terms] = {
    "utkface": Terms("UTKFace", _RESEARCH, False),
    "fairface": Terms("FairFace", "CC BY 4.0", True),
    "celeba": Terms("CelebA", _RESEARCH, False),
    "photos": Terms("CelebA", _RESEARCH, False),
    "portraits": Terms("Portraits", "public domain, CC BY 4.0", True),
    "imdb-wiki": Terms("IMDB-WIKI", _RESEARCH, False),
    "cacd": Terms("CACD", _RESEARCH, False),
}
# Networks of others that labelled faces, or that training begins from.
MESH_NETWORK = Terms("MediaPipe face mesh", "Apache-2.0", True)
PERSON_NETWORK = Terms("MediaPipe selfie segmentation", "Apache-2.0", True)
DLIB_NETWORK = Terms("dlib face recognition ResNet", "CC0-1.0", True)
_FREE_LICENCES = {
    "cc0-1.0",
    "mit",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc by 4.0",
    "cc-by-4.0",
    "public domain",
}


def is_free_licence(licence: str) -> bool:
    """Return whether ``licence`` is known to allow commercial use; any other text, however near, is not."""
    return licence.strip().rstrip(".").lower() in _FREE_LICENCES


def load_sources(sources: Sequence[str]) -> list[FaceRecord]:
    """Load all faces of ``sources``, each ``KIND:FOLDER``; a bare folder is taken for ``archives``.

    ``DataError`` for an unknown kind, a folder that is missing, or one not in the layout of its kind.
    """
    records: list[FaceRecord] = []
    for source in sources:
        kind, _, location = source.rpartition(":")
        folder = Path(location).expanduser()
        if (kind or "archives") not in LOADERS:
            raise DataError(f"unknown kind of data {kind!r} in {source!r}; known: {', '.join(LOADERS)}")
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder")
        loaded = LOADERS[kind or "archives"](folder)
        if not loaded:
            raise DataError(f"{folder} holds no faces in the layout of {kind or 'archives'}")
        records += loaded
    return records
