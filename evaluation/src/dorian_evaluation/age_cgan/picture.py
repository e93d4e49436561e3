"""A picture of reconstruction and ageing, as in Antipov et al. 2017: a face per row, each column under its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dorian_evaluation.ageing.seams import Pixels
from dorian_training.errors import DataError

_SIDE = 96  # pixels of a face
_GAP = 4
_HEAD = 20
_FONT, _SCALE, _INK = cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 40, 40)
_WHITE = 255


def write_picture(path: Path, names: Sequence[str], rows: Sequence[Sequence[Pixels]]) -> None:
    """Writes ``rows`` of square RGB faces to ``path`` (.png or .jpg), a column for each of ``names``.

    ``DataError`` if the file cannot be written so.
    """
    step = _SIDE + _GAP
    sheet = np.full((_HEAD + len(rows) * step, _GAP + len(names) * step, 3), _WHITE, dtype=np.uint8)
    for column, name in enumerate(names):
        (width, _), _ = cv2.getTextSize(name, _FONT, _SCALE, 1)
        start = (_GAP + column * step + (_SIDE - width) // 2, _HEAD - 7)
        cv2.putText(sheet, name, start, _FONT, _SCALE, _INK, 1, cv2.LINE_AA)
    for row, faces in enumerate(rows):
        for column, face in enumerate(faces):
            top, left = _HEAD + row * step, _GAP + column * step
            how = cv2.INTER_AREA if len(face) > _SIDE else cv2.INTER_CUBIC
            sheet[top : top + _SIDE, left : left + _SIDE] = cv2.resize(face, (_SIDE, _SIDE), interpolation=how)
    try:
        written, data = cv2.imencode(path.suffix, sheet[:, :, ::-1])
    except cv2.error as error:  # a suffix that it does not know
        raise DataError(f"{path} cannot be written as a picture; end it in .png or .jpg") from error
    assert written
    path.write_bytes(data.tobytes())
