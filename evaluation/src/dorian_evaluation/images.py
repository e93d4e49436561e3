"""Images: their type, and the decoding of files in memory."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_training.errors import DataError

Pixels = NDArray[np.uint8]  # RGB (height, width, 3)


def decode_image(data: bytes, name: str) -> Pixels:
    """Decode an image file.

    Args:
        data: The file's bytes.
        name: What errors call the image.

    Returns:
        RGB uint8 (height, width, 3), upright.

    Raises:
        DataError: The bytes are not an image.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DataError(f"{name} is not an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
