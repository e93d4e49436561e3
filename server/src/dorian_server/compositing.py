"""Putting a drawn face into its photo: as a difference that is added, or in place of what was there.

Both work on patches in the crop's pixels, which are warped onto the photo under a soft mask. Only a face's own region of
the photo is read or written, and outside the masks every pixel keeps its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_server.sessions.session import Array

# The face around its landmarks: half its width in distances between the eyes, and how far it reaches above the eyes and
# below the mouth in distances between these; it takes in the hair above the forehead.
HALF_WIDTH = 1.25
ABOVE_EYES = 0.80
BELOW_MOUTH = 0.85
# Above the eyes the outline is squarer than an ellipse: temples and hair.
ROUND, SQUARE = 2.0, 3.0
FEATHER = 0.45  # of the way from the rim to the centre
BORDER = 0.08  # of the crop's side, over which the mask fades towards what the networks did not see

# Of a difference's mean over the face: changes of light and tint that belong to the drawing, not to the age.
MEAN_LUMA_KEPT = 0.5
MEAN_CHROMA_KEPT = 0.0
CHROMA_KEPT = 0.8
FULL_COLOUR = 0.04  # mean chroma of a crop, of 1, from which on a photo counts as one in colour
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Patch:
    """What one face brings to its photo, in pixels of its crop; ``matrix`` (2, 3) leads there from the photo's.

    ``values`` float32 RGB (size, size, 3): a difference in [-1, 1] or, if it ``replaces``, a picture in [0, 1]. ``mask``
    float32 (size, size) in [0, 1].
    """

    matrix: NDArray[np.float64]
    mask: Array
    values: Array
    replaces: bool = False


def face_mask(landmarks: NDArray[np.float64], size: int) -> Array:
    """Weights (size, size) in [0, 1] of the face with ``landmarks`` (5, 2), in pixels of the crop: 1 within, 0 at the border."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = mouth - eyes
    length = max(float(np.hypot(*down)), 1e-6)
    down = down / length
    half_width = HALF_WIDTH * max(float(np.hypot(*(landmarks[1] - landmarks[0]))), 0.8 * length)
    top, bottom = -ABOVE_EYES * length, (1 + BELOW_MOUTH) * length
    rows, columns = np.mgrid[:size, :size]
    x, y = columns - eyes[0], rows - eyes[1]
    along = x * down[0] + y * down[1]
    across = np.abs(x * down[1] - y * down[0]) / half_width
    centre = (top + bottom) / 2
    upwards = along < centre
    far = np.abs(along - centre) / ((bottom - top) / 2)
    power = np.where(upwards, SQUARE, ROUND)
    depth = 1 - (across**power + far**power) ** (1 / power)
    edge = (np.minimum.reduce([rows, columns, size - 1 - rows, size - 1 - columns])) / (BORDER * size)
    return np.asarray(_smooth(depth / FEATHER) * _smooth(edge), dtype=np.float32)


def colourfulness(crop: NDArray[np.uint8]) -> float:
    """How much colour ``crop``, uint8 RGB (size, size, 3), has: from 0 for a grey photo to 1 for any that is in colour."""
    pixels = crop.astype(np.float32) / 255
    chroma = pixels - (pixels @ _LUMA)[..., None]
    return min(1.0, float(np.abs(chroma).mean()) / FULL_COLOUR)


def delta_patch(matrix: NDArray[np.float64], mask: Array, source: Array, target: Array, colour: float = 1.0) -> Patch:
    """The difference between a face drawn at its ``target`` and at its ``source`` age, float32 RGB (size, size, 3).

    What differs all over is held back: it would show as a tint, or as a halo along the mask. ``colour`` is how much of a
    difference in colour the photo bears (see ``colourfulness``).
    """
    delta = target - source
    luma = delta @ _LUMA
    chroma = delta - luma[..., None]
    weight = mask / max(float(mask.sum()), 1e-6)
    mean_luma = float((luma * weight).sum())
    mean_chroma = (chroma * weight[..., None]).sum(axis=(0, 1))
    luma = luma - (1 - MEAN_LUMA_KEPT) * mean_luma
    chroma = colour * CHROMA_KEPT * (chroma - (1 - MEAN_CHROMA_KEPT) * mean_chroma)
    return Patch(matrix, mask, luma[..., None] + chroma)


