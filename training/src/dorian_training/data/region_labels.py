"""Labels of a region of a face that nobody drew: what is sure by place and colour is grown to its edges (GrabCut, Rother et al. 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

UNLIKE_SKIN = 2.2  # spreads of skin's colours, from which on a pixel may be hair
HAIR_SPREAD = ((7.0, 3.0, 3.0), (14.0, 7.0, 7.0))  # of its colours, at least and at most
LEAST_PIXELS = 25  # of skin, and of what is sure to be hair
_ROUNDS = 2  # of GrabCut


@dataclass(frozen=True)
class RegionLabels:
    """``inside`` (size, size), 1 on the region and 0 elsewhere, and how much each pixel of it counts, ``weight`` in [0, 1]; float32."""

    inside: FloatArray
    weight: FloatArray

    @classmethod
    def unknown(cls, size: int) -> RegionLabels:
        """Return labels of which no pixel counts."""
        return cls(np.zeros((size, size), np.float32), np.zeros((size, size), np.float32))


def cut_out(crop: NDArray[np.uint8], likely: Bools, sure: Bools, outside: Bools) -> Bools | None:
    """Return the region of ``crop`` whose edges are those of its colours.

    Args:
        crop: RGB uint8 (size, size, 3).
        likely: Pixels that may well be of the region, (size, size).
        sure: Those that are.
        outside: Those that are not.

    Returns:
        The region, (size, size); ``None`` where it has no edges.
    """
    cut = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    cut[sure] = cv2.GC_FGD
    cut[outside] = cv2.GC_BGD
    if not (cut & 1).any() or (cut & 1).all():  # GrabCut needs both
        return None
    models, whole = np.zeros((2, 1, 65)), (0, 0, len(crop), len(crop))
    try:
        cv2.grabCut(np.ascontiguousarray(crop), cut, whole, models[0], models[1], _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # too few colours for its mixture
        return None
    return np.asarray(cut & 1, dtype=np.bool_)


def parts_touching(mask: Bools, region: Bools) -> Bools:
    """Return the connected parts of ``mask`` that reach into ``region``."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8))
    return np.asarray(np.isin(parts, np.unique(parts[mask & region])) & mask)
