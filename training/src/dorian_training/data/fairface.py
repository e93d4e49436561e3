"""FairFace: aligned crops with an age bracket, gender and race, balanced over seven races.

Kärkkäinen and Joo 2021, https://github.com/joojs/fairface, in the download with a margin of 0.25. Licence: CC BY 4.0.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path

from dorian_training.data.layout import find_in
from dorian_training.data.records import FaceRecord, Split
from dorian_training.errors import DataError

_LAYOUT = "train/, val/, fairface_label_train.csv and fairface_label_val.csv"
_COLUMNS = ("file", "age", "gender", "race")

# The last bracket is open; 80 closes it as wide as the others.
_BRACKETS = {
    "0-2": (0, 2),
    "3-9": (3, 9),
    "10-19": (10, 19),
    "20-29": (20, 29),
    "30-39": (30, 39),
    "40-49": (40, 49),
    "50-59": (50, 59),
    "60-69": (60, 69),
    "more than 70": (70, 80),
}
# Spreadsheets take two of the brackets for dates.
_DATES = {"3-Sep": "3-9", "9-Mar": "3-9", "Sep-3": "3-9", "Mar-9": "3-9", "Oct-19": "10-19", "19-Oct": "10-19"}


def load_fairface(folder: Path) -> list[FaceRecord]:
    """Load the faces of both label files. ``train`` stays; ``val`` is halved into ``val`` and ``test``, by a hash of the file.

    ``DataError`` if a label file, picture folder or column is missing, or if a row cannot be understood.
    """
    records: list[FaceRecord] = []
    for part in ("train", "val"):
        table = find_in(folder, f"fairface_label_{part}.csv", _LAYOUT)
        find_in(folder, part, _LAYOUT)
        with table.open(newline="", encoding="utf-8-sig") as lines:
            records += _records(folder, table, csv.DictReader(lines), part)
    return records


def _records(folder: Path, table: Path, rows: csv.DictReader[str], part: str) -> Iterator[FaceRecord]:
    missing = set(_COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{table} has no column {', '.join(sorted(missing))}; expected {', '.join(_COLUMNS)}")
    for row in rows:
        if not all(row[column] for column in _COLUMNS):
            raise DataError(f"{table}, line {rows.line_num}: {', '.join(_COLUMNS)} must all be filled")
        age = row["age"].strip()
        bracket = _BRACKETS.get(_DATES.get(age, age))
        if bracket is None:
            raise DataError(f"{table}, line {rows.line_num}: age {age!r} is none of {', '.join(_BRACKETS)}")
        yield FaceRecord(
            source="fairface",
            container=folder,
            name=row["file"],
            split="train" if part == "train" else _half(row["file"]),
            age_low=bracket[0],
            age_high=bracket[1],
            gender=row["gender"],
            ethnicity=row["race"],
        )


def _half(file: str) -> Split:
    return "val" if zlib.crc32(file.encode()) % 2 == 0 else "test"


def stranger_group(record: FaceRecord) -> str | None:
    """Return the group of a face of FairFace, as in "East Asian Female"; ``None`` for other sets, in which people recur."""
    if record.source != "fairface" or not (record.ethnicity and record.gender):
        return None
    return f"{record.ethnicity.replace('_', ' ')} {record.gender}"
