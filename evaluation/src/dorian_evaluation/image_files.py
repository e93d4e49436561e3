"""Pictures as they travel: files in memory, lossless on the way out."""

from __future__ import annotations

import cv2
import numpy as np

from dorian_evaluation.ageing.seams import Pixels
from dorian_training.errors import DataError


def decoded(data: bytes, name: str) -> Pixels:
    """RGB uint8 (height, width, 3) of a picture file's bytes; ``DataError`` if they are none, by the ``name`` of the picture."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DataError(f"{name} is not a picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def encoded(pixels: Pixels) -> bytes:
    """A PNG of RGB ``pixels`` uint8 (height, width, 3)."""
    written, data = cv2.imencode(".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert written
    return data.tobytes()
