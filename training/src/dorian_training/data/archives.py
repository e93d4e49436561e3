"""Archives: ZIP files of face pictures beside one ``faces.csv`` with a row per face (split, age, landmarks)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from dorian_training.data.records import SPLITS, FaceRecord, Split
from dorian_training.errors import DataError

_POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")


def load_archives(folder: Path, names: Sequence[str] = ()) -> list[FaceRecord]:
    """Load the faces of the archives in ``folder`` (all, or those named, as ``utkface`` for ``utkface.zip``).

    ``DataError`` if ``faces.csv`` or a named archive is missing, or if a row cannot be understood.
    """
    table = folder / "faces.csv"
    if not table.is_file():
        raise DataError(f"{folder} has no faces.csv")
    with table.open(newline="") as lines:
        records = list(_records(folder, csv.DictReader(lines), {f"{name}.zip" for name in names}))
    sources = {record.source for record in records}
    missing = set(names) - sources
    if missing:
        raise DataError(f"{table} has no faces of {', '.join(sorted(missing))}; it has {', '.join(sorted(sources))}")
    return records


def _records(folder: Path, rows: csv.DictReader[str], archives: set[str]) -> Iterator[FaceRecord]:
    present: dict[str, bool] = {}
    for row in rows:
        try:
            archive, split = row["archive"], row["split"]
            if archives and archive not in archives:
                continue
            if split not in SPLITS:
                raise ValueError(f"split {split!r}")
            if not present.setdefault(archive, (folder / archive).is_file()):
                if archives:
                    raise DataError(f"{folder / archive} is missing")
                continue
            yield FaceRecord(
                source=archive.removesuffix(".zip"),
                container=folder / archive,
                name=row["file"],
                split=cast(Split, split),
                age_low=int(row["age_low"]) if row["age_low"] else None,
                age_high=int(row["age_high"]) if row["age_high"] else None,
                gender=row["gender"],
                ethnicity=row["ethnicity"],
                identity=row["identity"],
                landmarks=tuple((float(row[f"{p}_x"]), float(row[f"{p}_y"])) for p in _POINTS),
                box=(float(row["box_x"]), float(row["box_y"]), float(row["box_w"]), float(row["box_h"])),
            )
        except (KeyError, TypeError, ValueError) as error:  # TypeError: a row that ends early
            raise DataError(f"{folder / 'faces.csv'}, line {rows.line_num}: {error}") from error
