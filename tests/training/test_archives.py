"""Archives: ZIP files of faces beside a faces.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dorian_bundle.ages import PAPER_GROUPS, group_of_age
from dorian_training.data.archives import load_archives
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError

WriteArchives = Callable[..., Path]


def replace_cell(folder: Path, line: int, column: str, value: str) -> None:
    """Change one cell of faces.csv; ``line`` counts from 1, the header's."""
    table = folder / "faces.csv"
    lines = [text.split(",") for text in table.read_text().splitlines()]
    lines[line - 1][lines[0].index(column)] = value
    table.write_text("".join(f"{','.join(cells)}\n" for cells in lines))


def test_a_row_becomes_a_record(tmp_path: Path, write_archives: WriteArchives) -> None:
    row = {"file": "a/b.png", "split": "val", "age": "", "age_low": 20, "age_high": 29, "nose_x": 41.5}
    folder = write_archives(tmp_path, [row | {"archive": "fairface.zip", "gender": "Female", "ethnicity": "Black"}])
    (record,) = load_archives(folder)
    assert (record.source, record.container, record.name) == ("fairface", folder / "fairface.zip", "a/b.png")
    assert (record.split, record.age_low, record.age_high, record.age) == ("val", 20, 29, 24.5)
    assert (record.gender, record.ethnicity, record.identity) == ("Female", "Black", "person 0")
    assert record.landmarks == ((24.5, 23.0), (54.5, 23.0), (41.5, 40.4), (26.6, 53.1), (52.4, 53.1))
    assert record.box == (5.0, 5.0, 70.0, 70.0)
    with PictureReader() as reader:
        assert reader.read(record).shape == (80, 80, 3)


def test_an_unknown_age_stays_unknown(tmp_path: Path, write_archives: WriteArchives) -> None:
    (record,) = load_archives(write_archives(tmp_path, [{"age": "", "age_low": "", "age_high": "", "gender": ""}]))
    assert (record.age_low, record.age_high, record.age, record.gender) == (None, None, None, "")


def test_every_split_is_kept(tmp_path: Path, write_archives: WriteArchives) -> None:
    splits = ["train", "test", "val", "train"]
    folder = write_archives(tmp_path, [{"split": split} for split in splits])
    assert [record.split for record in load_archives(folder)] == splits


def test_all_archives_or_those_named(tmp_path: Path, write_archives: WriteArchives) -> None:
    archives = ["utkface.zip", "fairface.zip", "celeba.zip", "utkface.zip"]
    folder = write_archives(tmp_path, [{"archive": archive} for archive in archives])
    sources = ["utkface", "fairface", "celeba", "utkface"]
    assert [record.source for record in load_archives(folder)] == sources
    assert [record.name for record in load_archives(folder, ["utkface"])] == ["0.png", "3.png"]
    assert [record.source for record in load_archives(folder, ["celeba", "fairface"])] == ["fairface", "celeba"]
    assert [record.source for record in load_sources([str(folder)])] == sources  # the kind taken for a bare folder
    assert len(load_sources([f"archives:{folder}", str(folder)])) == 8


def test_an_archive_that_is_missing(tmp_path: Path, write_archives: WriteArchives) -> None:
    folder = write_archives(tmp_path, [{"archive": "utkface.zip"}, {"archive": "celeba.zip"}])
    (folder / "celeba.zip").unlink()
    assert [record.source for record in load_archives(folder)] == ["utkface"]
    with pytest.raises(DataError, match=r"celeba\.zip is missing"):
        load_archives(folder, ["celeba"])
    with pytest.raises(DataError, match="has no faces of photos; it has utkface"):
        load_archives(folder, ["utkface", "photos"])
    (folder / "utkface.zip").unlink()
    with pytest.raises(DataError, match="holds no faces in the layout of archives"):
        load_sources([str(folder)])


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no faces\.csv"):
        load_archives(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("split", "training", "'training'"),
        ("age_low", "young", "'young'"),
        ("age_high", "2.5", "'2.5'"),
        ("left_mouth_y", "", "float"),
        ("nose_x", "left", "'left'"),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    tmp_path: Path, write_archives: WriteArchives, column: str, value: str, problem: str
) -> None:
    folder = write_archives(tmp_path, [{}, {}, {}, {}])
    replace_cell(folder, 4, column, value)
    with pytest.raises(DataError, match=rf"faces\.csv, line 4: .*{problem}"):
        load_archives(folder)


def test_a_row_that_ends_early_is_named_by_its_line(tmp_path: Path, write_archives: WriteArchives) -> None:
    table = write_archives(tmp_path, [{}, {}]) / "faces.csv"
    table.write_text(table.read_text() + "utkface.zip,2.png,train,30,30,30,Male\n")
    with pytest.raises(DataError, match=r"faces\.csv, line 4: "):
        load_archives(tmp_path)


def test_a_table_without_a_column(tmp_path: Path, write_archives: WriteArchives) -> None:
    table = write_archives(tmp_path, [{}]) / "faces.csv"
    table.write_text(table.read_text().replace("ethnicity", "race", 1))
    with pytest.raises(DataError, match="line 2: 'ethnicity'"):
        load_archives(tmp_path)


@pytest.fixture(scope="module")
def reference_records(reference_data: Path) -> list[FaceRecord]:
    return load_archives(reference_data, ["utkface", "fairface"])


def test_counts_of_the_reference_data(reference_records: list[FaceRecord]) -> None:
    records = reference_records
    assert Counter(record.source for record in records) == {"utkface": 19_695, "fairface": 24_250}
    for source, expected in {
        "utkface": [3_881, 5_883, 3_776, 1_909, 1_966, 2_280],
        "fairface": [6_792, 6_946, 5_182, 2_710, 1_590, 1_030],
    }.items():
        ages = [record.age for record in records if record.source == source]
        counts = Counter(group_of_age(PAPER_GROUPS, age) for age in ages if age is not None)
        assert [counts[group] for group in range(len(PAPER_GROUPS))] == expected
    shares = Counter(record.split for record in records)
    assert [round(shares[split] / len(records), 2) for split in ("train", "val", "test")] == [0.9, 0.05, 0.05]


def test_crops_of_the_reference_data(reference_records: list[FaceRecord]) -> None:
    records = reference_records[:: len(reference_records) // 20][:20]
    crops = cut_crops(records, 64)
    assert {record.source for record in crops.records} == {"utkface", "fairface"}
    assert crops.records == tuple(records)
    assert crops.pixels.shape == (20, 64, 64, 3)
    assert (crops.pixels.std(axis=(1, 2, 3)) > 15).all()
    # An aligned mean face: its eyes, where the template has them, are darker than the brow, the nose between, and the cheeks.
    face = crops.pixels.mean(axis=(0, 3))
    eyes, nose = np.minimum(face[17:21, 18:22], face[17:21, 42:46]).mean(), face[17:21, 30:34].mean()
    cheeks = (face[28:34, 14:20].mean() + face[28:34, 44:50].mean()) / 2
    assert eyes + 10 < min(nose, cheeks, face[6:9, 26:38].mean())
