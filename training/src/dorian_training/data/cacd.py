"""CACD: 163,446 pictures of 2,000 celebrities at 14 to 62 years, 250 px square around a detected face.

Chen et al. 2014, https://bcsiriuschen.github.io/CARC. Licence: research only.
"""

from __future__ import annotations

from pathlib import Path

from dorian_training.data.layout import find_in
from dorian_training.data.matlab import read_struct, text_of
from dorian_training.data.records import FaceRecord, split_of
from dorian_training.errors import DataError

_LAYOUT = "celebrity2000_meta.mat, and the pictures beside it or in CACD2000/"
_FIELDS = ("age", "identity", "name")

# The pictures are a detector's box, widened about its centre: irises near (96, 109) and (153, 109), mouth near y = 168.
# An estimate, for want of landmarks: MEAN_LANDMARKS fall there with this box.
_BOX = (51.0, 65.0, 148.0, 148.0)


def load_cacd(folder: Path) -> list[FaceRecord]:
    """Load the faces of ``celebrity2000_meta.mat``, split by identity. Genders are unknown.

    ``DataError`` if that file, its struct ``celebrityImageData`` or a field of it is missing, or if pictures are.
    """
    meta = find_in(folder, "celebrity2000_meta.mat", _LAYOUT)
    pictures = folder / "CACD2000" if (folder / "CACD2000").is_dir() else folder
    if next(pictures.glob("*.jpg"), None) is None:
        raise DataError(f"{pictures} has no pictures; expected {_LAYOUT}")
    fields = read_struct(meta, "celebrityImageData", _FIELDS)
    return [
        FaceRecord(
            source="cacd",
            container=pictures,
            name=text_of(name),
            split=split_of(str(int(identity))),
            age_low=int(age),
            age_high=int(age),
            identity=str(int(identity)),
            box=_BOX,
        )
        for age, identity, name in zip(fields["age"], fields["identity"], fields["name"], strict=True)
    ]
