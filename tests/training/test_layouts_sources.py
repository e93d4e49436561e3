"""Sources by their kind, on small folders made in each set's own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dorian_training.data.records import PictureReader
from dorian_training.data.sources import LOADERS, load_sources
from dorian_training.errors import DataError
from tests.training.dataset_layouts import (
    FAIRFACE_HEADER,
    cacd,
    celeba,
    fairface,
    imdb_wiki,
    in_box,
    paint,
    photo,
    utkface,
)


def make_fairface(folder: Path) -> None:
    fairface(folder, FAIRFACE_HEADER + "train/1.jpg,20-29,Male,White,True\n", FAIRFACE_HEADER)


def make_imdb_wiki(folder: Path) -> None:
    imdb_wiki(folder / "wiki.mat", [photo("00/a.jpg")])
    paint(folder / "00/a.jpg", 240, 180, in_box((30, 20, 100, 100)))


@pytest.mark.parametrize(
    ("kind", "make", "source", "count"),
    [
        ("utkface", lambda folder: utkface(folder, "26_0_1_20170116184024662.jpg.chip.jpg"), "utkface", 1),
        ("fairface", make_fairface, "fairface", 1),
        ("celeba", celeba, "celeba", 3),
        ("imdb-wiki", make_imdb_wiki, "imdb-wiki", 1),
        ("cacd", cacd, "cacd", 3),
    ],
)
def test_sources_by_kind(tmp_path: Path, kind: str, make: Callable[[Path], None], source: str, count: int) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder)
    records = load_sources([f"{kind}:{folder}"])
    assert [record.source for record in records] == [source] * count
    with PictureReader() as reader:
        assert all(reader.read(record).ndim == 3 for record in records)
    assert len(load_sources([f"{kind}:{folder}", f"{kind}:{folder}"])) == 2 * count


def test_sources_know_all_kinds(tmp_path: Path) -> None:
    assert list(LOADERS) == ["archives", "utkface", "fairface", "celeba", "imdb-wiki", "cacd"]
    with pytest.raises(DataError, match=r"unknown kind of data 'morph' in .*; known: archives, utkface, fairface"):
        load_sources([f"morph:{tmp_path}"])
    fairface(tmp_path, FAIRFACE_HEADER, FAIRFACE_HEADER)
    with pytest.raises(DataError, match="holds no faces in the layout of fairface"):
        load_sources([f"fairface:{tmp_path}"])
