"""Annotated images: those of data sets as they are, and close-ups cut from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.faces.matching import Annotations, clip_boxes
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

log = logging.getLogger(__name__)
Item = TypeVar("Item")

PHOTO_SOURCE = "photos"  # the archive of whole photographs; all others show one face each
CLOSE_UPS = "close-ups"
CLOSE_UP_SIDE = 640  # pixels of the longer side
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
        close_ups: How many faces are cut from images that show one each.
        max_count: Images of each source at most, evenly spread over them; None for all.
    """

    records: tuple[FaceRecord, ...]
    close_ups: int
    max_count: int | None = None

    @property
    def names(self) -> list[str]:
        """The sources, then the close-ups, if there are any."""
        sources = sorted({record.source for record in self.records})
        return [*sources, CLOSE_UPS] if any(source != PHOTO_SOURCE for source in sources) else sources

    def images(self, name: str) -> Iterator[AnnotatedImage]:
        """Yield the images of a source or the close-ups; skip those that cannot be read, with a warning."""
        return self._close_ups() if name == CLOSE_UPS else self._images_of(name)

    def photo(self, width: int = 1920, height: int = 1080) -> NDArray[np.uint8]:
        """Return a photo tiled from this set's photos, or from its first source; the same each time."""
        name = PHOTO_SOURCE if PHOTO_SOURCE in self.names else self.names[0]
        return tile_images([image.pixels for image in self._images_of(name)], width, height)

    def _images_of(self, source: str) -> Iterator[AnnotatedImage]:
        by_image: dict[tuple[Path, str], list[FaceRecord]] = {}
        for record in self.records:
            if record.source == source:
                by_image.setdefault((record.container, record.name), []).append(record)
        yield from _read_images(spread(list(by_image.values()), self.max_count))

    def _close_ups(self) -> Iterator[AnnotatedImage]:
        count = min(self.close_ups, self.max_count or self.close_ups)
        portraits = [[record] for record in self.records if record.source != PHOTO_SOURCE]
        for image in _read_images(spread(portraits, count)):
            yield close_up(image)


def close_up(image: AnnotatedImage) -> AnnotatedImage:
    """Return what the box of the one face of ``image`` holds, at ``CLOSE_UP_SIDE`` pixels."""
    annotations = image.annotations
    (left, top, width, height), *_ = (
        clip_boxes(annotations.boxes, annotations.width, annotations.height).round().astype(int)
    )
    scale = CLOSE_UP_SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cut = image.pixels[top : top + height, left : left + width]
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = np.asarray(cv2.resize(cut, size, interpolation=kind), dtype=np.uint8)
    landmarks = (annotations.landmarks - (left, top) + 0.5) * scale - 0.5
    return AnnotatedImage(pixels, Annotations(*size, (annotations.boxes - (left, top, 0, 0)) * scale, landmarks))


def _read_images(groups: Sequence[Sequence[FaceRecord]]) -> Iterator[AnnotatedImage]:
    """Yield an image for the faces of each group, which are all of one image."""
    with PictureReader() as reader:
        for faces in groups:
            try:
                pixels = reader.read(faces[0])
            except DataError as error:
                log.warning("left out: %s", error)
                continue
            boxes = np.asarray([face.box for face in faces], dtype=np.float64).reshape(-1, 4)
            landmarks = np.asarray([face.landmarks for face in faces], dtype=np.float64).reshape(-1, 5, 2)
            yield AnnotatedImage(pixels, Annotations(pixels.shape[1], pixels.shape[0], boxes, landmarks))


def make_image_set(records: Sequence[FaceRecord], close_ups: int, max_count: int | None = None) -> ImageSet:
    """Return the set of those records that have box and landmarks; the other arguments are as for ``ImageSet``.

    Raises:
        DataError: There are no such records.
    """
    annotated = tuple(record for record in records if record.box is not None and record.landmarks is not None)
    if not annotated:
        raise DataError(f"none of {len(records)} faces has a box and landmarks, which a detector is measured on")
    return ImageSet(annotated, close_ups, max_count)


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
