"""Regions of a crop as soft masks, in training and in serving alike: the face under which methods change a photo, and its parts."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.mesh import (
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_IRIS,
    NOSE,
    OUTER_LIPS,
    OUTLINE,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_IRIS,
    mean_mesh,
)

Part = Literal["eyes", "brows", "lips", "teeth"]
_PARTS: dict[Part, tuple[slice, ...]] = {
    "eyes": (RIGHT_EYE, LEFT_EYE),
    "brows": (RIGHT_BROW, LEFT_BROW),
    "lips": (OUTER_LIPS,),
    "teeth": (INNER_LIPS,),
}

# In distances between the eyes, which for a face seen from the side are its length over ``_LENGTH``.
FEATHER = 0.35  # from the outline inwards, over which the mask grows
_REACH = 1.08  # how much larger than the mean face is what methods may change
_BROW_HEIGHT = 0.08  # half of it
_FEATURE_MARGIN = 0.05  # by which features are enlarged, and over which skin begins beside them
_SPECTACLES, _SPECTACLES_FADE = (-0.6, 0.75), 0.2  # below the eyes, where spectacles are worn
_LENGTH = 2.5  # of a face, from the top of its forehead to its chin
_FINE = 4  # pixels of the raster in which outlines are drawn, per pixel of the crop
_SUBPIXEL = 4  # bits
BORDER = 0.08  # of the crop's side, over which the mask fades towards what the networks did not see


def face_mask(mesh: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return the weights of a face's pixels: 1 within the face, 0 outside of its outline and at the crop's border.

    Args:
        mesh: Points (73, 2) of the face in pixels of the crop; see ``dorian_bundle.mesh``.
        size: Side of the crop in pixels.

    Returns:
        float32 (size, size) in [0, 1].
    """
    unit = _eye_distance(mesh)
    inside = _filled([mesh[OUTLINE]], size)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / _FINE  # in pixels of the crop
    fine = _smooth(depth / (FEATHER * unit)).astype(np.float32)
    mask = np.asarray(cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA))
    rows, columns = np.mgrid[:size, :size]
    edge = np.minimum.reduce([rows, columns, size - 1 - rows, size - 1 - columns]) / (BORDER * size)
    return np.asarray((mask * _smooth(edge)).clip(0, 1), dtype=np.float32)


def change_mask(mesh: NDArray[np.float64], template: AlignmentTemplate, size: int) -> NDArray[np.float32]:
    """Return the mask under which methods change a face: its own, where the mean face is or is near.

    Methods learn to draw under a mask of the mean face, and may draw anything far outside of it.

    Args:
        mesh: See ``face_mask``.
        template: To which the crop is aligned.
        size: Side of the crop in pixels.

    Returns:
        float32 (size, size) in [0, 1].
    """
    return np.minimum(face_mask(mesh, size), learned_mask(template, size, _REACH))


