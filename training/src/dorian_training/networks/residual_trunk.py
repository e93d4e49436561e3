"""Residual networks from an image to a vector: StyleGAN2's discriminator (Karras et al. 2020, appendix B), and AE-StyleGAN's encoder.

Both share the trunk: each block halves the resolution, with a shortcut beside two convolutions. Images are RGB in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.layers import LEAK
from dorian_training.networks.style_layers import ScaledConv, ScaledLinear

_GAIN = math.sqrt(2)
_DEVIATION_GROUP = 4


class ResidualTrunk(nn.Module):
    """Image (batch, 3, sides[-1], sides[-1]) → features (batch, widths[0], sides[0], sides[0])."""

    def __init__(self, sides: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.from_rgb = _Activated(3, widths[-1], kernel=1)
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.blocks = nn.Sequential(*(_Block(inputs, outputs) for inputs, outputs in pairs))

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.from_rgb(image))
        return features


class ResidualDiscriminator(nn.Module):
    """Image (batch, 3, side, side) → logit (batch, 1): how real it looks, beside the others of its batch (minibatch deviation)."""

    def __init__(self, sides: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.trunk = ResidualTrunk(sides, widths)
        self.last = _Activated(widths[0] + 1, widths[0], kernel=3)
        self.head = nn.Sequential(
            nn.Flatten(),
            ScaledLinear(widths[0] * sides[0] ** 2, widths[0], equalized=True),
            nn.LeakyReLU(LEAK),
            ScaledLinear(widths[0], 1, equalized=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        features = self.trunk(image)
        logit: Tensor = self.head(self.last(torch.cat([features, minibatch_deviation(features)], dim=1)))
        return logit


class ResidualEncoder(nn.Module):
    """Image (batch, 3, side, side) → styles (batch, levels, style); each image by itself, whatever the batch."""

    def __init__(self, sides: Sequence[int], widths: Sequence[int], levels: int, style: int) -> None:
        super().__init__()
        self.levels, self.style = levels, style
        self.trunk = ResidualTrunk(sides, widths)
        self.last = _Activated(widths[0], widths[0], kernel=3)
        self.head = nn.Sequential(
            nn.Flatten(),
            ScaledLinear(widths[0] * sides[0] ** 2, widths[0], equalized=True),
            nn.LeakyReLU(LEAK),
            ScaledLinear(widths[0], levels * style, equalized=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        styles: Tensor = self.head(self.last(self.trunk(image)))
        return styles.view(-1, self.levels, self.style)


def minibatch_deviation(features: Tensor) -> Tensor:
    """Return a map (batch, 1, h, w) of how much images of a group differ (Karras et al. 2018, §3): a mean over all features.

    Groups are of 4 images; where the batch is no multiple of 4, the batch is one group.
    """
    batch, channels, height, width = features.shape
    size = _DEVIATION_GROUP if batch % _DEVIATION_GROUP == 0 else batch
    groups = features.float().view(size, -1, channels, height, width)
    deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (groups,)
    return deviation.repeat(size).view(batch, 1, 1, 1).expand(-1, -1, height, width).to(features.dtype)


class _Activated(nn.Module):
    """A convolution, its bias, and a rectifier that keeps the variance."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.convolution = ScaledConv(inputs, outputs, kernel, equalized=True)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.convolution(x) + self.bias[:, None, None], LEAK) * _GAIN


class _Block(nn.Module):
    """Two convolutions, the second behind a blur and at half the resolution, beside a shortcut of one by one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _Activated(inputs, inputs, kernel=3)
        self.second = _Activated(inputs, outputs, kernel=3)
        self.shortcut = ScaledConv(inputs, outputs, 1, equalized=True)

    def forward(self, x: Tensor) -> Tensor:
        features = self.second(_halved(self.first(x)))
        result: Tensor = (features + self.shortcut(_halved(x))) / _GAIN
        return result


def _halved(x: Tensor) -> Tensor:
    """``x`` at half its resolution, through the blur (1, 3, 3, 1)."""
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    channels = x.shape[1]
    x = F.conv2d(
        F.pad(x, (1, 1, 0, 0)), kernel.view(1, 1, 1, 4).expand(channels, -1, -1, -1), stride=(1, 2), groups=channels
    )
    return F.conv2d(
        F.pad(x, (0, 0, 1, 1)), kernel.view(1, 1, 4, 1).expand(channels, -1, -1, -1), stride=(2, 1), groups=channels
    )
