"""The age translator, a method of our own: one residual U-Net that draws what a change of age adds to a face.

One pass for any pair of ages, after FRAN (Zoss et al. 2022: a residual U-Net told both ages), SAM (Alaluf et al. 2021: age as a
number) and StarGAN v2 (Choi et al. 2020: a discriminator with an output for each domain, here for each span of ages).
Images are RGB in [-1, 1], ages in years.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.age_discriminator import AgeDiscriminatorShape
from dorian_training.networks.layers import LEAK
from dorian_training.networks.shape import NetworkShape

FULL_AGE = 100.0  # years, the unit in which ages enter the network
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue
_CHROMA_BLUR = 5  # pixels of the crop, side of the box over which a bounded chroma is averaged, twice
_LUMA_BLUR = 13  # the same of a luma, apart from which it is fine
_SURROUNDINGS = 25  # the same of a photo's luma, beyond which a delta may hardly go
_GREY = 0.005  # square of a chroma below which a pixel has hardly any colour, of images in [-1, 1]


# What checkpoints that say nothing of bounds and blurs were trained with.
_UNBOUNDED = {
    "delta_bound": 0.0,
    "fine_bound": 0.0,
    "chroma_bound": 0.0,
    "light_bound": 0.0,
    "photo_blur": 0,
    "delta_blur": 0,
    "colour_bound": 0.0,
}


@dataclass(frozen=True)
class TranslatorShape(NetworkShape):
    """A U-Net that works at a half, a quarter and an eighth of ``size`` with ``widths`` channels.

    ``middle``: residual blocks at the coarsest level. ``fine``: channels at full size, where only the head works. ``style``:
    units of what the ages become. ``gentle``: years of change over which the delta fades in (see ``AgeTranslator``).
    ``delta_bound``, ``fine_bound`` and ``chroma_bound``: how far a delta, its luma apart from its own mean around, and its colour
    apart from luma may go, of images in [-1, 1]; 0: any. ``light_bound``: how far a delta may make a pixel lighter than it and its
    surroundings are; 0: any. ``photo_blur`` and ``delta_blur``: pixels, odd, side of the box over which the photo that the
    network sees, and the luma that it draws, are averaged, twice; 0: not at all. ``colour_bound``: how
    much more or less colourful a face may get, as a share of its colour, which then keeps its hue; 0: colours are free.
    """

    size: int = 96
    widths: tuple[int, ...] = (32, 96, 160)
    middle: int = 2
    fine: int = 16
    style: int = 128
    waves: int = 4
    gentle: float = 8.0
    delta_bound: float = 0.35
    fine_bound: float = 0.15
    chroma_bound: float = 0.08
    light_bound: float = 0.06
    photo_blur: int = 3
    delta_blur: int = 3
    colour_bound: float = 0.35

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the shape of a checkpoint; deltas of those that say nothing of bounds and blurs have none."""
        return super().from_dict(_UNBOUNDED | values)


@dataclass(frozen=True)
class AgeTranslatorShape(NetworkShape):
    """The plain numbers from which both networks are built; checkpoints carry them."""

    translator: TranslatorShape = field(default_factory=TranslatorShape)
    discriminator: AgeDiscriminatorShape = field(default_factory=AgeDiscriminatorShape)