@lru_cache(maxsize=16)
def learned_mask(template: AlignmentTemplate, size: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Return ``face_mask`` of the mean face, ``scale`` times as large, in crops of ``size`` aligned to ``template``; read-only."""
    mesh = mean_mesh(template.points(size))
    middle = mesh[OUTLINE].mean(axis=0)
    mask = face_mask(middle + (mesh - middle) * scale, size)
    mask.setflags(write=False)
    return mask


def part_mask(mesh: NDArray[np.float64], size: int, part: Part) -> NDArray[np.float32]:
    """Return the share of each pixel that belongs to a ``part`` of the face; see ``face_mask``.

    Eyes are what shows between the lids, lips their red without the mouth's opening, teeth that opening.
    """
    polygons = [mesh[points] for points in _PARTS[part]]
    if part == "brows":
        down = mesh[OUTLINE][9] - mesh[OUTLINE][0]
        half = _BROW_HEIGHT * _eye_distance(mesh) * down / max(float(np.hypot(*down)), 1e-6)
        polygons = [np.concatenate([brow - half, (brow + half)[::-1]]) for brow in polygons]
    filled = _filled(polygons, size)
    if part == "lips":
        filled &= ~_filled([mesh[INNER_LIPS]], size)
    return np.asarray(cv2.resize(filled.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA))


def mouth_mask(mesh: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return the share of each pixel that belongs to the lips or lies between them; see ``face_mask``."""
    return np.maximum(part_mask(mesh, size, "lips"), part_mask(mesh, size, "teeth"))


def skin_mask(mesh: NDArray[np.float64], size: int, *, with_brows: bool = False) -> NDArray[np.float32]:
    """Return 1 beside a face's features, 0 on eyes, brows, mouth and the tip and wings of the nose; see ``face_mask``.

    Within a face's outline it is skin; hair, beards and spectacles that lie over the face are not told from it, nor are brows ``with_brows``.
    """
    nose = cv2.convexHull(mesh[NOSE][3:].astype(np.float32))[:, 0].astype(np.float64)
    filled = cv2.resize(_filled([nose], size).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    parts = [part for part in _PARTS if part != "brows" or not with_brows]
    features = np.maximum.reduce([filled, *(part_mask(mesh, size, part) for part in parts)])
    margin = _FEATURE_MARGIN * _eye_distance(mesh)
    reach = 2 * round(margin) + 1
    enlarged = cv2.dilate(features, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft = cv2.GaussianBlur(enlarged, (0, 0), max(margin / 2, 0.5))
    return np.asarray(1 - soft, dtype=np.float32)


def depth_in_face(mesh: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return how deep each pixel lies within a face's outline, negative outside of it: float32 (size, size), in pixels; see ``face_mask``."""
    inside = np.zeros((size, size), np.uint8)
    corners = np.clip(mesh[OUTLINE], -8 * size, 8 * size)
    cv2.fillPoly(inside, [np.round(corners * 2**_SUBPIXEL).astype(np.int32)], 1, shift=_SUBPIXEL)
    within, beyond = (cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in (inside, 1 - inside))
    return np.asarray(within - beyond, dtype=np.float32)


def spectacles_mask(mesh: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return 1 at the height of a face at which spectacles are worn, from its brows to its nose, softly 0 elsewhere; see ``face_mask``."""
    middle, down = mesh[[LEFT_IRIS, RIGHT_IRIS]].mean(axis=0), mesh[OUTLINE][9] - mesh[OUTLINE][0]
    rows, columns = np.mgrid[:size, :size]
    along = (columns - middle[0]) * down[0] + (rows - middle[1]) * down[1]
    height = along / (max(float(np.hypot(*down)), 1e-6) * _eye_distance(mesh))  # below the eyes
    first, last = _SPECTACLES
    margin = np.minimum(height - first, last - height) / _SPECTACLES_FADE
    return np.asarray(_smooth(margin), dtype=np.float32)


def _eye_distance(mesh: NDArray[np.float64]) -> float:
    between = float(np.hypot(*(mesh[LEFT_IRIS] - mesh[RIGHT_IRIS])))
    length = float(np.hypot(*(mesh[OUTLINE][9] - mesh[OUTLINE][0])))
    return max(between, length / _LENGTH, 1e-6)


def _filled(polygons: list[NDArray[np.float64]], size: int) -> NDArray[np.uint8]:
    """Return a raster (size * _FINE, size * _FINE), 1 inside of ``polygons`` (n, 2) of the crop's pixels."""
    raster = np.zeros((size * _FINE, size * _FINE), np.uint8)
    reach = 8 * size  # corners beyond are as good as there, and OpenCV's fixed point holds them
    for polygon in polygons:
        corners = (np.clip(polygon, -reach, reach) + 0.5) * _FINE - 0.5
        cv2.fillPoly(raster, [np.round(corners * 2**_SUBPIXEL).astype(np.int32)], 1, shift=_SUBPIXEL)
    return raster


def _smooth(depth: NDArray[np.floating]) -> NDArray[np.floating]:
    inside = np.clip(depth, 0, 1)
    return np.asarray(inside**2 * (3 - 2 * inside))