def replacement_patch(matrix: NDArray[np.float64], mask: Array, crop: NDArray[np.uint8], target: Array) -> Patch:
    """The face drawn at its ``target`` age, in the colours of ``crop`` uint8 (size, size, 3).

    Mean and spread of each channel of CIE Lab under the mask are made the crop's (Reinhard et al. 2001).
    """
    drawn = cv2.cvtColor(np.ascontiguousarray(target, dtype=np.float32), cv2.COLOR_RGB2LAB)
    seen = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weight = mask[..., None].astype(np.float64) / max(float(mask.sum()), 1e-6)
    drawn_mean, seen_mean = ((picture * weight).sum(axis=(0, 1)) for picture in (drawn, seen))
    drawn_spread, seen_spread = (
        np.sqrt((np.square(picture - mean) * weight).sum(axis=(0, 1)))
        for picture, mean in ((drawn, drawn_mean), (seen, seen_mean))
    )
    matched = (drawn - drawn_mean) * (seen_spread / np.maximum(drawn_spread, 1e-3)) + seen_mean
    values = cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB)
    return Patch(matrix, mask, np.clip(values, 0, 1).astype(np.float32), replaces=True)


def apply(photo: NDArray[np.uint8], patches: Sequence[Patch], strength: float) -> None:
    """Bring ``patches`` into ``photo``, RGB uint8 (height, width, 3), in place; where faces overlap they share a pixel.

    ``strength``: how much of the change is made; 1 is all of it.
    """
    layers = [layer for layer in (_layer(photo, patch) for patch in patches) if layer is not None]
    changes = [255 * strength * _share(layer, layers)[..., None] * layer.change for layer in layers]
    for layer, change in zip(layers, changes, strict=True):
        region = photo[layer.rows, layer.columns]
        region[:] = np.clip(np.rint(region + change), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Layer:
    """A patch in pixels of the photo: the region's slices, the change under its mask in [-1, 1], and the mask."""

    rows: slice
    columns: slice
    change: Array
    mask: Array


def _layer(photo: NDArray[np.uint8], patch: Patch) -> _Layer | None:
    size = len(patch.mask)
    back = cv2.invertAffineTransform(patch.matrix)
    corners = cv2.transform(np.array([[[0.0, 0.0], [size, 0.0], [0.0, size], [size, size]]]) - 0.5, back)[0]
    height, width = photo.shape[:2]
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return None
    back[:, 2] -= (left, top)
    rows, columns = slice(top, bottom), slice(left, right)

    def warped(values: Array, border: int) -> Array:
        layer = cv2.warpAffine(values, back, (right - left, bottom - top), flags=cv2.INTER_CUBIC, borderMode=border)
        return np.asarray(layer, dtype=np.float32)

    mask = np.asarray(np.clip(warped(patch.mask, cv2.BORDER_CONSTANT), 0, 1), dtype=np.float32)
    if patch.replaces:
        seen = photo[rows, columns].astype(np.float32) / 255
        change = np.asarray((warped(patch.values, cv2.BORDER_REPLICATE) - seen) * mask[..., None], dtype=np.float32)
    else:
        change = warped(patch.values * patch.mask[..., None], cv2.BORDER_CONSTANT)
    return _Layer(rows, columns, change, mask)


def _share(layer: _Layer, layers: Sequence[_Layer]) -> Array:
    """How much of each pixel of ``layer``'s region is its own: all, but where other masks lie on it too."""
    total = layer.mask.copy()
    for other in layers:
        top, bottom = max(layer.rows.start, other.rows.start), min(layer.rows.stop, other.rows.stop)
        left, right = max(layer.columns.start, other.columns.start), min(layer.columns.stop, other.columns.stop)
        if other is layer or top >= bottom or left >= right:
            continue
        own = (
            slice(top - layer.rows.start, bottom - layer.rows.start),
            slice(left - layer.columns.start, right - layer.columns.start),
        )
        theirs = (
            slice(top - other.rows.start, bottom - other.rows.start),
            slice(left - other.columns.start, right - other.columns.start),
        )
        total[own] += other.mask[theirs]
    return np.where(total > layer.mask, layer.mask / np.maximum(total, 1e-6), 1).astype(np.float32)


def _smooth(depth: NDArray[np.floating]) -> NDArray[np.floating]:
    inside = np.clip(depth, 0, 1)
    return np.asarray(inside**2 * (3 - 2 * inside))
