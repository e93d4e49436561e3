"""How large changes of faces are, in grey levels of luma and chroma, beside what separates real old from real young faces."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.graphs import Array
from dorian_bundle.masks import learned_mask
from dorian_bundle.tensors import luma
from dorian_evaluation.stylegan.networks import WHITE

_COARSE = 8  # side in pixels of the images by which faces are alike
_ALIKE = 50  # at most so many faces are averaged


def delta_sizes(deltas: Array, template: AlignmentTemplate) -> NDArray[np.float64]:
    """Return the mean absolute luma and chroma under the mask of the mean face, (faces, 2), in grey levels.

    Chroma is what is left of a colour without its luma.

    Args:
        deltas: (faces, size, size, 3), 1 from black to white.
        template: What the faces are aligned to.
    """
    mask = learned_mask(template, deltas.shape[1])
    levels = WHITE * np.asarray(deltas, dtype=np.float32)
    grey = luma(levels)  # (faces, size, size)
    chroma = np.abs(levels - grey[..., None]).mean(axis=3)
    sizes = [(mask * part).sum(axis=(1, 2)) / mask.sum() for part in (np.abs(grey), chroma)]
    return np.stack(sizes, axis=1).astype(np.float64)


def real_difference(young: NDArray[np.uint8], old: NDArray[np.uint8], template: AlignmentTemplate) -> dict[str, Any]:
    """Return how real old faces differ from young ones that are alike.

    For each young face, the mean of the old faces most like it is compared with the mean of as many young ones, and these,
    for the floor, with the mean of as many others. Faces are alike whose images of 8 × 8 pixels are.

    Args:
        young: RGB uint8 (faces, size, size, 3).
        old: The same.
        template: What they are aligned to.

    Returns:
        ``luma`` and ``chroma`` in grey levels; ``floor`` with the same; ``alike``: how many faces each mean is of.
    """
    count = max(1, min(_ALIKE, (len(young) - 1) // 2, len(old)))
    small_young, small_old = _coarse(young), _coarse(old)
    differences, floors = [], []
    for index, image in enumerate(small_young):
        nearest_old = np.argsort(np.square(small_old - image).sum(axis=1), kind="stable")[:count]
        order = np.argsort(np.square(small_young - image).sum(axis=1), kind="stable")
        others = order[order != index]
        one, two = (_mean(young[others[start : 2 * count : 2]]) for start in (0, 1))
        differences.append(_mean(old[nearest_old]) - one)
        floors.append(two - one)
    luma, chroma = delta_sizes(np.stack(differences), template).mean(axis=0)
    floor_luma, floor_chroma = delta_sizes(np.stack(floors), template).mean(axis=0)
    return {
        "young": len(young),
        "old": len(old),
        "alike": count,
        "luma": round(float(luma), 2),
        "chroma": round(float(chroma), 2),
        "floor": {"luma": round(float(floor_luma), 2), "chroma": round(float(floor_chroma), 2)},
    }


def _coarse(crops: NDArray[np.uint8]) -> Array:
    small = [cv2.resize(crop, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA).ravel() for crop in crops]
    return np.stack(small).astype(np.float32)


def _mean(crops: NDArray[np.uint8]) -> Array:
    return np.asarray(crops.mean(axis=0, dtype=np.float32) / WHITE)
