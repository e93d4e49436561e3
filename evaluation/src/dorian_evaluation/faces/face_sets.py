"""Pictures whose faces are known: those of a data set as they are, and composites rendered from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.faces.matching import Truth
from dorian_training.data.face_labels import FaceLabels
from dorian_training.data.face_teacher import FaceTeacher
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.data.scene_sources import PHOTO_SOURCE
from dorian_training.data.scenes import render_scenes
from dorian_training.errors import DataError

log = logging.getLogger(__name__)
Item = TypeVar("Item")

COMPOSITES = "composites"
COMPOSITE_SIZE = 512  # pixels a side
_COMPOSITE_SEED = 2024
_SHELF = 360  # pixels: the height of a photograph in a tiled photo


@dataclass(frozen=True)
class KnownPicture:
    """``pixels`` uint8 RGB (height, width, 3), and the faces in them."""

    pixels: NDArray[np.uint8]
    truth: Truth


@dataclass(frozen=True)
class PictureSet:
    """Records of one split that have box and landmarks, by source.

    The ``teacher`` is YuNet's file: where it sees a face in a photograph, a finding is not false. ``most`` bounds the pictures
    of each source (evenly spread), ``composites`` is how many are rendered; both are kept in ``cache``.
    """

    records: tuple[FaceRecord, ...]
    composites: int
    most: int | None = None
    teacher: Path | None = None
    cache: Path | None = None

    @property
    def names(self) -> list[str]:
        """The sources, then the composites."""
        return [*sorted({record.source for record in self.records}), COMPOSITES]

    def pictures(self, name: str) -> Iterator[KnownPicture]:
        """The pictures of the source ``name``, or the composites; those that cannot be read are left out with a warning."""
        return self._composites() if name == COMPOSITES else self._listed(name)

    def photo(self, width: int = 1920, height: int = 1080) -> NDArray[np.uint8]:
        """A photo tiled from this set's photographs, or else from what there is; always the same."""
        name = PHOTO_SOURCE if PHOTO_SOURCE in self.names else self.names[0]
        return tiled([known.pixels for known in self._listed(name)], width, height)

    def _listed(self, source: str) -> Iterator[KnownPicture]:
        groups: dict[tuple[Path, str], list[FaceRecord]] = {}
        for record in self.records:
            if record.source == source:
                groups.setdefault((record.container, record.name), []).append(record)
        teacher = FaceTeacher(self.teacher) if self.teacher and source == PHOTO_SOURCE else None
        with PictureReader() as reader:
            for faces in spread(list(groups.values()), self.most):
                try:
                    pixels = reader.read(faces[0])
                except DataError as error:
                    log.warning("left out: %s", error)
                    continue
                labels = FaceLabels.of([r.box for r in faces if r.box], [r.landmarks for r in faces])
                every = teacher.complete(pixels, labels) if teacher else labels
                yield _known(pixels, labels.boxes, labels.landmarks, every.boxes)

    def _composites(self) -> Iterator[KnownPicture]:
        count = min(self.composites, self.most or self.composites)
        scenes = render_scenes(self.records, count, COMPOSITE_SIZE, _COMPOSITE_SEED, self.cache, self.teacher)
        for index in range(len(scenes)):
            scene = scenes[index]
            yield _known(np.asarray(scene.pixels), scene.boxes, scene.landmarks, scene.ignored)


def picture_set(
    records: Sequence[FaceRecord],
    composites: int,
    most: int | None = None,
    teacher: Path | None = None,
    cache: Path | None = None,
) -> PictureSet:
    """A set of those ``records`` that have box and landmarks; ``DataError`` if there are none."""
    labelled = tuple(record for record in records if record.box is not None and record.landmarks is not None)
    if not labelled:
        raise DataError(f"none of {len(records)} faces has a box and landmarks, which a detector is measured on")
    return PictureSet(labelled, composites, most, teacher, cache)


def spread(items: Sequence[Item], most: int | None) -> list[Item]:
    """At most ``most`` of ``items``, evenly spread over them; all for ``None``."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def tiled(pictures: Sequence[NDArray[np.uint8]], width: int, height: int) -> NDArray[np.uint8]:
    """A photo of ``width`` × ``height`` in which ``pictures`` stand side by side on shelves, again and again."""
    if not pictures:
        raise DataError("there are no pictures to tile a photo from")
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    index = 0
    for top in range(0, height, _SHELF):
        left, shelf = 0, min(_SHELF, height - top)
        while left < width:
            picture = pictures[index % len(pictures)]
            index += 1
            across = max(1, round(picture.shape[1] * _SHELF / picture.shape[0]))
            tile = cv2.resize(picture, (across, _SHELF), interpolation=cv2.INTER_LINEAR)
            canvas[top : top + shelf, left : left + across] = tile[:shelf, : width - left]
            left += across
    return canvas


def _known(
    pixels: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32], excused: NDArray[np.float32]
) -> KnownPicture:
    height, width = pixels.shape[:2]
    truth = Truth(width, height, *(values.astype(np.float64) for values in (boxes, landmarks, excused)))
    return KnownPicture(pixels, truth)
