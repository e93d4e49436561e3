"""UTKFace: aligned 200 px crops that carry age, gender and race in their file names.

Zhang et al. 2017, https://susanqq.github.io/UTKFace. Licence: non-commercial research only.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from dorian_training.data.records import FaceRecord, split_of
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

_GENDERS = ("Male", "Female")
_RACES = ("White", "Black", "Asian", "Indian", "Other")
_OLDEST = 116

# The set's own downloads and their copies unpack to these; a picture in several of them counts once.
_SUBFOLDERS = ("", "UTKFace", "part1", "part2", "part3", "crop_part1")

# age_gender_race_date; a few real names have a blank before, or letters missing from, the first .jpg.
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+[^\d_]*\.chip\.jpg")


def load_utkface(folder: Path) -> list[FaceRecord]:
    """Load the faces of images such as ``26_0_1_20170116….jpg.chip.jpg``, in ``folder`` or in the set's sub-folders.

    Pictures that are named otherwise, as a few that lack a field and the uncropped ones are, and ages outside of
    0 to 116 are left out. The set has no splits or identities, so the file's name chooses the split.
    ``DataError`` if no picture is left.
    """
    records: dict[str, FaceRecord] = {}
    left_out = 0
    for subfolder in _SUBFOLDERS:
        for path in sorted((folder / subfolder).glob("*.jpg")):
            record = _record(folder, path)
            if record is None:
                left_out += 1
            else:
                records.setdefault(path.name, record)
    if not records:
        raise DataError(
            f"{folder} has no aligned crops of UTKFace; expected age_gender_race_date.jpg.chip.jpg in it"
            f" or in its {', '.join(filter(None, _SUBFOLDERS))}"
        )
    if left_out:
        log.warning("%s: left out %d pictures not named age_gender_race_date.jpg.chip.jpg", folder, left_out)
    return list(records.values())


def _record(folder: Path, path: Path) -> FaceRecord | None:
    match = _NAME.fullmatch(path.name)
    if match is None or int(match[1]) > _OLDEST:
        return None
    age = int(match[1])
    return FaceRecord(
        source="utkface",
        container=folder,
        name=path.relative_to(folder).as_posix(),
        split=split_of(path.name),
        age_low=age,
        age_high=age,
        gender=_GENDERS[int(match[2])],
        ethnicity=_RACES[int(match[3])],
    )
