"""Images at another side, in one way for all networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def at_side(image: Tensor, side: int) -> Tensor:
    """``image`` (batch, 3, height, width) at ``side`` × ``side`` pixels, smoothed where it gets smaller."""
    if image.shape[2] == side:
        return image
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)


def resizing(before: int, after: int) -> Tensor:
    """The matrix (``after``, ``before``) by which ``at_side`` resizes columns; as a product, resizing has a gradient in any runtime."""
    columns = F.interpolate(torch.eye(before)[None, None], (after, before), mode="bilinear", antialias=True)
    return columns[0, 0]
