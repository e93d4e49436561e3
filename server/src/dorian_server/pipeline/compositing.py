"""Composites a drawn face into its photo: as a delta that is added, or as a replacement.

Both work on patches in the crop's pixels, which are warped onto the photo under a soft mask. Only a face's own region of
the photo is read or written, and outside the masks every pixel keeps its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.graphs import Array
from dorian_bundle.tensors import luma, pixels_to_floats

# Shares that are kept of a delta's mean over the face: changes of light and tint are artefacts of the drawing, not of the age.
MEAN_LUMA_KEPT = 0.5
MEAN_CHROMA_KEPT = 0.0
CHROMA_KEPT = 0.8
FINER_KEPT = 0.25  # share of a photo's detail finer than a patch that is kept where it goes: skin is not wholly smooth
_STRIP = 256  # rows of a photo that are worked on at once
FULL_COLOUR = 0.04  # mean chroma of a crop, in [0, 1], from which a photo counts as one in colour


@dataclass(frozen=True)
class Patch:
    """The change of one face, in pixels of its crop.

    Args:
        matrix: From the photo's pixels to the crop's, (2, 3).
        mask: Where the photo changes, float32 (size, size) in [0, 1].
        values: RGB float32 (size, size, 3): a delta in [-1, 1] or, if it ``replaces``, an image in [0, 1].
        replaces: Whether ``values`` replace the photo, or are added to it.
        view: The photo in the crop, RGB float32 (size, size, 3) in [0, 1], if what a large photo shows finer than that goes, but for
            ``FINER_KEPT``: strands of a beard that is shaved. ``None``: all of it stays.
    """

    matrix: NDArray[np.float64]
    mask: Array
    values: Array
    replaces: bool = False
    view: Array | None = None


def colourfulness(crop: NDArray[np.uint8]) -> float:
    """Return how much colour ``crop``, uint8 RGB (size, size, 3), has: from 0 for a grey photo to 1 for any in colour."""
    _, chroma = _luma_and_chroma(pixels_to_floats(crop))
    return min(1.0, float(np.abs(chroma).mean()) / FULL_COLOUR)


def delta_patch(matrix: NDArray[np.float64], mask: Array, delta: Array, colour: float = 1.0) -> Patch:
    """Return the patch of a delta between a face drawn at its target and at its source age.

    The delta's mean over the face is reduced: it would show as a tint, or as a halo along the mask.

    Args:
        matrix: From the photo's pixels to the crop's, (2, 3).
        mask: Where the photo changes, float32 (size, size) in [0, 1].
        delta: RGB float32 (size, size, 3).
        colour: Share of the delta's chroma that is kept (see ``colourfulness``).
    """
    luma, chroma = _luma_and_chroma(delta)
    weight = mask / max(float(mask.sum()), 1e-6)
    mean_luma = float((luma * weight[..., None]).sum())
    mean_chroma = (chroma * weight[..., None]).sum(axis=(0, 1))
    luma = luma - (1 - MEAN_LUMA_KEPT) * mean_luma
    return Patch(matrix, mask, luma + colour * CHROMA_KEPT * (chroma - (1 - MEAN_CHROMA_KEPT) * mean_chroma))


def learned_patch(matrix: NDArray[np.float64], mask: Array, delta: Array, colour: float = 1.0) -> Patch:
    """Return the patch of a delta by a network that was trained under ``mask``: only its chroma is reduced.

    Args:
        matrix: From the photo's pixels to the crop's, (2, 3).
        mask: Where the photo changes, float32 (size, size) in [0, 1].
        delta: RGB float32 (size, size, 3).
        colour: Share of the delta's chroma that is kept (see ``colourfulness``).
    """
    _, chroma = _luma_and_chroma(delta)
    return Patch(matrix, mask, delta - (1 - colour) * chroma)


def replacement_patch(matrix: NDArray[np.float64], mask: Array, crop: NDArray[np.uint8], target: Array) -> Patch:
    """Return the patch that replaces a face by ``target``, in the colours of ``crop``.

    Mean and spread of each channel of CIE Lab under the mask become the crop's (Reinhard et al. 2001).

    Args:
        matrix: From the photo's pixels to the crop's, (2, 3).
        mask: Where the photo changes, float32 (size, size) in [0, 1].
        crop: The face in the photo, RGB uint8 (size, size, 3).
        target: The face drawn at its target age, RGB float32 (size, size, 3) in [0, 1].
    """
    drawing = cv2.cvtColor(np.ascontiguousarray(target, dtype=np.float32), cv2.COLOR_RGB2LAB)
    original = cv2.cvtColor(pixels_to_floats(crop), cv2.COLOR_RGB2LAB)
    weight = mask[..., None].astype(np.float64) / max(float(mask.sum()), 1e-6)
    drawing_mean, original_mean = ((image * weight).sum(axis=(0, 1)) for image in (drawing, original))  # (3,) each
    drawing_std, original_std = (
        np.sqrt((np.square(image - mean) * weight).sum(axis=(0, 1)))
        for image, mean in ((drawing, drawing_mean), (original, original_mean))
    )
    matched = (drawing - drawing_mean) * (original_std / np.maximum(drawing_std, 1e-3)) + original_mean
    values = cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB)
    return Patch(matrix, mask, np.clip(values, 0, 1).astype(np.float32), replaces=True)


def apply(photo: NDArray[np.uint8], patches: Sequence[Patch], strength: float) -> None:
    """Composite ``patches`` into ``photo``, RGB uint8 (height, width, 3), in place; overlapping faces share a pixel.

    Args:
        photo: What changes.
        patches: The changes.
        strength: Factor on all changes.
    """
    for layers in _strips(photo, patches):
        changes = [255 * strength * _share(layer, layers)[..., None] * layer.change for layer in layers]
        for layer, change in zip(layers, changes, strict=True):
            region = photo[layer.rows, layer.columns]
            region[:] = np.clip(np.rint(region + change), 0, 255).astype(np.uint8)


def coverage(photo: NDArray[np.uint8], patches: Sequence[Patch]) -> NDArray[np.uint8]:
    """Return the largest mask of ``patches`` at each pixel of ``photo``, uint8 (height, width) from 0 to 255."""
    covered = np.zeros(photo.shape[:2], dtype=np.uint8)
    for layers in _strips(photo, patches):
        for layer in layers:
            region = covered[layer.rows, layer.columns]
            np.maximum(region, np.rint(255 * layer.mask).astype(np.uint8), out=region)
    return covered


def difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``after`` minus ``before``, both RGB uint8 (height, width, 3), clipped to [-128, 127], as uint8 with 128 for no change."""
    # uint8 subtraction saturates at 0: of each pixel's two differences one is its gain or loss, the other is 0.
    gain, loss = np.minimum(cv2.subtract(after, before), 127), np.minimum(cv2.subtract(before, after), 128)
    return np.asarray(128 + gain - loss, dtype=np.uint8)