class AgeCode(nn.Module):
    """Source and target age (batch,) in years → style (batch, style): waves of both ages, and their difference."""

    def __init__(self, waves: int, style: int) -> None:
        super().__init__()
        self.frequencies = [math.pi * wave for wave in range(1, waves + 1)]
        self.layers = nn.Sequential(
            nn.Linear(4 * waves + 4, style), nn.LeakyReLU(LEAK), nn.Linear(style, style), nn.LeakyReLU(LEAK)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        ages = torch.stack([source, target], dim=1).float() / FULL_AGE  # (batch, 2)
        change = ages[:, 1:] - ages[:, :1]  # (batch, 1)
        phases = torch.stack([ages * frequency for frequency in self.frequencies], dim=2).flatten(
            1
        )  # (batch, 2 * waves)
        encoding = torch.cat([ages, change, change.abs(), phases.sin(), phases.cos()], dim=1)  # (batch, 4 * waves + 4)
        style: Tensor = self.layers(encoding.to(next(self.layers.parameters()).dtype))
        return style


class ModulatedBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; between them the style scales and shifts each channel."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(style, 2 * width)
        for convolution, gain in ((self.first, 1.0), (self.second, 0.3)):  # blocks start close to the identity
            nn.init.kaiming_normal_(convolution.weight, a=LEAK)
            convolution.weight.data.mul_(gain)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.modulation(style)[:, :, None, None].chunk(2, dim=1)  # (batch, width, 1, 1) each
        changed = self.first(F.leaky_relu(features, LEAK)) * (1 + scale) + shift
        result: Tensor = features + self.second(F.leaky_relu(changed, LEAK))
        return result


class AgeTranslator(nn.Module):
    """Image (batch, 3, size, size), source and target age (batch,) → delta (batch, 3, size, size) to be added.

    The heavy part works at half resolution and below. Its way back up repeats pixels and convolves, so that no grid of
    sub-pixels shows. Its luma is bounded by ``delta_bound``, what of it is fine by ``fine_bound``, and its chroma, smoothed, by
    ``chroma_bound``, each by a hyperbolic tangent: no single pixel can go far, what is small is a wrinkle rather than a spot, and
    wrinkles are drawn in light alone. Age casts shadows and makes hair lighter, so light may rise to that of the surroundings, and
    beyond them by ``light_bound`` alone: skin gets no shine. The network sees a blurred photo, and its luma is blurred, so that
    sharp photos are to it what blurred ones are, and nothing that it draws has edges of its own. The delta has the factor ``1 - exp(-|target - source| / gentle)``: it is zero where the target is the source age.
    """

    def __init__(self, shape: TranslatorShape) -> None:
        super().__init__()
        self.gentle, self.bounds = shape.gentle, (shape.delta_bound, shape.fine_bound, shape.chroma_bound)
        self.light_bound, self.photo_blur, self.delta_blur = shape.light_bound, shape.photo_blur, shape.delta_blur
        self.colour_bound = shape.colour_bound
        self.code = AgeCode(shape.waves, shape.style)
        inputs = (3, *shape.widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in zip(inputs, shape.widths, strict=True)
        )
        self.seen = nn.ModuleList(ModulatedBlock(width, shape.style) for width in shape.widths[:-1])
        self.middle = nn.ModuleList(ModulatedBlock(shape.widths[-1], shape.style) for _ in range(shape.middle))
        self.up = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(shape.widths[:0:-1], shape.widths[-2::-1], strict=True)
        )
        self.drawn = nn.ModuleList(ModulatedBlock(width, shape.style) for width in shape.widths[-2::-1])
        self.fine = nn.Conv2d(shape.widths[0], shape.fine, 1)
        self.refine = nn.Conv2d(shape.fine + 3, shape.fine, 3, padding=1)
        self.head = nn.Conv2d(shape.fine, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return self.bounded(self.unbounded(image, source, target), image, source, target)

    def unbounded(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the delta (batch, 3, size, size), float32, before its bounds and its factor of years."""
        style = self.code(source, target)  # (batch, style)
        image = averaged(image, self.photo_blur)
        features, skips = image, []
        for down, block in zip(self.down, [*self.seen, None], strict=True):
            features = down(features)  # half the size
            if block is not None:
                features = block(features, style)
                skips.append(features)
        for block in self.middle:
            features = block(features, style)
        for up, block in zip(self.up, self.drawn, strict=True):
            features = block(_doubled(up(features)) + skips.pop(), style)  # twice the size
        # features: (batch, widths[0], size / 2, size / 2)
        fine = torch.cat(
            [_doubled(self.fine(F.leaky_relu(features, LEAK))), image], dim=1
        )  # (batch, fine + 3, size, size)
        delta: Tensor = self.head(F.leaky_relu(self.refine(fine), LEAK)).float()  # (batch, 3, size, size)
        return delta

    def bounded(self, delta: Tensor, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return an ``unbounded`` delta of ``image`` within its bounds, times the factor of years."""
        gate = 1 - torch.exp(-(target - source).abs().float() / self.gentle)  # (batch,)
        luma, chroma = self._within_bounds(delta, image)
        result: Tensor = (self.lit(luma, image) + chroma) * gate[:, None, None, None]
        return result

    def lit(self, luma: Tensor, image: Tensor) -> Tensor:
        """Return a delta's ``luma`` (batch, 1, size, size) as far as ``light_bound`` lets it make ``image`` lighter."""
        if not self.light_bound:
            return luma
        room = self._room(image)
        return torch.where(luma > 0, room * torch.tanh(luma / room), luma)

    def excess(self, delta: Tensor, image: Tensor) -> Tensor:
        """Return how far an ``unbounded`` delta of ``image`` goes beyond its bounds, in squares, mean.

        There a hyperbolic tangent is flat, and draws patches with sharp edges.
        """
        delta_bound, fine_bound, chroma_bound = self.bounds
        broad, fine, chroma = self._parts(_squashed(delta, delta_bound))
        parts = ((delta, delta_bound), (fine, fine_bound), (chroma, chroma_bound))
        excess = torch.stack([_beyond(*part) for part in parts]).sum()
        if self.light_bound:
            excess = excess + (self._smooth_luma(broad, fine) - self._room(image)).clamp(min=0).square().mean()
        return excess

    def smooth(self, luma: Tensor) -> Tensor:
        """Return a delta's ``luma`` (batch, 1, size, size) as smooth as what is drawn."""
        return averaged(luma, self.delta_blur)

    def _room(self, image: Tensor) -> Tensor:
        """How much lighter each pixel of ``image`` may get, (batch, 1, size, size)."""
        luma, _ = luma_and_chroma(image.float())
        return (averaged(luma, _SURROUNDINGS) - luma).clamp(min=0) + self.light_bound

    def _within_bounds(self, delta: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Luma (batch, 1, size, size) and chroma (batch, 3, size, size) of a delta within the bounds that do not ask how light ``image`` is."""
        delta_bound, _, chroma_bound = self.bounds
        broad, fine, chroma = self._parts(_squashed(delta, delta_bound))
        return self._smooth_luma(broad, fine), self._coloured(_squashed(chroma, chroma_bound), image)

    def _smooth_luma(self, broad: Tensor, fine: Tensor) -> Tensor:
        """The luma of these two parts, what is fine within its bound, as smooth as what is drawn."""
        _, fine_bound, _ = self.bounds
        return self.smooth(broad + _squashed(fine, fine_bound))

    def _coloured(self, chroma: Tensor, image: Tensor) -> Tensor:
        """What of a ``chroma`` (batch, 3, size, size) makes the colours of ``image`` stronger or weaker."""
        if not self.colour_bound:
            return chroma
        own = averaged(luma_and_chroma(image.float())[1], _CHROMA_BLUR)  # (batch, 3, size, size)
        share = (chroma * own).sum(dim=1, keepdim=True) / (own.square().sum(dim=1, keepdim=True) + _GREY)
        return _squashed(averaged(share, _CHROMA_BLUR), self.colour_bound) * own

    def _parts(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is broad and what is fine of a delta's luma, (batch, 1, size, size) each, and its chroma; parts without a bound are whole."""
        _, fine_bound, chroma_bound = self.bounds
        luma, chroma = luma_and_chroma(delta)
        broad = averaged(luma, _LUMA_BLUR if fine_bound else 0)
        return broad, luma - broad, averaged(chroma, _CHROMA_BLUR if chroma_bound else 0)


def luma_and_chroma(delta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the luma (batch, 1, size, size) of a delta (batch, 3, size, size), and the rest, (batch, 3, size, size)."""
    luma = _LUMA[0] * delta[:, :1] + _LUMA[1] * delta[:, 1:2] + _LUMA[2] * delta[:, 2:]
    return luma, delta - luma


def _beyond(values: Tensor, bound: float) -> Tensor:
    return (values.abs() - bound).clamp(min=0).square().mean() if bound else values.new_zeros(())


def _squashed(values: Tensor, bound: float) -> Tensor:
    return bound * torch.tanh(values / bound) if bound else values


def averaged(values: Tensor, side: int) -> Tensor:
    """``values`` (batch, channels, height, width), each the mean of a box around it, twice; about a Gaussian. A ``side`` of 0 leaves them."""
    for _ in range(2 if side else 0):
        for kernel in ((side, 1), (1, side)):  # a box in two steps
            padding = (kernel[0] // 2, kernel[1] // 2)
            values = F.avg_pool2d(values, kernel, 1, padding, count_include_pad=False)
    return values


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")
