"""The age translator, a method of our own: one residual U-Net that draws what a change of age adds to a face.

One pass for any pair of ages, after FRAN (Zoss et al. 2022: a residual U-Net told both ages), SAM (Alaluf et al. 2021: age as a
number) and StarGAN v2 (Choi et al. 2020: a discriminator with an output for each domain, here for each span of ages).
Images are RGB in [-1, 1], ages in years.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dorian_training.errors import ConfigError
from dorian_training.networks.age_cgan import LEAK, strided_convolutions
from dorian_training.networks.age_estimator import SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import AgeEstimator, AgeEstimatorShape

FULL_AGE = 100.0  # years, the unit in which ages enter the network


@dataclass(frozen=True)
class TranslatorShape:
    """A U-Net that works at a half, a quarter and an eighth of ``size`` with ``widths`` channels.

    ``middle``: residual blocks at the coarsest level. ``fine``: channels at full size, where only the head works. ``style``:
    units of what the ages become. ``gentle``: years of change over which the delta fades in (see ``AgeTranslator``).
    """

    size: int = 96
    widths: tuple[int, ...] = (32, 96, 160)
    middle: int = 2
    fine: int = 16
    style: int = 128
    waves: int = 4
    gentle: float = 8.0


@dataclass(frozen=True)
class AgeDiscriminatorShape:
    """Two towers whose outputs, one for each of ``bins`` spans of ``years`` years, are added.

    ``widths`` and ``strides``: of the tower that sees 64 px, the layout of an age estimator (see ``start_from_estimator``).
    ``fine``: channels of the 4×4 convolutions, each halving, of the tower that sees all pixels.
    """

    widths: tuple[int, ...] = AgeEstimatorShape().widths
    strides: tuple[int, ...] = AgeEstimatorShape().strides
    fine: tuple[int, ...] = (48, 96, 192, 256, 256)
    bins: int = 12
    years: float = 8.0


@dataclass(frozen=True)
class AgeTranslatorShape:
    """The plain numbers from which both networks are built; checkpoints carry them."""

    translator: TranslatorShape = TranslatorShape()
    discriminator: AgeDiscriminatorShape = AgeDiscriminatorShape()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgeTranslatorShape:
        """The shape whose ``as_dict`` gave ``values``, also after a trip through JSON."""
        parts: dict[str, dict[str, Any]] = {
            name: {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in part.items()}
            for name, part in values.items()
        }
        return cls(TranslatorShape(**parts["translator"]), AgeDiscriminatorShape(**parts["discriminator"]))


class AgeCode(nn.Module):
    """Source and target age (batch,) in years → style (batch, style): waves of both ages, and their difference."""

    def __init__(self, waves: int, style: int) -> None:
        super().__init__()
        self.frequencies = [math.pi * wave for wave in range(1, waves + 1)]
        self.layers = nn.Sequential(
            nn.Linear(4 * waves + 4, style), nn.LeakyReLU(LEAK), nn.Linear(style, style), nn.LeakyReLU(LEAK)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        ages = torch.stack([source, target], dim=1).float() / FULL_AGE
        change = ages[:, 1:] - ages[:, :1]
        phases = torch.stack([ages * frequency for frequency in self.frequencies], dim=2).flatten(1)
        told = torch.cat([ages, change, change.abs(), phases.sin(), phases.cos()], dim=1)
        style: Tensor = self.layers(told.to(next(self.layers.parameters()).dtype))
        return style


class ModulatedBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; between them the style scales and shifts each channel."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(style, 2 * width)
        for convolution, gain in ((self.first, 1.0), (self.second, 0.3)):  # blocks start near to doing nothing
            nn.init.kaiming_normal_(convolution.weight, a=LEAK)
            convolution.weight.data.mul_(gain)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.modulation(style)[:, :, None, None].chunk(2, dim=1)
        changed = self.first(F.leaky_relu(features, LEAK)) * (1 + scale) + shift
        result: Tensor = features + self.second(F.leaky_relu(changed, LEAK))
        return result


class AgeTranslator(nn.Module):
    """Image (batch, 3, size, size), source and target age (batch,) → delta (batch, 3, size, size) to be added.

    The heavy part works at half resolution and below. Its way back up repeats pixels and convolves, so that no grid of
    sub-pixels shows. The delta carries the factor ``1 - exp(-|target - source| / gentle)``: no change asked, none made.
    """

    def __init__(self, shape: TranslatorShape) -> None:
        super().__init__()
        self.gentle = shape.gentle
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
        style = self.code(source, target)
        features, skips = image, []
        for down, block in zip(self.down, [*self.seen, None], strict=True):
            features = down(features)
            if block is not None:
                features = block(features, style)
                skips.append(features)
        for block in self.middle:
            features = block(features, style)
        for up, block in zip(self.up, self.drawn, strict=True):
            features = block(_doubled(up(features)) + skips.pop(), style)
        fine = torch.cat([_doubled(self.fine(F.leaky_relu(features, LEAK))), image], dim=1)
        delta = self.head(F.leaky_relu(self.refine(fine), LEAK)).float()
        gate = 1 - torch.exp(-(target - source).abs().float() / self.gentle)
        result: Tensor = delta * gate[:, None, None, None]
        return result


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


class AgeDiscriminator(nn.Module):
    """Image (batch, 3, side, side) → logits (batch, bins): how real it looks as a face of each span of ages.

    ``side`` is at least 64. The coarse tower judges ages and shapes, the fine one, which begins by saying nothing, the rest.
    """

    def __init__(self, shape: AgeDiscriminatorShape) -> None:
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = []
        inputs = 3
        for width, stride in zip(shape.widths, shape.strides, strict=True):
            layers += [nn.Conv2d(inputs, width, 3, stride, 1), nn.ReLU()]
            inputs = width
        self.coarse = nn.Sequential(*layers)
        self.coarse_head = _head(inputs, shape.bins)
        self.fine = nn.Sequential(*strided_convolutions(3, shape.fine, 4, norm_from=len(shape.fine)))
        self.fine_head = _head(shape.fine[-1], shape.bins)
        for tower, leak in ((self.coarse, 0.0), (self.fine, LEAK)):
            for module in tower.modules():  # nothing else keeps the signal's scale through the layers
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, a=leak)
        for parameter in self.fine_head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.coarse_head(self.coarse(at_side(image, AGE_SIZE))) + self.fine_head(self.fine(image))
        return logits

    @torch.no_grad()
    def start_from_estimator(self, estimator: AgeEstimator) -> None:
        """Begin with what ``estimator``, of the same layout and in evaluation mode, knows of ages: it then learns what is real, not ages too.

        A span's logit is the mean of its years'. ``ConfigError`` if the layouts differ.
        """
        self.start_tower(estimator)
        last, years_of = cast(nn.Linear, self.coarse_head[-1]), cast(nn.Linear, estimator.head[-1])
        for index in range(self.shape.bins):
            years = slice(round(index * self.shape.years), round((index + 1) * self.shape.years))
            weight = years_of.weight[years].mean(dim=0)
            last.weight[index] = weight.repeat_interleave(4) / 4
            last.bias[index] = years_of.bias[years].mean()

    @torch.no_grad()
    def start_tower(self, estimator: AgeEstimator) -> None:
        """Begin with what ``estimator`` sees, batch normalisation folded into the convolutions, but not with what it says of it."""
        convolutions = [layer for layer in self.coarse if isinstance(layer, nn.Conv2d)]
        known = list(estimator.features)
        try:
            for own, given, norm in zip(convolutions, known[::3], known[1::3], strict=True):
                own.load_state_dict(fuse_conv_bn_eval(cast(nn.Conv2d, given), cast(nn.BatchNorm2d, norm)).state_dict())
        except (ValueError, RuntimeError) as error:
            raise ConfigError("the age estimator is of another layout than the discriminator") from error


def at_side(image: Tensor, side: int) -> Tensor:
    """``image`` (batch, 3, height, width) at ``side`` × ``side`` pixels, smoothed where it gets smaller."""
    if image.shape[2] == side:
        return image
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)


def _head(inputs: int, bins: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * inputs, bins))
