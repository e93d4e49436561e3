"""Loaders of public data sets, on small folders made in each set's own layout."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_training.data.cacd import load_cacd
from dorian_training.data.celeba import load_celeba
from dorian_training.data.crops import cut_crops
from dorian_training.data.fairface import load_fairface
from dorian_training.data.imdb_wiki import load_imdb_wiki
from dorian_training.data.records import MEAN_LANDMARKS, FaceRecord, PictureReader, split_of
from dorian_training.data.sources import LOADERS, load_sources
from dorian_training.data.utkface import load_utkface
from dorian_training.errors import DataError

# A colour (RGB) per landmark: right eye, left eye, nose, right mouth corner, left mouth corner.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
CROP = 96
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]


def paint(path: Path, width: int, height: int, points: Points) -> None:
    """A grey picture with a coloured disc at each landmark, sized by the face."""
    picture = np.full((height, width, 3), 128, np.uint8)
    radius = max(2, round(np.hypot(points[4][0] - points[0][0], points[4][1] - points[0][1]) / 8))
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(picture, (round(x), round(y)), radius, colour[::-1], cv2.FILLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])


def in_box(box: Box) -> Points:
    """The mean landmarks in ``box`` (x, y, width, height)."""
    x, y, width, height = box
    return [(x + u * width - 0.5, y + v * height - 0.5) for u, v in MEAN_LANDMARKS]


def assert_aligned(records: Sequence[FaceRecord]) -> None:
    """Every picture can be read, and its painted landmarks come to lie where the template has them."""
    crops = cut_crops(records, CROP)
    assert crops.records == tuple(records)
    assert crops.pixels.shape == (len(records), CROP, CROP, 3)
    for pixels in crops.pixels:
        for (x, y), colour in zip(DEFAULT_TEMPLATE.points(CROP), COLOURS, strict=True):
            assert np.abs(pixels[round(y), round(x)].astype(int) - colour).max() < 48


def by_name(records: Sequence[FaceRecord]) -> dict[str, FaceRecord]:
    assert len({record.name for record in records}) == len(records)
    return {record.name: record for record in records}


# UTKFace


def utkface(folder: Path, *names: str) -> None:
    for name in names:
        paint(folder / name, 200, 200, in_box((0, 0, 200, 200)))


def test_utkface_reads_labels_from_names(tmp_path: Path) -> None:
    utkface(
        tmp_path,
        "26_0_1_20170116184024662.jpg.chip.jpg",
        "1_1_4_20161219200338012.jpg.chip.jpg",
        "116_1_3_20170120134921760.jpg.chip.jpg",
        "0_0_2_20170103201048354.jpg.chip.jpg",
        "70_1_0_20170116232725357.jpg.chip.jpg",
    )
    found = by_name(load_utkface(tmp_path))
    assert {(r.age_low, r.age_high, r.gender, r.ethnicity) for r in found.values()} == {
        (26, 26, "Male", "Black"),
        (1, 1, "Female", "Other"),
        (116, 116, "Female", "Indian"),
        (0, 0, "Male", "Asian"),
        (70, 70, "Female", "White"),
    }
    record = found["26_0_1_20170116184024662.jpg.chip.jpg"]
    assert (record.source, record.container, record.identity) == ("utkface", tmp_path, "")
    assert (record.landmarks, record.box) == (None, None)
    assert all(r.split == split_of(name) for name, r in found.items())
    assert_aligned(list(found.values()))


def test_utkface_takes_each_picture_of_its_sub_folders_once(tmp_path: Path) -> None:
    both = "30_0_0_20170116184024662.jpg.chip.jpg"
    utkface(tmp_path, f"UTKFace/{both}", f"crop_part1/{both}", "crop_part1/31_0_0_20170116184024663.jpg.chip.jpg")
    for part in (1, 2, 3):
        utkface(tmp_path, f"part{part}/4{part}_0_0_2017011618402466{part}.jpg.chip.jpg")
    records = load_utkface(tmp_path)
    assert [record.name for record in records] == [
        f"UTKFace/{both}",
        "part1/41_0_0_20170116184024661.jpg.chip.jpg",
        "part2/42_0_0_20170116184024662.jpg.chip.jpg",
        "part3/43_0_0_20170116184024663.jpg.chip.jpg",
        "crop_part1/31_0_0_20170116184024663.jpg.chip.jpg",
    ]
    assert records[0].split == split_of(both)
    assert_aligned(records)


def test_utkface_counts_what_it_leaves_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = ["55_0_0_20170116232725357jpg.chip.jpg", "24_0_1_20170116220224657 .jpg.chip.jpg"]
    utkface(
        tmp_path,
        *kept,
        "39_1_20170116174525125.jpg.chip.jpg",  # no race
        "61_3_20170109150557335.jpg.chip.jpg",  # no gender
        "117_0_0_20170112215240346.jpg.chip.jpg",  # too old
        "26_2_0_20170112215240346.jpg.chip.jpg",  # no such gender
        "26_0_0_20170112215240346.jpg",  # not cropped
    )
    with caplog.at_level(logging.WARNING):
        assert sorted(record.name for record in load_utkface(tmp_path)) == sorted(kept)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: left out 5 pictures not named age_gender_race_date.jpg.chip.jpg"
    ]


def test_utkface_without_crops(tmp_path: Path) -> None:
    utkface(tmp_path, "part1/26_0_0_20170112215240346.jpg")
    with pytest.raises(DataError, match=r"no aligned crops of UTKFace; expected age_gender_race_date\.jpg\.chip\.jpg"):
        load_utkface(tmp_path)


# FairFace

FAIRFACE_HEADER = "file,age,gender,race,service_test\n"


def fairface(folder: Path, train: str, val: str) -> None:
    folder.mkdir(exist_ok=True)
    for part, rows in (("train", train), ("val", val)):
        (folder / part).mkdir(exist_ok=True)
        (folder / f"fairface_label_{part}.csv").write_text(rows)
        for row in rows.splitlines()[1:]:
            paint(folder / row.split(",")[0], 224, 224, in_box((0, 0, 224, 224)))


def test_fairface_brackets_and_labels(tmp_path: Path) -> None:
    ages = ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"]
    ages += ["3-Sep", "9-Mar", "Oct-19", "19-Oct"]
    rows = "".join(f"train/{number}.jpg,{age},Male,East Asian,True\n" for number, age in enumerate(ages, 1))
    fairface(tmp_path, FAIRFACE_HEADER + rows, FAIRFACE_HEADER + "val/1.jpg,30-39,Female,Latino_Hispanic,False\n")
    records = load_fairface(tmp_path)
    assert [(record.age_low, record.age_high) for record in records] == [
        (0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 80),
        (3, 9), (3, 9), (10, 19), (10, 19), (30, 39),
    ]  # fmt: skip
    first, last = records[0], records[-1]
    assert (first.source, first.container, first.name) == ("fairface", tmp_path, "train/1.jpg")
    assert (first.gender, first.ethnicity, first.split) == ("Male", "East Asian", "train")
    assert (last.name, last.gender, last.ethnicity) == ("val/1.jpg", "Female", "Latino_Hispanic")
    assert_aligned(records)


def test_fairface_halves_val(tmp_path: Path) -> None:
    rows = "".join(f"val/{number}.jpg,20-29,Male,White,True\n" for number in range(1, 41))
    fairface(tmp_path, FAIRFACE_HEADER + "train/1.jpg,20-29,Male,White,True\n", FAIRFACE_HEADER + rows)
    train, *rest = load_fairface(tmp_path)
    assert train.split == "train"
    assert [r.split for r in rest] == [("val", "test")[zlib.crc32(f"val/{n}.jpg".encode()) % 2] for n in range(1, 41)]
    assert 12 <= sum(record.split == "test" for record in rest) <= 28


@pytest.mark.parametrize("missing", ["fairface_label_train.csv", "fairface_label_val.csv", "train", "val"])
def test_fairface_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    fairface(tmp_path, FAIRFACE_HEADER, FAIRFACE_HEADER)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"has no {missing}; expected train/, val/, fairface_label_train.csv"):
        load_fairface(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,gender\n", "fairface_label_train.csv has no column age, race; expected file, age, gender, race"),
        (FAIRFACE_HEADER + "train/1.jpg,adult,Male,White,True\n", "line 2: age 'adult' is none of 0-2, 3-9"),
        (FAIRFACE_HEADER + "train/1.jpg,20-29,Male\n", "line 2: file, age, gender, race must all be filled"),
    ],
)
def test_fairface_refuses_what_it_cannot_read(tmp_path: Path, text: str, message: str) -> None:
    fairface(tmp_path, text, FAIRFACE_HEADER)
    with pytest.raises(DataError, match=message):
        load_fairface(tmp_path)


def test_fairface_reads_a_byte_order_mark(tmp_path: Path) -> None:
    fairface(tmp_path, "\ufeff" + FAIRFACE_HEADER + "train/1.jpg,20-29,Male,White,True\n", FAIRFACE_HEADER)
    assert [record.name for record in load_fairface(tmp_path)] == ["train/1.jpg"]


# CelebA

CELEBA_MARKS = {
    "000001.jpg": ((69, 109), (106, 113), (77, 142), (73, 152), (108, 154)),
    "000002.jpg": ((60, 100), (100, 100), (80, 123), (63, 140), (97, 140)),
    "000003.jpg": ((76, 112), (104, 106), (108, 128), (74, 156), (98, 158)),
}
CELEBA_ALIGNED = ((69.5, 111.5), (107.5, 111.5), (88.0, 136.0), (71.0, 152.0), (106.0, 152.0))


def celeba(folder: Path, marks: bool = True) -> None:
    rows = {name: " ".join(f"{x} {y}" for x, y in points) for name, points in CELEBA_MARKS.items()}
    for name, points in CELEBA_MARKS.items():
        paint(folder / "img_align_celeba" / name, 178, 218, points if marks else CELEBA_ALIGNED)
    (folder / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n000003.jpg 8692\n")
    (folder / "list_attr_celeba.txt").write_text(
        "3\n5_o_Clock_Shadow Eyeglasses Male Young \n"
        "000001.jpg -1  1 -1  1\n000002.jpg -1 -1  1 -1\n000003.jpg  1  1 -1 -1\n"
    )
    if marks:
        (folder / "list_landmarks_align_celeba.txt").write_text(
            "3\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x "
            "rightmouth_y\n" + "".join(f"{name}  {row}\n" for name, row in rows.items())
        )


def test_celeba_with_landmarks_and_partition(tmp_path: Path) -> None:
    celeba(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    records = load_celeba(tmp_path)
    assert [(r.name, r.identity, r.gender, r.split) for r in records] == [
        ("000001.jpg", "2880", "Female", "train"),
        ("000002.jpg", "2937", "Male", "val"),
        ("000003.jpg", "8692", "Female", "test"),
    ]
    assert [record.landmarks for record in records] == list(CELEBA_MARKS.values())
    assert {(r.source, r.container, r.age, r.ethnicity) for r in records} == {
        ("celeba", tmp_path / "img_align_celeba", None, "")
    }
    # The first eye of the file is the viewer's left one, as the first of ours is: x grows alike.
    for record in records[:2]:
        assert record.landmarks is not None
        order = np.argsort([x for x, _ in record.landmarks[:2]]).tolist()
        assert order == np.argsort([x for x, _ in MEAN_LANDMARKS[:2]]).tolist() == [0, 1]
    assert_aligned(records[1:2])


def test_celeba_without_landmarks_or_partition(tmp_path: Path) -> None:
    celeba(tmp_path, marks=False)
    records = load_celeba(tmp_path)
    assert {record.landmarks for record in records} == {CELEBA_ALIGNED}
    assert [record.split for record in records] == [split_of("2880"), split_of("2937"), split_of("8692")]
    assert_aligned(records)


def test_celeba_in_the_folders_it_is_published_in(tmp_path: Path) -> None:
    celeba(tmp_path)
    for place, name in (
        ("Img", "img_align_celeba"),
        ("Anno", "identity_CelebA.txt"),
        ("Anno", "list_attr_celeba.txt"),
        ("Anno", "list_landmarks_align_celeba.txt"),
    ):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / place / name)
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Eval/list_eval_partition.txt").write_text("000001.jpg 2\n000002.jpg 2\n000003.jpg 2\n")
    records = load_celeba(tmp_path)
    assert [record.split for record in records] == ["test"] * 3
    assert [record.landmarks for record in records] == list(CELEBA_MARKS.values())
    assert_aligned(records[1:2])


@pytest.mark.parametrize("missing", ["img_align_celeba", "identity_CelebA.txt", "list_attr_celeba.txt"])
def test_celeba_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    celeba(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"has no {missing}; expected img_align_celeba/, identity_CelebA.txt"):
        load_celeba(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list_attr_celeba.txt", "3\nEyeglasses Young\n000001.jpg 1 1\n", "has no column Male"),
        ("list_attr_celeba.txt", "3\nMale\n000002.jpg 1\n", "has no line of 000001.jpg and of 1 more pictures"),
        ("list_landmarks_align_celeba.txt", "3\nlefteye_x lefteye_y\n000001.jpg 1 1\n", "has no column righteye_x, "),
        ("identity_CelebA.txt", "000001.jpg 2880\n000002.jpg\n", "cannot understand the line of 000002.jpg"),
        ("identity_CelebA.txt", "000001.jpg someone\n", "cannot understand the line of 000001.jpg"),
        ("list_eval_partition.txt", "000001.jpg 0\n000002.jpg 3\n000003.jpg 0\n", "a partition 3; expected 0, 1 or 2"),
        ("list_eval_partition.txt", "", "list_eval_partition.txt has no line of 000001.jpg and of 2 more pictures"),
    ],
)
def test_celeba_refuses_what_it_cannot_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    celeba(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load_celeba(tmp_path)


# IMDB-WIKI

BORN_1950_06_30 = 712404.0  # datenum(1950, 6, 30) in MATLAB
Photo = dict[str, Any]


def photo(path: str, **changes: Any) -> Photo:
    """One photo's metadata; face_location counts from 1 and includes its ends."""
    values: Photo = {
        "dob": BORN_1950_06_30,
        "photo_taken": 1990,
        "full_path": path,
        "gender": 1.0,
        "name": "Fred Astaire",
        "face_location": [31.0, 21.0, 130.0, 120.0],
        "face_score": 3.5,
        "second_face_score": np.nan,
        "celeb_id": 6488,
    }
    return values | changes


