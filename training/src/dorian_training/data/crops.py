"""Aligned crops: every record's face, cut out once by the bundle's alignment and kept in one array on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dorian_bundle.alignment import DEFAULT_TEMPLATE, AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.errors import AlignmentError
from dorian_bundle.files import draft_file
from dorian_training.data.augmentation import MARGIN
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

# Raised when cutting changes, so that older arrays on disk are not taken for new ones.
_CUT_VERSION = 1


@dataclass(frozen=True)
class Crops:
    """Faces cut out alike: ``pixels`` uint8 RGB (faces, size, size, 3), and the record that each came from."""

    pixels: NDArray[np.uint8]
    records: tuple[FaceRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def size(self) -> int:
        """Side of a crop in pixels."""
        return int(self.pixels.shape[1])

    def where(self, keep: NDArray[np.bool_]) -> Crops:
        """Return the faces at which ``keep`` (faces,) is true."""
        return Crops(
            self.pixels[keep], tuple(record for record, is_kept in zip(self.records, keep, strict=True) if is_kept)
        )


def with_margin(
    size: int, template: AlignmentTemplate = DEFAULT_TEMPLATE, margin: float = MARGIN
) -> tuple[int, AlignmentTemplate]:
    """Return side and template of crops whose centres are ``size`` pixels wide and aligned to ``template``.

    ``margin`` is what they show beyond it, as a fraction of ``size``, on each side; see ``augmented``.
    """
    side = size + 2 * round(size * margin)
    return side, template.zoomed(size / side)


def cut_face(image: NDArray[np.uint8], record: FaceRecord, template: AlignmentTemplate, size: int) -> NDArray[np.uint8]:
    """Return the aligned ``size`` × ``size`` RGB crop of ``record``'s face in its picture ``image`` (height, width, 3)."""
    height, width = image.shape[:2]
    return warp_crop(image, crop_matrix(record.points(width, height), template, size), size)


def cut_crops(
    records: Sequence[FaceRecord], size: int, cache: Path | None = None, template: AlignmentTemplate = DEFAULT_TEMPLATE
) -> Crops:
    """Cut the crops of all ``records``, ``size`` pixels square; read them from ``cache`` (a folder) if they were cut before.

    Pictures that cannot be read are left out with a warning, as public sets hold a few; ``DataError`` if none is left.
    """
    key = hashlib.sha256(repr((_CUT_VERSION, size, template, [astuple(r) for r in records])).encode()).hexdigest()[:16]
    path = cache / f"crops-{size}px-{key}.npz" if cache else None
    if path and path.is_file():
        with np.load(path) as stored:
            pixels, readable_indices = stored["pixels"], stored["kept"]
    else:
        pixels, readable_indices = _cut(records, size, template)
        if path:
            _store(path, pixels, readable_indices)
    return Crops(pixels, tuple(records[index] for index in readable_indices))


def _cut(
    records: Sequence[FaceRecord], size: int, template: AlignmentTemplate
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pixels = np.empty((len(records), size, size, 3), dtype=np.uint8)
    readable_indices: list[int] = []
    with PictureReader() as reader:
        for index, record in enumerate(tqdm(records, desc=f"cutting {size} px crops", unit="face", mininterval=2)):
            try:
                pixels[len(readable_indices)] = cut_face(reader.read(record), record, template, size)
            except DataError as error:
                log.warning("left out: %s", error)
            except AlignmentError as error:
                log.warning("left out: %s: %s: %s", record.container, record.name, error)
            else:
                readable_indices.append(index)
    if not readable_indices:
        raise DataError("none of the faces could be read")
    return pixels[: len(readable_indices)], np.asarray(readable_indices, dtype=np.int64)


def _store(path: Path, pixels: NDArray[np.uint8], readable_indices: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_file(path, shared=True) as draft, draft.open("wb") as file:
        np.savez(file, pixels=pixels, kept=readable_indices)
