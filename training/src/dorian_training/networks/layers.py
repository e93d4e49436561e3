"""Layers and resizing that several networks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2  # slope of leaky rectifiers for negative input


def strided_convolutions(inputs: int, widths: Sequence[int], kernel: int, norm_from: int) -> Iterable[nn.Sequential]:
    """Return one halving block per width; batch normalisation from block ``norm_from`` on."""
    for index, width in enumerate(widths):
        norm = [nn.BatchNorm2d(width)] if index >= norm_from else []
        convolution = nn.Conv2d(inputs, width, kernel, stride=2, padding=(kernel - 1) // 2)
        yield nn.Sequential(convolution, *norm, nn.LeakyReLU(LEAK))
        inputs = width


def at_side(image: Tensor, side: int) -> Tensor:
    """Return ``image`` (batch, 3, height, width) at ``side`` × ``side`` pixels, smoothed where it gets smaller."""
    if image.shape[2] == side:
        return image
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)


def resizing(before: int, after: int) -> Tensor:
    """Return the matrix (``after``, ``before``) by which ``at_side`` resizes columns; as a product, resizing has a gradient in any runtime."""
    columns = F.interpolate(torch.eye(before)[None, None], (after, before), mode="bilinear", antialias=True)
    return columns[0, 0]
