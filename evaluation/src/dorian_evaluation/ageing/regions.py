"""Where faces are looked at in aligned crops: the regions of the mean face, as every crop is aligned to it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import Part, learned_mask, part_mask
from dorian_bundle.mesh import NOSE, crop_mesh

Mask = NDArray[np.bool_]
Luma = NDArray[np.float32]

_FEATURES: tuple[Part, ...] = ("eyes", "brows", "lips", "teeth")
_MARGIN = 0.03  # of the crop's side, by which features are enlarged


@lru_cache(maxsize=8)
def region(size: int, name: Literal["changed", "skin", "eyes"]) -> Mask:
    """Return a region of the mean face in crops of ``size`` pixels.

    Args:
        size: Side of the crop in pixels.
        name: ``changed``, all that a method may change but the features; ``skin``, its inner part; ``eyes``, between the lids.

    Returns:
        bool (size, size), read-only.
    """
    mesh = crop_mesh(size)
    if name == "eyes":
        selected = part_mask(mesh, size, "eyes") > 0.5
    else:
        depth = learned_mask(DEFAULT_TEMPLATE, size)
        selected = (depth > (0.02 if name == "changed" else 0.8)) & ~_features(mesh, size)
    selected.setflags(write=False)
    return selected


def _features(mesh: NDArray[np.float64], size: int) -> Mask:
    """Return eyes, brows, mouth and nose, enlarged, bool (size, size)."""
    features = np.maximum.reduce([part_mask(mesh, size, part) for part in _FEATURES])
    features = np.asarray(features > 0, dtype=np.uint8)
    wings = cv2.convexHull(np.rint(mesh[NOSE][2:]).astype(np.int32))
    cv2.fillConvexPoly(features, wings, [1])
    reach = 2 * round(_MARGIN * size) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.asarray(cv2.dilate(features, kernel) > 0)
