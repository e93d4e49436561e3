"""Loaders of sets that are described in names and in tables, on small folders made in each set's own layout."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np
import pytest

from dorian_training.data.celeba import load_celeba
from dorian_training.data.fairface import load_fairface
from dorian_training.data.records import MEAN_LANDMARKS, split_of
from dorian_training.data.utkface import load_utkface
from dorian_training.errors import DataError
from tests.training.dataset_layouts import (
    CELEBA_ALIGNED,
    CELEBA_MARKS,
    FAIRFACE_HEADER,
    assert_aligned,
    by_name,
    celeba,
    fairface,
    utkface,
)


def test_utkface_reads_labels_from_names(tmp_path: Path) -> None:
    utkface(
        tmp_path,
        "26_0_1_20170116184024662.jpg.chip.jpg",
        "1_1_4_20161219200338012.jpg.chip.jpg",
        "116_1_3_20170120134921760.jpg.chip.jpg",
        "0_0_2_20170103201048354.jpg.chip.jpg",
        "70_1_0_20170116232725357.jpg.chip.jpg",
    )
    result = by_name(load_utkface(tmp_path))
    assert {(r.age_low, r.age_high, r.gender, r.ethnicity) for r in result.values()} == {
        (26, 26, "Male", "Black"),
        (1, 1, "Female", "Other"),
        (116, 116, "Female", "Indian"),
        (0, 0, "Male", "Asian"),
        (70, 70, "Female", "White"),
    }
    record = result["26_0_1_20170116184024662.jpg.chip.jpg"]
    assert (record.source, record.container, record.identity) == ("utkface", tmp_path, "")
    assert (record.landmarks, record.box, record.young) == (None, None, None)
    assert all(r.split == split_of(name) for name, r in result.items())
    assert_aligned(list(result.values()))


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


def test_celeba_with_landmarks_and_partition(tmp_path: Path) -> None:
    celeba(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    records = load_celeba(tmp_path)
    assert [(r.name, r.identity, r.gender, r.split) for r in records] == [
        ("000001.jpg", "2880", "Female", "train"),
        ("000002.jpg", "2937", "Male", "val"),
        ("000003.jpg", "8692", "Female", "test"),
    ]
    assert [record.young for record in records] == [True, False, False]
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


def test_celeba_tells_young_from_old_where_its_attribute_does(tmp_path: Path) -> None:
    celeba(tmp_path)
    rows = "000001.jpg -1 1\n000002.jpg 1 -1\n000003.jpg 0 0\n"
    (tmp_path / "list_attr_celeba.txt").write_text(f"3\nYoung Male\n{rows}")
    records = load_celeba(tmp_path)
    assert [(record.young, record.gender) for record in records] == [(False, "Male"), (True, "Female"), (None, "")]


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
        ("list_attr_celeba.txt", "3\nMale Eyeglasses\n000001.jpg 1 1\n", "has no column Young"),
        ("list_attr_celeba.txt", "3\nMale Young\n000002.jpg 1 1\n", "has no line of 000001.jpg and of 1 more pictures"),
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
