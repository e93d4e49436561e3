"""Covered faces: hands, masks, glasses, hair and other faces in front of one, as patches over views of it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CORNERS = (3, 8)  # fewest and most corners of a patch
_GRID = 32  # side of the raster on which covered shares are counted


def covered(images: Tensor, outlines: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cover parts of some faces.

    Args:
        images: Views, float (batch, 3, size, size); patches show parts of other views of the batch, or one colour.
        outlines: Corners of each face's outline, (batch, corners, 2), as fractions of a view's side.
        share: Of the views that get patches.
        generator: Of all random numbers.

    Returns:
        The views, and which share of each outline's area is not covered, (batch,).
    """
    count, size = len(images), images.shape[2]
    seed = int(torch.randint(2**31, (), generator=generator))
    rng = np.random.default_rng(seed)
    textures = images.roll(1, dims=0).flip(2)
    result, visible = images.clone(), torch.ones(count)
    for index in np.flatnonzero(rng.random(count) < share).tolist():
        outline = outlines[index].cpu().numpy()
        patch = np.zeros((size, size), np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            cv2.fillPoly(patch, [_patch(outline, size, rng)], 1)
        mask = torch.from_numpy(patch.astype(bool)).to(images.device)
        fill = textures[index] if rng.random() < 0.6 else torch.from_numpy(rng.uniform(-1, 1, (3, 1, 1))).to(images)
        result[index] = torch.where(mask, fill, images[index])
        visible[index] = _uncovered(patch, outline)
    return result, visible


def _patch(outline: NDArray[np.floating], size: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the corners (n, 2), in pixels of the view, of a patch that covers some of the face."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    centre = low + (high - low) * rng.uniform(-0.1, 1.1, 2)
    reach = (high - low) * rng.uniform(0.12, 0.75, 2)
    corners = int(rng.integers(*_CORNERS))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    rim = centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.6, 1, (corners, 1))
    return np.asarray(np.round(rim * size - 0.5), dtype=np.int32)


def _uncovered(patch: NDArray[np.uint8], outline: NDArray[np.floating]) -> float:
    face = np.zeros((_GRID, _GRID), np.uint8)
    cv2.fillPoly(face, [np.round(outline * _GRID - 0.5).astype(np.int32)], 1)
    coarse = cv2.resize(patch.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    area = float(face.sum())
    return 1 - float((face * coarse).sum()) / area if area else 0.0
