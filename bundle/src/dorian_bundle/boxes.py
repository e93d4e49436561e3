"""Areas, intersections and intersection over union of boxes: x, y, width, height."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating] | Sequence[Sequence[float]]

_LEAST_UNION = 1e-9  # where both boxes are empty


def intersection_and_union(boxes: Boxes, others: Boxes) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the areas that boxes share, and those that they cover together.

    Args:
        boxes: (n, 4): left, top, width, height.
        others: (m, 4), likewise.

    Returns:
        Intersections (n, m) and unions (n, m), in pixels squared.
    """
    first, second = _as_rows(boxes)[:, None], _as_rows(others)[None]  # (n, 1, 4), (1, m, 4)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)  # (n, m)
    return shared, first[..., 2:].prod(axis=2) + second[..., 2:].prod(axis=2) - shared


def iou(boxes: Boxes, others: Boxes) -> NDArray[np.floating]:
    """Return the intersection over union of each of ``boxes`` (n, 4) with each of ``others`` (m, 4).

    Returns:
        (n, m), from 0 to 1; 0 where both boxes are empty.
    """
    shared, union = intersection_and_union(boxes, others)
    return np.asarray(shared / np.maximum(union, _LEAST_UNION))


def _as_rows(boxes: Boxes) -> NDArray[np.floating]:
    return np.asarray(boxes).reshape(-1, 4)
