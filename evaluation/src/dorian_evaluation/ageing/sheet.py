"""A sheet of aged photos: a photo per row, its faces as they were and at each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_training.errors import DataError

_ROW_HEIGHT = 320  # pixels
_MAX_TILE_WIDTH = 640  # pixels
_GAP = 6
_QUALITY = 90
_WHITE = 255


@dataclass(frozen=True)
class Row:
    """One photo.

    Attributes:
        images: The photo and its aged versions, RGB uint8 of one size.
        landmarks: Of its faces, (5, 2) each.
    """

    images: tuple[NDArray[np.uint8], ...]
    landmarks: Sequence[NDArray[np.float64]]


def write_sheet(path: Path, rows: Sequence[Row], template: AlignmentTemplate, row_height: int = _ROW_HEIGHT) -> None:
    """Write a sheet that shows, of each photo, the part with the crops of its faces.

    Args:
        path: The file, a .jpg.
        rows: The photos.
        template: What crops are aligned to.
        row_height: In pixels.

    Raises:
        DataError: There are no rows, or too many for a JPEG.
    """
    if not rows:
        raise DataError(f"there is nothing to show on {path}: no photo was aged")
    strips = [_draw_strip(row, template, row_height) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    sheet = np.full((len(strips) * (row_height + _GAP) + _GAP, width, 3), _WHITE, dtype=np.uint8)
    for index, strip in enumerate(strips):
        top = _GAP + index * (row_height + _GAP)
        sheet[top : top + row_height, : strip.shape[1]] = strip
    written, data = cv2.imencode(".jpg", sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        raise DataError(f"the sheet of {sheet.shape[1]} × {sheet.shape[0]} pixels is too large for a JPEG")
    path.write_bytes(data.tobytes())


def _draw_strip(row: Row, template: AlignmentTemplate, row_height: int) -> NDArray[np.uint8]:
    height, width = row.images[0].shape[:2]
    left, top, right, bottom = _enclose_crops(row.landmarks, template, width, height)
    scale = min(row_height / (bottom - top), _MAX_TILE_WIDTH / (right - left))
    tile_width, tile_height = (max(1, round(side * scale)) for side in (right - left, bottom - top))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    strip = np.full((row_height, len(row.images) * (tile_width + _GAP) + _GAP, 3), _WHITE, dtype=np.uint8)
    for index, image in enumerate(row.images):
        start = _GAP + index * (tile_width + _GAP)
        tile = cv2.resize(image[top:bottom, left:right], (tile_width, tile_height), interpolation=interpolation)
        strip[:tile_height, start : start + tile_width] = tile
    return strip


def _enclose_crops(
    faces: Sequence[NDArray[np.float64]], template: AlignmentTemplate, width: int, height: int
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of a photo with the crops of all faces; the whole without faces."""
    if not faces:
        return 0, 0, width, height
    square = np.array([[[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]])  # of a crop of one pixel
    corners = np.concatenate(
        [cv2.transform(square, cv2.invertAffineTransform(crop_matrix(face, template, 1)))[0] for face in faces]
    )
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, (left + 1, top + 1), (width, height)).astype(int)
    return int(left), int(top), int(right), int(bottom)
