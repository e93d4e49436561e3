"""Convolutions that several networks are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

LEAK = 0.2  # slope of leaky rectifiers for negative input


def strided_convolutions(inputs: int, widths: Sequence[int], kernel: int, norm_from: int) -> Iterable[nn.Sequential]:
    """One halving block per width; batch normalisation from block ``norm_from`` on."""
    for index, width in enumerate(widths):
        norm = [nn.BatchNorm2d(width)] if index >= norm_from else []
        convolution = nn.Conv2d(inputs, width, kernel, stride=2, padding=(kernel - 1) // 2)
        yield nn.Sequential(convolution, *norm, nn.LeakyReLU(LEAK))
        inputs = width
