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

from dorian_bundle.graphs import Array
from dorian_bundle.tensors import pixels_to_floats

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


def colourfulness(crop: NDArray[np.uint8]) -> float:
    """How much colour ``crop``, uint8 RGB (size, size, 3), has: from 0 for a grey photo to 1 for any that is in colour."""
    _, chroma = _luma_and_chroma(pixels_to_floats(crop))
    return min(1.0, float(np.abs(chroma).mean()) / FULL_COLOUR)


def delta_patch(matrix: NDArray[np.float64], mask: Array, delta: Array, colour: float = 1.0) -> Patch:
    """The difference ``delta``, float32 RGB (size, size, 3), between a face drawn at its target and at its source age.

    What differs all over is held back: it would show as a tint, or as a halo along the mask. ``colour`` is how much of a
    difference in colour the photo bears (see ``colourfulness``).
    """
    luma, chroma = _luma_and_chroma(delta)
    weight = mask / max(float(mask.sum()), 1e-6)
    mean_luma = float((luma * weight[..., None]).sum())
    mean_chroma = (chroma * weight[..., None]).sum(axis=(0, 1))
    luma = luma - (1 - MEAN_LUMA_KEPT) * mean_luma
    return Patch(matrix, mask, luma + colour * CHROMA_KEPT * (chroma - (1 - MEAN_CHROMA_KEPT) * mean_chroma))


def learned_patch(matrix: NDArray[np.float64], mask: Array, delta: Array, colour: float = 1.0) -> Patch:
    """The difference ``delta``, float32 RGB (size, size, 3), of a network that learned what it does under ``mask``.

    It is added as it is, but its colour only as far as the photo bears it; ``colour`` as in ``delta_patch``.
    """
    _, chroma = _luma_and_chroma(delta)
    return Patch(matrix, mask, delta - (1 - colour) * chroma)


def replacement_patch(matrix: NDArray[np.float64], mask: Array, crop: NDArray[np.uint8], target: Array) -> Patch:
    """The face drawn at its ``target`` age, in the colours of ``crop`` uint8 (size, size, 3).

    Mean and spread of each channel of CIE Lab under the mask are made the crop's (Reinhard et al. 2001).
    """
    drawn = cv2.cvtColor(np.ascontiguousarray(target, dtype=np.float32), cv2.COLOR_RGB2LAB)
    seen = cv2.cvtColor(pixels_to_floats(crop), cv2.COLOR_RGB2LAB)
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


def coverage(photo: NDArray[np.uint8], patches: Sequence[Patch]) -> NDArray[np.uint8]:
    """How far the masks of ``patches`` lie on each pixel of ``photo``, uint8 (height, width) from 0 to 255; of several, the most."""
    covered = np.zeros(photo.shape[:2], dtype=np.uint8)
    for layer in (_layer(photo, patch) for patch in patches):
        if layer is not None:
            region = covered[layer.rows, layer.columns]
            np.maximum(region, np.rint(255 * layer.mask).astype(np.uint8), out=region)
    return covered


def difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``after`` less ``before``, both RGB uint8 (height, width, 3), cut to -128 and 127, as uint8 with 128 for no change."""
    # Subtraction stops at 0: of each pixel's two differences one is what it gained or lost, the other is 0.
    gained, lost = np.minimum(cv2.subtract(after, before), 127), np.minimum(cv2.subtract(before, after), 128)
    return np.asarray(128 + gained - lost, dtype=np.uint8)


@dataclass(frozen=True)
class _Layer:
    """A patch in pixels of the photo: the region's slices, the change under its mask in [-1, 1], and the mask."""

    rows: slice
    columns: slice
    change: Array
    mask: Array


def _luma_and_chroma(values: Array) -> tuple[Array, Array]:
    """Luma (size, size, 1) of RGB ``values`` (size, size, 3), and what they have beside it."""
    luma = (values @ _LUMA)[..., None]
    return luma, values - luma


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
        seen = pixels_to_floats(photo[rows, columns])
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
