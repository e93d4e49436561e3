"""Age-cGAN (Antipov, Baccouche and Dugelay 2017): encoder E, generator G and discriminator D at 64 px.

Presets of one code. ``paper`` is the published Keras layout. ``dcgan`` is lean, made to be trained on few cores: strided
4×4 convolutions as in DCGAN (Radford et al. 2016), and a discriminator with one output per age group in place of a condition
at its input. ``lean`` has latents that hold a person (docs/decisions/0011-joint-training.md), and a discriminator that can begin as an age estimator. Images are RGB in [-1, 1]; a condition is a row of weights over the age groups that sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from dorian_training.networks.age_discriminator import AgeDiscriminator, AgeDiscriminatorShape
from dorian_training.networks.eigenfaces import EigenEncoder, EigenGenerator
from dorian_training.networks.layers import LEAK, strided_convolutions
from dorian_training.networks.shape import NetworkShape

SIZE = 64


@dataclass(frozen=True)
class EncoderShape(NetworkShape):
    """Strided convolutions of ``widths`` channels, a dense layer of ``hidden`` units (0: none), then the latent.

    ``eigenfaces``: side in pixels of the image whose coordinates among eigenfaces the latent begins as (0: none).
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    kernel: int = 5
    hidden: int = 4096
    eigenfaces: int = 0


@dataclass(frozen=True)
class GeneratorShape(NetworkShape):
    """Dense layers to a map of ``widths[0]`` channels, then a doubling stage to each next width and to RGB at 64×64.

    Three widths start from 8×8, four from 4×4.

    ``hidden``: units of a dense layer before the map (0: none). ``refine``: convolutions added at the last width.
    ``leak``: slope of the rectifiers for negative input (0: ReLU). ``eigenfaces``: side in pixels of the image that eigenfaces
    make of the latent, to which all else is added (0: none). ``condition_gain``: how many times larger the first layer's
    weights of the condition are at the start, so that a few numbers count beside hundreds.
    """

    widths: tuple[int, ...] = (256, 128, 64)
    kernel: int = 5
    upsampling: Literal["nearest", "transposed"] = "nearest"
    hidden: int = 2048
    refine: int = 0
    dropout: float = 0.2
    leak: float = LEAK
    eigenfaces: int = 0
    condition_gain: float = 1.0


@dataclass(frozen=True)
class DiscriminatorShape(NetworkShape):
    """Strided convolutions of ``widths`` channels; or, of ``layout`` ``ages``, an ``AgeDiscriminator``, whose layers are its own.

    ``condition``: ``planes`` joins the condition, one plane per group, after the first convolution (32×32×6), with one
    output; ``outputs`` gives one output per group and ignores the condition at the input.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    kernel: int = 3
    batch_norm: bool = True
    condition: Literal["planes", "outputs"] = "planes"
    layout: Literal["strided", "ages"] = "strided"


@dataclass(frozen=True)
class AgeCganShape(NetworkShape):
    """The plain numbers from which all three networks are built; checkpoints carry them."""

    latent: int = 100
    groups: int = 6
    encoder: EncoderShape = field(default_factory=EncoderShape)
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    discriminator: DiscriminatorShape = field(default_factory=DiscriminatorShape)


# Widths of the lean preset avoid powers of two, whose gradients cost more than their arithmetic on x86
# (docs/decisions/0002-lean-layout.md).
_DCGAN = AgeCganShape(
    latent=128,
    encoder=EncoderShape(widths=(48, 96, 192, 320, 400), kernel=3, hidden=0),
    generator=GeneratorShape((320, 192, 96, 48), kernel=3, hidden=0, refine=1, dropout=0.0, leak=0.0),
    discriminator=DiscriminatorShape((48, 96, 192, 320), 4, batch_norm=False, condition="outputs"),
)
PRESETS: dict[str, AgeCganShape] = {
    "paper": AgeCganShape(),
    "dcgan": _DCGAN,
    "lean": AgeCganShape(
        latent=384,
        encoder=EncoderShape((48, 96, 160, 208, 208), kernel=3, hidden=0, eigenfaces=32),
        generator=GeneratorShape(
            (144, 176, 112, 56), 3, hidden=0, refine=1, dropout=0.0, leak=0.0, eigenfaces=32, condition_gain=8.0
        ),
        discriminator=DiscriminatorShape(condition="outputs", layout="ages"),
    ),
}


class Encoder(nn.Module):
    """E: image (batch, 3, 64, 64) in [-1, 1] → latent (batch, latent), an approximation of G's input (§3.2)."""

    def __init__(self, shape: EncoderShape, latent: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*strided_convolutions(3, shape.widths, shape.kernel, norm_from=1))
        features = shape.widths[-1] * (SIZE >> len(shape.widths)) ** 2
        dense: list[nn.Module] = []
        if shape.hidden:
            dense = [nn.Linear(features, shape.hidden), nn.BatchNorm1d(shape.hidden), nn.LeakyReLU(LEAK)]
        self.head = nn.Sequential(nn.Flatten(), *dense, nn.Linear(shape.hidden or features, latent))
        self.eigenfaces = EigenEncoder(latent, shape.eigenfaces) if shape.eigenfaces else None
        if self.eigenfaces is not None:
            _zero_init(self.head[-1])

    def forward(self, image: Tensor) -> Tensor:
        features = self.blocks(image)  # (batch, widths[-1], side, side)
        latent: Tensor = self.head(features)  # (batch, latent)
        return latent if self.eigenfaces is None else latent + self.eigenfaces(image)


