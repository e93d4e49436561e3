"""What scenes are made of: whole photographs with all their faces, portraits, and pieces in which no face is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from tqdm import tqdm

from dorian_training.data.face_labels import FaceLabels, LabelledPicture, Pixels
from dorian_training.data.face_teacher import completed
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

PHOTO_SOURCE = "photos"  # the archive of whole photographs; all others hold one face a picture
_PHOTO_SIDE = 512  # longer photos are reduced to it, as all of them stay in memory
_PIECE_TRIES = 12
_LEAST_PIECE = 24  # pixels
_AROUND_FACE = 0.2  # of a box, on each side: hair, ears and chin


class SceneSources:
    """Photos, read at once and completed by the ``teacher`` (an ONNX file, or none), and portraits, read when drawn.

    What the teacher finds is kept in ``cache`` (a folder). Records without box or landmarks are left out, and so, with a warning, are pictures that cannot be read.
    ``DataError`` if nothing is left.
    """

    def __init__(self, records: Sequence[FaceRecord], teacher: Path | None = None, cache: Path | None = None) -> None:
        labelled = [record for record in records if record.box is not None and record.landmarks is not None]
        self._reader = PictureReader()
        self._portraits = [record for record in labelled if record.source != PHOTO_SOURCE]
        self._photos = self._read_photos([record for record in labelled if record.source == PHOTO_SOURCE])
        if teacher and self._photos:
            self._photos = completed(self._photos, teacher, cache)
        if not self._photos and not self._portraits:
            raise DataError(f"none of {len(records)} faces has a readable picture, a box and landmarks")

    def __enter__(self) -> SceneSources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def has_photos(self) -> bool:
        return bool(self._photos)

    @property
    def has_portraits(self) -> bool:
        return bool(self._portraits)

    def photo(self, rng: np.random.Generator) -> LabelledPicture:
        """Any photo, mirrored at random."""
        return _either_way(self._photos[rng.integers(len(self._photos))], rng)

    def portrait(self, rng: np.random.Generator) -> LabelledPicture:
        """Any portrait, mirrored at random, its box cut to the picture. ``DataError`` if none is left that can be read."""
        while self._portraits:
            index = int(rng.integers(len(self._portraits)))
            record = self._portraits[index]
            try:
                return _either_way(self._read_portrait(record), rng)
            except DataError as error:
                log.warning("left out: %s", error)
                del self._portraits[index]
        raise DataError("none of the portraits could be read")

    def piece(self, ratio: float, rng: np.random.Generator) -> Pixels | None:
        """A random rectangle of a photo, width ``ratio`` times its height, away from its faces; ``None`` if none was found."""
        if not self._photos:
            return None
        for _ in range(_PIECE_TRIES):
            photo = self._photos[rng.integers(len(self._photos))]
            height = min(photo.height, photo.width / ratio) * rng.uniform(0.15, 0.8)
            width = height * ratio
            if min(width, height) < _LEAST_PIECE:
                continue
            x, y = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
            grown = photo.labels.boxes + photo.labels.boxes[:, [2, 3, 2, 3]] * _AROUND_FACE * np.array([-1, -1, 2, 2])
            around = FaceLabels(grown.astype(np.float32), photo.labels.landmarks, photo.labels.kind)
            if not around.visible((x, y, width, height)).any():
                return photo.pixels[int(y) : int(y + height), int(x) : int(x + width)]
        return None

    def _read_portrait(self, record: FaceRecord) -> LabelledPicture:
        pixels = self._reader.read(record)
        labels = _labels([record]).cut((0, 0, pixels.shape[1], pixels.shape[0]), 0)
        if not len(labels):
            raise DataError(f"{record.container}: the box of {record.name} is not in the picture")
        return LabelledPicture(pixels, labels)

    def _read_photos(self, records: Sequence[FaceRecord]) -> list[LabelledPicture]:
        groups: dict[tuple[Path, str], list[FaceRecord]] = {}
        for record in records:
            groups.setdefault((record.container, record.name), []).append(record)
        photos = []
        for faces in tqdm(groups.values(), desc="reading photos", unit="photo", mininterval=2):
            try:
                photos.append(_reduced(LabelledPicture(self._reader.read(faces[0]), _labels(faces))))
            except DataError as error:
                log.warning("left out: %s", error)
        return photos


def _labels(records: Sequence[FaceRecord]) -> FaceLabels:
    return FaceLabels.of([r.box for r in records if r.box], [r.landmarks for r in records])


def _either_way(picture: LabelledPicture, rng: np.random.Generator) -> LabelledPicture:
    return picture.mirrored() if rng.random() < 0.5 else picture


def _reduced(photo: LabelledPicture) -> LabelledPicture:
    scale = _PHOTO_SIDE / max(photo.width, photo.height)
    return photo if scale >= 1 else photo.resized(round(photo.width * scale), round(photo.height * scale))
