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
class SetTerms:
    """What a set is called, and the terms on which weights trained on it may be used."""

    name: str
    licence: str


_RESEARCH = "non-commercial research"
LICENCES: dict[str, SetTerms] = {
    "utkface": SetTerms("UTKFace", _RESEARCH),
    "fairface": SetTerms("FairFace", "CC BY 4.0"),
    "celeba": SetTerms("CelebA", _RESEARCH),
    "photos": SetTerms("CelebA", _RESEARCH),
    "imdb-wiki": SetTerms("IMDB-WIKI", _RESEARCH),
    "cacd": SetTerms("CACD", _RESEARCH),
}


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