def cells(values: Sequence[Any]) -> np.ndarray:
    """A 1 × N cell array."""
    array = np.empty((1, len(values)), dtype=object)
    for index, value in enumerate(values):
        array[0, index] = value
    return array


def imdb_wiki(mat: Path, photos: Sequence[Photo], without: Sequence[str] = ("celeb_id",)) -> None:
    """``mat`` in the published nesting: a 1 × 1 struct of 1 × N vectors and 1 × N cells."""
    columns = {key: [entry[key] for entry in photos] for key in photos[0] if key not in without}
    struct: dict[str, Any] = {}
    for key, values in columns.items():
        if key in ("full_path", "name"):
            struct[key] = cells(values)
        elif key == "face_location":
            struct[key] = cells([np.asarray([value], np.float64) for value in values])
        else:
            struct[key] = np.asarray([values], np.uint16 if key in ("photo_taken", "celeb_id") else np.float64)
    if "celeb_id" in struct:
        struct["celeb_names"] = cells(["Astaire", "Bacall"])
    mat.parent.mkdir(parents=True, exist_ok=True)
    savemat(mat, {mat.stem: struct})


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


# CACD

CACD_PEOPLE = [
    (53, 1, "53_Robin_Williams_0001.jpg"),
    (14, 2000, "14_Aaron_Johnson_0001.jpg"),
    (62, 1, "62_Robin_Williams_0007.jpg"),
]


def cacd(folder: Path, pictures: str = "CACD2000", **changes: Any) -> None:
    """The published nesting: a 1 × 1 struct of N × 1 vectors, one N × 1 cell, and an empty ``feature``."""
    ages, identities, names = zip(*CACD_PEOPLE, strict=True)
    struct = {
        "age": np.asarray(ages, np.uint8)[:, None],
        "identity": np.asarray(identities, np.uint16)[:, None],
        "year": np.full((3, 1), 2004, np.uint16),
        "feature": np.empty((0, 0), np.uint8),
        "rank": np.ones((3, 1), np.uint8),
        "lfw": np.ones((3, 1), np.uint8),
        "birth": np.full((3, 1), 1951, np.uint16),
        "name": cells(names).T,
    } | changes
    for name in names:
        paint(folder / pictures / name, 250, 250, in_box((51, 65, 148, 148)))
    savemat(
        folder / "celebrity2000_meta.mat",
        {
            "celebrityData": {"name": cells(["Robin Williams"]).T, "identity": np.ones((1, 1))},
            "celebrityImageData": {key: value for key, value in struct.items() if value is not None},
        },
    )


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


# Sources


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
