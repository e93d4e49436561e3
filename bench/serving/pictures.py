"""Compares the images of contenders."""

from __future__ import annotations

import cv2
import numpy as np

TOLERANCE = 1  # grey levels


def difference(picture: bytes, other: bytes) -> tuple[int, int]:
    """The largest difference of two pictures' files in grey levels, and how many pixels differ; of other sizes, 255 and all."""
    if picture == other:
        return 0, 0
    one, two = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int) for data in (picture, other))
    if one.shape != two.shape:
        return 255, one.shape[0] * one.shape[1]
    apart = np.abs(one - two)
    return int(apart.max()), int(apart.any(axis=2).sum())
