"""A sheet of aged photos: a photo per row, its faces as they were and at each age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_training.errors import DataError

_HEIGHT = 320  # pixels of a row, unless told
_WIDEST = 640  # pixels of a picture in it
_GAP = 6
_QUALITY = 90
_WHITE = 255


@dataclass(frozen=True)
class Row:
    """One photo: its ``pictures`` RGB uint8 of one size, and the ``landmarks`` (5, 2) of each of its faces."""

    pictures: tuple[NDArray[np.uint8], ...]
    landmarks: Sequence[NDArray[np.float64]]


def write_sheet(path: Path, rows: Sequence[Row], template: AlignmentTemplate, height: int = _HEIGHT) -> None:
    """Writes ``rows`` to ``path`` (.jpg), ``height`` pixels each: of each photo the part that holds the crops of its faces.

    ``DataError`` if there are no rows, or if the file cannot be written.
    """
    if not rows:
        raise DataError(f"there is nothing to show on {path}: no photo was aged")
    strips = [_strip(row, template, height) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    sheet = np.full((len(strips) * (height + _GAP) + _GAP, width, 3), _WHITE, dtype=np.uint8)
    for index, strip in enumerate(strips):
        top = _GAP + index * (height + _GAP)
        sheet[top : top + height, : strip.shape[1]] = strip
    written, data = cv2.imencode(".jpg", sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        raise DataError(f"the sheet of {sheet.shape[1]} × {sheet.shape[0]} pixels is too large for a JPEG")
    path.write_bytes(data.tobytes())


def _strip(row: Row, template: AlignmentTemplate, high: int) -> NDArray[np.uint8]:
    height, width = row.pictures[0].shape[:2]
    left, top, right, bottom = _around(row.landmarks, template, width, height)
    scale = min(high / (bottom - top), _WIDEST / (right - left))
    across, down = (max(1, round(side * scale)) for side in (right - left, bottom - top))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    strip = np.full((high, len(row.pictures) * (across + _GAP) + _GAP, 3), _WHITE, dtype=np.uint8)
    for index, picture in enumerate(row.pictures):
        place = _GAP + index * (across + _GAP)
        tile = cv2.resize(picture[top:bottom, left:right], (across, down), interpolation=how)
        strip[:down, place : place + across] = tile
    return strip


def _around(
    faces: Sequence[NDArray[np.float64]], template: AlignmentTemplate, width: int, height: int
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a photo that holds the crops of all ``faces``; all of it if there are none."""
    if not faces:
        return 0, 0, width, height
    square = np.array([[[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]])
    corners = np.concatenate(
        [cv2.transform(square, cv2.invertAffineTransform(crop_matrix(face, template, 1)))[0] for face in faces]
    )
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, (left + 1, top + 1), (width, height)).astype(int)
    return int(left), int(top), int(right), int(bottom)
