"""Annotated images: those of data sets as they are, and composites rendered from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.faces.matching import Annotations
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
_TILE_HEIGHT = 360  # pixels, of an image in a tiled photo


@dataclass(frozen=True)
class AnnotatedImage:
    """An image, RGB uint8 (height, width, 3), and its faces."""

    pixels: NDArray[np.uint8]
    annotations: Annotations


@dataclass(frozen=True)
class ImageSet:
    """Annotated images of one split, by source.

    Attributes:
        records: The faces, all with box and landmarks.
        composites: How many composites are rendered.
        max_count: Images of each source at most, evenly spread over them; None for all.
        teacher: YuNet's file; faces that it detects in photos are ignored.
        cache: Folder of rendered composites.
    """

    records: tuple[FaceRecord, ...]
    composites: int
    max_count: int | None = None
    teacher: Path | None = None
    cache: Path | None = None

    @property
    def names(self) -> list[str]:
        """The sources, then the composites."""
        return [*sorted({record.source for record in self.records}), COMPOSITES]

    def images(self, name: str) -> Iterator[AnnotatedImage]:
        """Yield the images of a source or the composites; skip those that cannot be read, with a warning."""
        return self._composites() if name == COMPOSITES else self._images_of(name)

    def photo(self, width: int = 1920, height: int = 1080) -> NDArray[np.uint8]:
        """Return a photo tiled from this set's photos, or from its first source; the same each time."""
        name = PHOTO_SOURCE if PHOTO_SOURCE in self.names else self.names[0]
        return tile_images([image.pixels for image in self._images_of(name)], width, height)

    def _images_of(self, source: str) -> Iterator[AnnotatedImage]:
        by_image: dict[tuple[Path, str], list[FaceRecord]] = {}
        for record in self.records:
            if record.source == source:
                by_image.setdefault((record.container, record.name), []).append(record)
        teacher = FaceTeacher(self.teacher) if self.teacher and source == PHOTO_SOURCE else None
        with PictureReader() as reader:
            for faces in spread(list(by_image.values()), self.max_count):
                try:
                    pixels = reader.read(faces[0])
                except DataError as error:
                    log.warning("left out: %s", error)
                    continue
                labels = FaceLabels.of([face.box for face in faces if face.box], [face.landmarks for face in faces])
                all_labels = teacher.complete(pixels, labels) if teacher else labels
                yield _annotate(pixels, labels.boxes, labels.landmarks, all_labels.boxes)

    def _composites(self) -> Iterator[AnnotatedImage]:
        count = min(self.composites, self.max_count or self.composites)
        scenes = render_scenes(self.records, count, COMPOSITE_SIZE, _COMPOSITE_SEED, self.cache, self.teacher)
        for index in range(len(scenes)):
            scene = scenes[index]
            yield _annotate(np.asarray(scene.pixels), scene.boxes, scene.landmarks, scene.ignored)


def make_image_set(
    records: Sequence[FaceRecord],
    composites: int,
    max_count: int | None = None,
    teacher: Path | None = None,
    cache: Path | None = None,
) -> ImageSet:
    """Return the set of those records that have box and landmarks; the other arguments are as for ``ImageSet``.

    Raises:
        DataError: There are no such records.
    """
    annotated = tuple(record for record in records if record.box is not None and record.landmarks is not None)
    if not annotated:
        raise DataError(f"none of {len(records)} faces has a box and landmarks, which a detector is measured on")
    return ImageSet(annotated, composites, max_count, teacher, cache)


def spread(items: Sequence[Item], max_count: int | None) -> list[Item]:
    """Return at most ``max_count`` items, evenly spread over all; all if it is None."""
    if max_count is None or len(items) <= max_count:
        return list(items)
    return [items[index * len(items) // max_count] for index in range(max_count)]


def tile_images(images: Sequence[NDArray[np.uint8]], width: int, height: int) -> NDArray[np.uint8]:
    """Return a photo of ``width`` × ``height`` pixels in which images, scaled to one height, stand in rows and repeat."""
    if not images:
        raise DataError("there are no images to tile a photo from")
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    index = 0
    for top in range(0, height, _TILE_HEIGHT):
        left, row_height = 0, min(_TILE_HEIGHT, height - top)
        while left < width:
            image = images[index % len(images)]
            index += 1
            tile_width = max(1, round(image.shape[1] * _TILE_HEIGHT / image.shape[0]))
            tile = cv2.resize(image, (tile_width, _TILE_HEIGHT), interpolation=cv2.INTER_LINEAR)
            canvas[top : top + row_height, left : left + tile_width] = tile[:row_height, : width - left]
            left += tile_width
    return canvas


def _annotate(
    pixels: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32], ignored: NDArray[np.float32]
) -> AnnotatedImage:
    height, width = pixels.shape[:2]
    arrays = (values.astype(np.float64) for values in (boxes, landmarks, ignored))
    return AnnotatedImage(pixels, Annotations(width, height, *arrays))
