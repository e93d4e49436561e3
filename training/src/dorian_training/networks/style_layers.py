"""Layers of style-based generators: convolutions whose channels a style scales (Karras et al. 2020) or normalises (2019).

A style is a vector (batch, style) for each level. Modulation scales inputs and outputs of a shared kernel, which equals
scaling the kernel for each image (StyleGAN2, §2.2) and is several times as fast on CPUs.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.layers import LEAK

Modulation = Literal["demodulation", "adain"]
_GAIN = math.sqrt(2)  # keeps the variance through a leaky rectifier


class ScaledLinear(nn.Module):
    """Linear layer (batch, inputs) → (batch, outputs).

    With ``equalized``, weights are kept at unit variance and scaled as they are used, so that Adam's steps are alike
    in all layers (Karras et al. 2018, §4.1); ``rate`` is then a factor on the learning rate.
    """

    def __init__(self, inputs: int, outputs: int, equalized: bool, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        spread = 1 / math.sqrt(inputs)
        self.scale, self.rate = (spread * rate, rate) if equalized else (1.0, 1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (1 / rate if equalized else spread))
        self.bias = nn.Parameter(torch.full((outputs,), bias / self.rate))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class ScaledConv(nn.Module):
    """Convolution without bias, padded to keep its resolution at a ``stride`` of 1; ``equalized`` as in ``ScaledLinear``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, equalized: bool, stride: int = 1) -> None:
        super().__init__()
        spread = 1 / math.sqrt(inputs * kernel**2)
        self.scale = spread if equalized else 1.0
        self.stride, self.padding = stride, kernel // 2
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * (1.0 if equalized else spread))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)

    def power(self) -> Tensor:
        """Return the sum of the squares of the kernel from each input to each output, (outputs, inputs)."""
        return (self.weight * self.scale).float().square().sum(dim=(2, 3))


class StyledConv(nn.Module):
    """Features (batch, inputs, h, w) and style (batch, style) → features (batch, outputs, h or 2 h, w or 2 w).

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        style: Numbers of a style.
        modulation: ``demodulation``, or ``adain``: eq. 1 of Karras et al. 2019 behind the convolution.
        equalized: See ``ScaledLinear``.
        doubles: Whether the resolution is doubled, bilinearly.
        convolve_small: Whether that is done behind the convolution, which costs a quarter; else before it, which equals
            the transposed convolution and blur of StyleGAN2.
        noise: Whether noise is added while training, with a learned strength.
        shifts: Whether the style also adds to the bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style: int,
        *,
        modulation: Modulation,
        equalized: bool,
        doubles: bool = False,
        convolve_small: bool = False,
        noise: bool = False,
        shifts: bool = False,
    ) -> None:
        super().__init__()
        self.adain, self.doubles, self.convolve_small = modulation == "adain", doubles, convolve_small
        self.convolution = ScaledConv(inputs, outputs, 3, equalized)
        if self.adain:
            self.affine = ScaledLinear(style, 2 * outputs, equalized)
        else:
            self.affine = ScaledLinear(style, inputs, equalized, bias=1.0)
        if not equalized:
            self.affine.weight.data.mul_(0.3)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.shift = ScaledLinear(style, outputs, equalized) if shifts else None
        if self.shift is not None:
            nn.init.zeros_(self.shift.weight)
        self.noise = nn.Parameter(torch.zeros(())) if noise else None

    def forward(self, x: Tensor, style: Tensor, added: Tensor | None = None) -> Tensor:
        """Convolve; ``added`` (batch, outputs, ...) is added before the rectifier."""
        if self.doubles and not self.convolve_small:
            x = doubled(x)
        factors = self.affine(style.float()).float()  # (batch, inputs), or (batch, 2 · outputs) for AdaIN
        x = self.convolution(x if self.adain else x * factors[:, :, None, None].to(x.dtype))
        if self.doubles and self.convolve_small:
            x = doubled(x)
        bias: Tensor = self.bias
        if self.adain:
            scale, shift = factors.chunk(2, dim=1)
            x, scale, bias = F.instance_norm(x.float()), 1 + scale, self.bias + shift  # (batch, outputs)
        else:
            scale = torch.rsqrt(factors.square() @ self.convolution.power().T + 1e-8)  # (batch, outputs)
        if self.shift is not None:
            bias = bias + self.shift(style.float()).float()  # (batch, outputs)
        scale, bias = ((_GAIN * part)[..., None, None].to(x.dtype) for part in (scale, bias))
        x = torch.addcmul(bias, x, scale)
        if self.noise is not None and self.training:
            x = x + self.noise * torch.randn_like(x[:, :1])
        return F.leaky_relu(x if added is None else x + added, LEAK)


class ToRgb(nn.Module):
    """Features (batch, inputs, h, w) and style (batch, style) → RGB (batch, 3, h, w), linear; with ``luma`` a grey picture."""

    def __init__(self, inputs: int, style: int, equalized: bool, luma: bool) -> None:
        super().__init__()
        self.affine = ScaledLinear(style, inputs, equalized, bias=1.0)
        self.convolution = ScaledConv(inputs, 1 if luma else 3, 1, equalized)
        self.bias = nn.Parameter(torch.zeros(1 if luma else 3))
        if not equalized:
            self.affine.weight.data.mul_(0.3)
            self.convolution.weight.data.mul_(0.1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        factors = self.affine(style.float())[:, :, None, None].to(x.dtype)
        rgb: Tensor = self.convolution(x * factors).float() + self.bias[:, None, None]  # (batch, 1 or 3, h, w)
        return rgb.expand(-1, 3, -1, -1)


def doubled(x: Tensor) -> Tensor:
    """Return ``x`` (batch, channels, h, w) at twice its resolution, bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
