"""What a data set is here: a list of face records, each knowing how to fetch its picture and how old the person is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_training.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Landmarks = tuple[tuple[float, float], ...]

# Where the eyes, nose and mouth corners lie in a crop that a public set has already aligned, as fractions of its sides: the
# means of a face mesh's in UTKFace's crops.
MEAN_LANDMARKS: Landmarks = ((0.301, 0.295), (0.691, 0.295), (0.496, 0.551), (0.329, 0.694), (0.665, 0.693))


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """One face. ``age_low`` to ``age_high`` are whole years, equal where the age is exact, ``None`` where it is unknown.

    ``landmarks`` are five points in pixels of the stored picture (see ``dorian_bundle.alignment``), or ``None``, which
    stands for ``MEAN_LANDMARKS`` inside ``box`` (x, y, width, height; ``None``: the whole picture). ``gender`` is "Male",
    "Female" or, where it is unknown, empty. ``young`` is CelebA's attribute.
    """

    source: str
    container: Path
    name: str
    split: Split
    age_low: int | None = None
    age_high: int | None = None
    gender: str = ""
    ethnicity: str = ""
    identity: str = ""
    landmarks: Landmarks | None = None
    box: tuple[float, float, float, float] | None = None
    young: bool | None = None

    @property
    def age(self) -> float | None:
        """Age in years: exact, or the middle of the bracket; ``None`` where unknown."""
        if self.age_low is None or self.age_high is None:
            return None
        return (self.age_low + self.age_high) / 2

    @property
    def is_woman(self) -> bool:
        """Whether the face is labelled as a woman's."""
        return self.gender == "Female"

    def points(self, width: int, height: int) -> NDArray[np.float64]:
        """Return the landmarks in pixels of a ``width`` × ``height`` picture, shape (5, 2)."""
        if self.landmarks is not None:
            return np.asarray(self.landmarks, dtype=np.float64)
        x, y, w, h = self.box or (0.0, 0.0, float(width), float(height))
        return np.asarray(MEAN_LANDMARKS) * (w, h) + (x - 0.5, y - 0.5)


class PictureReader:
    """Reads the pictures of records, from folders and ZIP archives; archives stay open until ``close``."""

    def __init__(self) -> None:
        self._archives: dict[Path, ZipFile] = {}

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def read(self, record: FaceRecord) -> NDArray[np.uint8]:
        """Return the image as RGB uint8 (height, width, 3). ``DataError`` if it is missing or cannot be decoded."""
        try:
            data = self._bytes(record)
        except (OSError, KeyError, BadZipFile) as error:
            raise DataError(f"{record.container}: {record.name} cannot be read: {error}") from error
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            raise DataError(f"{record.container}: {record.name} is not a picture")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _bytes(self, record: FaceRecord) -> bytes:
        if record.container.is_dir():
            return (record.container / record.name).read_bytes()
        if record.container not in self._archives:
            self._archives[record.container] = ZipFile(record.container)
        return self._archives[record.container].read(record.name)


def split_of(key: str) -> Split:
    """Return a fixed split for sets that come without one: 90/5/5, by a hash of ``key`` (a file or, better, an identity)."""
    percentile = zlib.crc32(key.encode()) % 100
    return "train" if percentile < 90 else "val" if percentile < 95 else "test"
