"""Loaders of sets that are described in MATLAB files, on small folders made in each set's own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dorian_training.data.cacd import load_cacd
from dorian_training.data.imdb_wiki import load_imdb_wiki
from dorian_training.data.records import split_of
from dorian_training.errors import DataError
from tests.training.dataset_layouts import BORN_1950_06_30, assert_aligned, cacd, imdb_wiki, in_box, paint, photo


def test_imdb_wiki_ages_boxes_and_people(tmp_path: Path) -> None:
    photos = [
        photo("01/a.jpg"),
        photo("01/b.jpg", dob=BORN_1950_06_30 + 1),  # July 1
        photo("01/c.jpg", dob=BORN_1950_06_30 + 2, gender=0.0, name="Lauren Bacall", celeb_id=11000),
        photo("02/d.jpg", gender=np.nan, second_face_score=0.9, face_location=[41.0, 1.0, 90.0, 50.0], name=""),
    ]
    imdb_wiki(tmp_path / "imdb/imdb.mat", photos, without=())
    for entry in photos:
        x1, y1, x2, y2 = entry["face_location"]
        box = (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1)
        paint(tmp_path / "imdb" / entry["full_path"], 240, 180, in_box(box))
    records = load_imdb_wiki(tmp_path)
    assert [(r.name, r.age_low, r.age_high, r.gender, r.identity) for r in records] == [
        ("01/a.jpg", 40, 40, "Male", "imdb 6488"),
        ("01/b.jpg", 40, 40, "Male", "imdb 6488"),
        ("01/c.jpg", 39, 39, "Female", "imdb 11000"),
        ("02/d.jpg", 40, 40, "", "imdb 6488"),
    ]
    assert [record.box for record in records] == [(30, 20, 100, 100)] * 3 + [(40, 0, 50, 50)]
    assert {(r.source, r.container, r.landmarks) for r in records} == {("imdb-wiki", tmp_path / "imdb", None)}
    keys = ["Fred Astaire", "Fred Astaire", "Lauren Bacall", "imdb 6488"]
    assert [record.split for record in records] == [split_of(key) for key in keys]
    assert_aligned(records)


def test_imdb_wiki_leaves_out_unsure_faces_and_ages(tmp_path: Path) -> None:
    photos = [
        photo("kept.jpg"),
        photo("no-face.jpg", face_score=-np.inf),
        photo("no-score.jpg", face_score=np.nan),
        photo("two-faces.jpg", second_face_score=1.1),
        photo("second-at-the-limit.jpg", second_face_score=1.0),
        photo("unborn.jpg", photo_taken=1949),
        photo("newborn.jpg", photo_taken=1950),
        photo("hundred.jpg", photo_taken=2050),
        photo("too-old.jpg", photo_taken=2051),
        photo("no-birth-day.jpg", dob=0.0),
        photo("before-year-1.jpg", dob=366.0),
        photo("unknown-birth-day.jpg", dob=np.nan),
    ]
    imdb_wiki(tmp_path / "wiki.mat", photos)
    assert [(record.name, record.age) for record in load_imdb_wiki(tmp_path)] == [
        ("kept.jpg", 40.0),
        ("second-at-the-limit.jpg", 40.0),
        ("newborn.jpg", 0.0),
        ("hundred.jpg", 100.0),
    ]


def test_imdb_wiki_joins_both_and_splits_people_alike(tmp_path: Path) -> None:
    people = [f"Person {number}" for number in range(150)]
    photos = [photo(f"{n}/x.jpg", name=name, celeb_id=n) for n, name in enumerate(people)]
    imdb_wiki(tmp_path / "imdb_crop/imdb.mat", photos, without=())
    imdb_wiki(tmp_path / "wiki_crop/wiki.mat", photos)
    records = load_imdb_wiki(tmp_path)
    assert [record.source for record in records] == ["imdb-wiki"] * 300
    assert [record.identity for record in records[150:]] == people
    assert [record.split for record in records] == [split_of(name) for name in people] * 2
    assert {record.split for record in records} == {"train", "val", "test"}


def test_imdb_wiki_finds_the_face_in_the_crops(tmp_path: Path) -> None:
    # The face is 100 pixels wide in the whole photo; the crop keeps 40 of them on each side.
    imdb_wiki(tmp_path / "wiki_crop/wiki.mat", [photo("00/a.jpg")])
    paint(tmp_path / "wiki_crop/00/a.jpg", 180, 180, in_box((40, 40, 100, 100)))
    for folder in (tmp_path, tmp_path / "wiki_crop"):
        (record,) = load_imdb_wiki(folder)
        assert record.box == (40, 40, 100, 100)
        assert_aligned([record])


def test_imdb_wiki_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no imdb\.mat and no wiki\.mat; expected one or both"):
        load_imdb_wiki(tmp_path)
    imdb_wiki(tmp_path / "wiki.mat", [photo("a.jpg")], without=("celeb_id", "dob", "face_score"))
    with pytest.raises(DataError, match=r"wiki\.mat: wiki has no field dob, face_score; it has photo_taken, full_path"):
        load_imdb_wiki(tmp_path)
    imdb_wiki(tmp_path / "wiki.mat", [photo("a.jpg")])
    imdb_wiki(tmp_path / "imdb.mat", [photo("a.jpg")])
    with pytest.raises(DataError, match=r"imdb\.mat: imdb has no field celeb_id"):
        load_imdb_wiki(tmp_path)


def test_imdb_wiki_refuses_other_files(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"imdb": {"dob": 1.0}})
    with pytest.raises(DataError, match=r"wiki\.mat has no struct wiki"):
        load_imdb_wiki(tmp_path)
    for content in (b"", b"not a MATLAB file, yet longer than its header. " * 8):
        (tmp_path / "wiki.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"wiki\.mat is not a MATLAB file of version 5 to 7\.2"):
            load_imdb_wiki(tmp_path)


@pytest.mark.parametrize("pictures", ["CACD2000", "."])
def test_cacd(tmp_path: Path, pictures: str) -> None:
    cacd(tmp_path, pictures)
    records = load_cacd(tmp_path)
    assert [(r.age_low, r.age_high, r.identity, r.name) for r in records] == [
        (53, 53, "1", "53_Robin_Williams_0001.jpg"),
        (14, 14, "2000", "14_Aaron_Johnson_0001.jpg"),
        (62, 62, "1", "62_Robin_Williams_0007.jpg"),
    ]
    assert [record.split for record in records] == [split_of("1"), split_of("2000"), split_of("1")]
    assert {(r.source, r.container, r.gender, r.box) for r in records} == {
        ("cacd", tmp_path / pictures, "", (51.0, 65.0, 148.0, 148.0))
    }
    assert_aligned(records)


def test_cacd_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no celebrity2000_meta\.mat; expected .* in CACD2000/"):
        load_cacd(tmp_path)
    cacd(tmp_path, identity=None)
    with pytest.raises(DataError, match="celebrityImageData has no field identity; it has age, year"):
        load_cacd(tmp_path)
    cacd(tmp_path, age=np.ones((2, 1)))
    with pytest.raises(DataError, match="fields of celebrityImageData differ in length: age 2, identity 3, name 3"):
        load_cacd(tmp_path)
    (tmp_path / "CACD2000").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"has no pictures; expected celebrity2000_meta\.mat, and the pictures"):
        load_cacd(tmp_path)