class Generator(nn.Module):
    """G: latent (batch, latent) and condition (batch, groups) → image (batch, 3, 64, 64) in [-1, 1].

    The condition joins the latent at the input (§3.1).
    """

    def __init__(self, shape: GeneratorShape, latent: int, groups: int) -> None:
        super().__init__()
        self.base = SIZE >> len(shape.widths)
        inputs = latent + groups
        dense: list[nn.Module] = []
        if shape.hidden:
            dense = [nn.Linear(inputs, shape.hidden), nn.LeakyReLU(shape.leak), nn.Dropout(shape.dropout)]
        self.dense = nn.Sequential(*dense, nn.Linear(shape.hidden or inputs, shape.widths[0] * self.base**2))
        input_layer = cast(nn.Linear, self.dense[0])
        with torch.no_grad():
            input_layer.weight[:, latent:] *= shape.condition_gain
        first = [nn.BatchNorm2d(shape.widths[0]), nn.LeakyReLU(shape.leak)]
        self.first = nn.Sequential(*first, *([nn.Dropout(shape.dropout)] if shape.dropout else []))
        stages: list[nn.Module] = []
        for before, after in zip(shape.widths, shape.widths[1:], strict=False):
            stages += [_doubling(before, after, shape), nn.BatchNorm2d(after), nn.LeakyReLU(shape.leak)]
        width = shape.widths[-1]
        for _ in range(shape.refine):
            stages += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(shape.leak)]
        self.stages = nn.Sequential(*stages, _doubling(width, 3, shape))
        self.bounds = nn.Tanh()
        self.eigenfaces = EigenGenerator(latent, shape.eigenfaces, SIZE) if shape.eigenfaces else None
        if self.eigenfaces is not None:
            _zero_init(self.stages[-1])

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        features = self.dense(torch.cat([latent, condition], dim=1))  # (batch, widths[0] * base²)
        features = features.unflatten(1, (-1, self.base, self.base))  # (batch, widths[0], base, base)
        features = self.first(features.contiguous(memory_format=torch.channels_last))
        image: Tensor = self.stages(features)  # (batch, 3, 64, 64)
        bounded: Tensor = self.bounds(image if self.eigenfaces is None else image + self.eigenfaces(latent))
        return bounded


def _zero_init(module: nn.Module) -> None:
    """Set the parameters to zero, so that at the start only what ``module`` is added to remains."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _doubling(inputs: int, outputs: int, shape: GeneratorShape) -> nn.Module:
    if shape.upsampling == "transposed":
        padding, added = (shape.kernel - 1) // 2, shape.kernel % 2
        return nn.ConvTranspose2d(inputs, outputs, shape.kernel, stride=2, padding=padding, output_padding=added)
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, shape.kernel, padding=shape.kernel // 2)
    )


class Discriminator(nn.Module):
    """D: image (batch, 3, 64, 64) and condition (batch, groups) → logits (batch, 1 or groups); larger: more real."""

    def __init__(self, shape: DiscriminatorShape, groups: int) -> None:
        super().__init__()
        self.planes = groups if shape.condition == "planes" else 0
        widths, norm_from = shape.widths, 0 if shape.batch_norm else len(shape.widths)
        self.first = next(iter(strided_convolutions(3, widths[:1], shape.kernel, norm_from=1)))
        rest = strided_convolutions(widths[0] + self.planes, widths[1:], shape.kernel, norm_from)
        self.blocks = nn.ModuleList(rest)
        features = widths[-1] * (SIZE >> len(widths)) ** 2
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(features, 1 if self.planes else groups))
        if not shape.batch_norm:  # nothing else keeps the signal's scale through the layers
            for module in (self.first, *self.blocks):
                nn.init.kaiming_normal_(module[0].weight, a=LEAK)

    def features(self, image: Tensor, condition: Tensor) -> list[Tensor]:
        """Return what each convolution makes of ``image``, coarser and coarser: a metric that needs no other network."""
        features = self.first(image)  # (batch, widths[0], 32, 32)
        if self.planes:
            planes = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
            features = torch.cat([features, planes], dim=1)  # (batch, widths[0] + groups, 32, 32)
        maps = [features]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(image, condition)[-1])  # (batch, 1 or groups)
        return logits


class GroupDiscriminator(AgeDiscriminator):
    """D that can start as an age estimator: image (batch, 3, 64, 64) → logits (batch, groups); it ignores the condition."""

    def __init__(self, groups: int) -> None:
        super().__init__(AgeDiscriminatorShape(bins=groups))

    def features(self, image: Tensor, condition: Tensor) -> list[Tensor]:
        """Return what each convolution of the coarse tower makes of ``image``, as ``Discriminator.features``."""
        maps = [image]
        for layer in self.coarse:
            maps.append(layer(maps[-1]))
        return maps[2::2]  # after each rectifier

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        logits: Tensor = super().forward(image)
        return logits


def build_encoder(shape: AgeCganShape) -> Encoder:
    """Build E of ``shape``, freshly initialised."""
    return Encoder(shape.encoder, shape.latent)


def build_generator(shape: AgeCganShape) -> Generator:
    """Build G of ``shape``, freshly initialised."""
    return Generator(shape.generator, shape.latent, shape.groups)


def build_discriminator(shape: AgeCganShape) -> Discriminator | GroupDiscriminator:
    """Build D of ``shape``, freshly initialised."""
    if shape.discriminator.layout == "ages":
        return GroupDiscriminator(shape.groups)
    return Discriminator(shape.discriminator, shape.groups)
