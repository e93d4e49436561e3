"""An image of reconstruction and ageing, as in Antipov et al. 2017: a face per row, each column under its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dorian_evaluation.images import Pixels
from dorian_training.errors import DataError

_SIDE = 96  # pixels of a face
_GAP = 4
_HEADER = 20
_FONT, _FONT_SCALE, _INK = cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40)
_WHITE = 255


def write_face_grid(path: Path, names: Sequence[str], rows: Sequence[Sequence[Pixels]], side: int = _SIDE) -> None:
    """Write an image of faces in rows and columns.

    Args:
        path: The file, a .png or .jpg.
        names: Of the columns.
        rows: Square RGB faces of any size, one per column or fewer.
        side: Pixels of a face in the image.

    Raises:
        DataError: The suffix stands for no image format.
    """
    step = side + _GAP
    grid = np.full((_HEADER + len(rows) * step, _GAP + len(names) * step, 3), _WHITE, dtype=np.uint8)
    for column, name in enumerate(names):
        (width, _), _ = cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)
        start = (_GAP + column * step + (side - width) // 2, _HEADER - 7)
        cv2.putText(grid, name, start, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
    for row, faces in enumerate(rows):
        for column, face in enumerate(faces):
            top, left = _HEADER + row * step, _GAP + column * step
            interpolation = cv2.INTER_AREA if len(face) > side else cv2.INTER_CUBIC
            grid[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=interpolation)
    try:
        written, data = cv2.imencode(path.suffix, grid[:, :, ::-1])
    except cv2.error as error:  # an unknown suffix
        raise DataError(f"{path} cannot be written as an image; end it in .png or .jpg") from error
    assert written
    path.write_bytes(data.tobytes())
