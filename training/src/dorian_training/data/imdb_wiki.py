"""IMDB-WIKI: photos of celebrities from IMDb and Wikipedia, dated by year, with a detector's box of the face.

Rothe et al. 2015, https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki. Licence: academic research only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.matlab import read_struct, text_of
from dorian_training.data.records import FaceRecord, split_of
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

_FIELDS = ("dob", "photo_taken", "full_path", "gender", "name", "face_location", "face_score", "second_face_score")
_KINDS = {"imdb": (*_FIELDS, "celeb_id"), "wiki": _FIELDS}
_GENDERS = {1.0: "Male", 0.0: "Female"}
_OLDEST = 100

# A second face that was found more surely than this may be the person meant.
_SECOND_FACE = 1.0
# MATLAB counts days from year 0, Python from year 1.
_MATLAB_DAYS = 366
# The downloads of faces only (imdb_crop, wiki_crop) keep 40 % of the box around it, padded where the photo ends.
_CROP_MARGIN = 0.4


def load_imdb_wiki(folder: Path) -> list[FaceRecord]:
    """Load the faces of ``imdb.mat`` and ``wiki.mat``, whichever are there; pictures lie beside them in ``00`` to ``99``.

    Each is looked for in ``folder``, in its ``imdb`` or ``wiki``, and in its ``imdb_crop`` or ``wiki_crop``.
    Left out are photos without a face or with a second sure one, and ages outside of 0 to 100. Splits go by the
    person's name, which both sets share. ``DataError`` if neither file is there or one lacks a field.
    """
    records: list[FaceRecord] = []
    files = [mat for kind in _KINDS if (mat := _find(folder, kind))]
    if not files:
        raise DataError(
            f"{folder} has no imdb.mat and no wiki.mat; expected one or both, in it"
            " or in its imdb, imdb_crop, wiki or wiki_crop, beside the pictures' folders 00 to 99"
        )
    for mat in files:
        fields = read_struct(mat, mat.stem, _KINDS[mat.stem])
        usable = list(_records(mat, fields))
        log.info("%s: %d of %d photos kept", mat, len(usable), len(fields["dob"]))
        records += usable
    return records


def _find(folder: Path, kind: str) -> Path | None:
    paths = (folder / subfolder / f"{kind}.mat" for subfolder in (".", kind, f"{kind}_crop"))
    return next((path for path in paths if path.is_file()), None)


def _records(mat: Path, fields: dict[str, NDArray[Any]]) -> Iterator[FaceRecord]:
    single = np.isfinite(fields["face_score"]) & ~(fields["second_face_score"] > _SECOND_FACE)
    cropped = mat.parent.resolve().name == f"{mat.stem}_crop"
    for index in np.flatnonzero(single):
        age = _age(float(fields["dob"][index]), int(fields["photo_taken"][index]))
        if age is None or not 0 <= age <= _OLDEST:
            continue
        name, path = text_of(fields["name"][index]), text_of(fields["full_path"][index])
        identity = f"imdb {int(fields['celeb_id'][index])}" if "celeb_id" in fields else name
        yield FaceRecord(
            source="imdb-wiki",
            container=mat.parent,
            name=path,
            split=split_of(name or identity or path),
            age_low=age,
            age_high=age,
            gender=_GENDERS.get(float(fields["gender"][index]), ""),
            identity=identity,
            box=_box(fields["face_location"][index], cropped),
        )


def _age(birth_day: float, year: int) -> int | None:
    """Whole years at the middle of ``year``, July 1, as photos carry no day; ``None`` where the birth day is no day."""
    ordinal = birth_day - _MATLAB_DAYS
    if not 1 <= ordinal <= date.max.toordinal():
        return None
    birth = date.fromordinal(int(ordinal))
    return year - birth.year - ((birth.month, birth.day) > (7, 1))


def _box(location: NDArray[Any], cropped: bool) -> tuple[float, float, float, float]:
    """The face in its picture; ``location`` is x1, y1, x2, y2 in the whole photo, counted from 1, ends included."""
    x1, y1, x2, y2 = (float(value) for value in location.flat)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return (_CROP_MARGIN * width, _CROP_MARGIN * height, width, height) if cropped else (x1 - 1, y1 - 1, width, height)
