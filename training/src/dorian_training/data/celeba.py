"""CelebA: aligned 178 × 218 pictures of 10,177 people, with attributes and five landmarks but without ages.

Liu et al. 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html. Licence: non-commercial research only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.layout import find_in
from dorian_training.data.records import FaceRecord, Landmarks, Split, split_of
from dorian_training.errors import DataError

_LAYOUT = (
    "img_align_celeba/, identity_CelebA.txt and list_attr_celeba.txt (and, where at hand, "
    "list_landmarks_align_celeba.txt and list_eval_partition.txt), all in one folder or in Img/, Anno/ and Eval/"
)
_SUBFOLDERS = (".", "Img", "Anno", "Eval")

# "Left" is the viewer's here, thus the person's right: the file's order is ours.
_POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
_COLUMNS = tuple(f"{point}_{axis}" for point in _POINTS for axis in "xy")

# Where the alignment puts a frontal face, for copies of the set without the landmark file.
_ALIGNED: Landmarks = ((69.5, 111.5), (107.5, 111.5), (88.0, 136.0), (71.0, 152.0), (106.0, 152.0))

_PARTITIONS: dict[int, Split] = {0: "train", 1: "val", 2: "test"}
_GENDERS = {1: "Male", -1: "Female"}
_YOUNG = {1: True, -1: False}

_Table = dict[str, tuple[int, ...]]


def load_celeba(folder: Path) -> list[FaceRecord]:
    """Load the faces of ``identity_CelebA.txt``, split by the set's own partition or, without that file, by identity.

    ``DataError`` if a file or column is missing, if a line cannot be understood, or if a file lacks a picture's line.
    """
    pictures = find_in(folder, "img_align_celeba", _LAYOUT, _SUBFOLDERS)
    identities = _read(find_in(folder, "identity_CelebA.txt", _LAYOUT, _SUBFOLDERS))
    attributes = _read(find_in(folder, "list_attr_celeba.txt", _LAYOUT, _SUBFOLDERS), ("Male", "Young"), identities)
    landmarks = _optional(folder, "list_landmarks_align_celeba.txt", _COLUMNS, identities)
    partitions = _optional(folder, "list_eval_partition.txt", (), identities)
    unknown = {number for (number,) in partitions.values()} - _PARTITIONS.keys()
    if unknown:
        raise DataError(f"list_eval_partition.txt in {folder} has a partition {min(unknown)}; expected 0, 1 or 2")
    return [
        FaceRecord(
            source="celeba",
            container=pictures,
            name=name,
            split=_PARTITIONS[partitions[name][0]] if partitions else split_of(str(identity)),
            gender=_GENDERS.get(attributes[name][0], ""),
            identity=str(identity),
            landmarks=_points(landmarks[name]) if landmarks else _ALIGNED,
            young=_YOUNG.get(attributes[name][1]),
        )
        for name, (identity,) in identities.items()
    ]


def load_attributes(folder: Path) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """Load all attributes of ``list_attr_celeba.txt``, in ``folder`` or in its ``Anno/``: of 40 in the published file.

    Returns:
        Their names, and 1 or -1 for each of every picture, int8 (pictures, attributes).

    Raises:
        DataError: If the file is missing, names no attributes, or a line of it cannot be understood.
    """
    path = find_in(folder, "list_attr_celeba.txt", "list_attr_celeba.txt, there or in Anno/", _SUBFOLDERS)
    with path.open() as lines:
        next(lines, "")
        names = tuple(next(lines, "").split())
    if not names:
        raise DataError(f"{path} names no attributes; expected them in its second line")
    table = _read(path, names)
    for name, values in table.items():
        if any(value not in (1, -1) for value in values):
            raise DataError(f"{path}: the line of {name} has something else than 1 or -1")
    return names, np.asarray(list(table.values()), dtype=np.int8).reshape(-1, len(names))


def _points(values: tuple[int, ...]) -> Landmarks:
    return tuple((float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=True))


def _optional(folder: Path, name: str, columns: Sequence[str], pictures: _Table) -> _Table:
    paths = [folder / subfolder / name for subfolder in _SUBFOLDERS if (folder / subfolder / name).is_file()]
    return _read(paths[0], columns, pictures) if paths else {}


def _read(path: Path, columns: Sequence[str] = (), pictures: _Table | None = None) -> _Table:
    """By picture: the number beside its name or, in a file with a header, those under ``columns``.

    A header is two lines, the number of pictures and the columns' names. All ``pictures`` must have a line.
    """
    table: _Table = {}
    with path.open() as lines:
        indices = [0]
        if columns:
            next(lines, "")
            header = next(lines, "").split()
            missing = [column for column in columns if column not in header]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; expected them in its second line")
            indices = [header.index(column) for column in columns]
        for line in filter(str.strip, lines):
            name, *values = line.split()
            try:
                table[name] = tuple(int(values[index]) for index in indices)
            except (IndexError, ValueError) as error:
                raise DataError(f"{path}: cannot understand the line of {name}: {error}") from error
    if pictures is not None and pictures.keys() - table.keys():
        lacking = sorted(pictures.keys() - table.keys())
        raise DataError(f"{path} has no line of {lacking[0]} and of {len(lacking) - 1} more pictures")
    return table