@dataclass(frozen=True)
class _Layer:
    """A patch in pixels of the photo: the region's slices, the change under its mask in [-1, 1], and the mask."""

    rows: slice
    columns: slice
    change: Array
    mask: Array


def _luma_and_chroma(values: Array) -> tuple[Array, Array]:
    """Luma (size, size, 1) of RGB ``values`` (size, size, 3), and the rest, chroma (size, size, 3)."""
    light = luma(values)[..., None]
    return light, values - light


def _strips(photo: NDArray[np.uint8], patches: Sequence[Patch]) -> Iterator[list[_Layer]]:
    """Yield the layers of ``patches``, a strip of the photo after the other, so that large faces take little memory."""
    for start in range(0, len(photo), _STRIP):
        rows = slice(start, min(start + _STRIP, len(photo)))
        yield [layer for layer in (_layer(photo, patch, rows) for patch in patches) if layer is not None]


def _layer(photo: NDArray[np.uint8], patch: Patch, strip: slice) -> _Layer | None:
    """Return the layer of ``patch`` in the rows ``strip`` of the photo; ``None`` if it does not reach there."""
    size = len(patch.mask)
    inverse = cv2.invertAffineTransform(patch.matrix)
    corners = cv2.transform(np.array([[[0.0, 0.0], [size, 0.0], [0.0, size], [size, size]]]) - 0.5, inverse)[0]
    width = photo.shape[1]
    left, top = np.maximum(np.floor(corners.min(axis=0)), (0, strip.start)).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, (width, strip.stop)).astype(int)
    if left >= right or top >= bottom:
        return None
    inverse[:, 2] -= (left, top)
    rows, columns = slice(top, bottom), slice(left, right)

    def warp(values: Array, border: int) -> Array:
        layer = cv2.warpAffine(values, inverse, (right - left, bottom - top), flags=cv2.INTER_CUBIC, borderMode=border)
        return np.asarray(layer, dtype=np.float32)

    mask = np.asarray(np.clip(warp(patch.mask, cv2.BORDER_CONSTANT), 0, 1), dtype=np.float32)
    if patch.replaces:
        original = pixels_to_floats(photo[rows, columns])
        change = np.asarray((warp(patch.values, cv2.BORDER_REPLICATE) - original) * mask[..., None], dtype=np.float32)
    else:
        change = warp(patch.values * patch.mask[..., None], cv2.BORDER_CONSTANT)
    if patch.view is not None:
        finer = pixels_to_floats(photo[rows, columns]) - warp(patch.view, cv2.BORDER_REPLICATE)
        change = np.asarray(change - (1 - FINER_KEPT) * mask[..., None] * finer, dtype=np.float32)
    return _Layer(rows, columns, change, mask)


def _share(layer: _Layer, layers: Sequence[_Layer]) -> Array:
    """The share of ``layer`` in each pixel of its region, (rows, columns): 1 except under masks of other layers."""
    total = layer.mask.copy()
    for other in layers:
        top, bottom = max(layer.rows.start, other.rows.start), min(layer.rows.stop, other.rows.stop)
        left, right = max(layer.columns.start, other.columns.start), min(layer.columns.stop, other.columns.stop)
        if other is layer or top >= bottom or left >= right:
            continue
        here = (
            slice(top - layer.rows.start, bottom - layer.rows.start),
            slice(left - layer.columns.start, right - layer.columns.start),
        )
        there = (
            slice(top - other.rows.start, bottom - other.rows.start),
            slice(left - other.columns.start, right - other.columns.start),
        )
        total[here] += other.mask[there]
    return np.where(total > layer.mask, layer.mask / np.maximum(total, 1e-6), 1).astype(np.float32)
