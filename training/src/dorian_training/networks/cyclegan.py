"""CycleGAN (Zhu et al. 2017): translators between two domains of faces, and a discriminator of patches for each.

Presets of one code: ``resnet9`` and ``unet`` are the published layouts (§4 and appendix 7.2; the U-Net is that of Isola et al.
2017), ``lean`` the U-Net in a size that few cores can train. It adds what it draws to the face, and so begins as one that
changes little, in place of one that first has to learn to draw faces; and its discriminators can begin as an age
estimator, in place of ones that first have to learn what is old. Images are RGB in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.errors import ConfigError
from dorian_training.networks.age_discriminator import AgeDiscriminator, AgeDiscriminatorShape
from dorian_training.networks.age_estimator import COMPACT_SIZE as AGE_SIZE
from dorian_training.networks.layers import LEAK
from dorian_training.networks.shape import NetworkShape

MAX_SIZE = 256  # pixels of the images' side
_SPREAD = 0.02  # of the weights at the start, in the paper
_FAINT = 0.05  # of that, for the last convolution of a translator whose drawing is added


@dataclass(frozen=True)
class CycleGanShape(NetworkShape):
    """The plain numbers from which all four networks are built; checkpoints carry them.

    ``width``: channels at full size. ``depth``: residual blocks of a ``resnet``, halvings of a ``unet``. ``outer``: kernel of a
    ``resnet``'s first and last convolution. ``residual``: whether a translator adds what it draws to its image. ``patches``: channels of
    the discriminator's convolutions, which halve, but for the last; none: a discriminator that judges whole faces.
    """

    size: int = 256
    layout: Literal["resnet", "unet"] = "resnet"
    width: int = 64
    depth: int = 9
    outer: int = 7
    residual: bool = False
    patches: tuple[int, ...] = (64, 128, 256, 512)

    def at_size(self, size: int) -> CycleGanShape:
        """Return the same networks for images of ``size`` pixels; their weights fit.

        Raises:
            ConfigError: If the translator cannot halve such images as often as it does.
        """
        step = 4 if self.layout == "resnet" else 2**self.depth
        if size % step or size > MAX_SIZE:
            raise ConfigError(
                f"images of {size} px do not fit; the side must be a multiple of {step}, up to {MAX_SIZE}"
            )
        if not self.patches and size < AGE_SIZE:
            raise ConfigError(f"images of {size} px do not fit; the discriminators need {AGE_SIZE} px or more")
        return replace(self, size=size)


PRESETS: dict[str, CycleGanShape] = {
    "resnet9": CycleGanShape(),
    "unet": CycleGanShape(layout="unet", depth=8),
    "lean": CycleGanShape(size=64, layout="unet", width=24, depth=4, residual=True, patches=()),
}


class ResidualTranslator(nn.Module):
    """Image (batch, 3, size, size) → image in the other domain: two halvings, residual blocks, two doublings."""

    def __init__(self, shape: CycleGanShape) -> None:
        super().__init__()
        width, edge = shape.width, shape.outer // 2
        layers: list[nn.Module] = [nn.ReflectionPad2d(edge), nn.Conv2d(3, width, shape.outer), *_normed(width)]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), *_normed(2 * width)]
            width *= 2
        layers += [_Block(width) for _ in range(shape.depth)]
        for _ in range(2):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1), *_normed(width // 2)]
            width //= 2
        layers += [nn.ReflectionPad2d(edge), nn.Conv2d(width, 3, shape.outer), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        translated: Tensor = self.layers(image)
        return translated


class _Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            *_normed(width),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features + self.layers(features)
        return result


class UNetTranslator(nn.Module):
    """Image (batch, 3, size, size) → image in the other domain: halved ``depth`` times, each map kept for the way back."""

    def __init__(self, shape: CycleGanShape) -> None:
        super().__init__()
        widths = [min(shape.width << level, 8 * shape.width) for level in range(shape.depth)]
        self.down = nn.ModuleList()
        for level, (before, after) in enumerate(zip([3, *widths], widths, strict=False)):
            layers: list[nn.Module] = [nn.LeakyReLU(LEAK)] if level else []
            layers.append(nn.Conv2d(before, after, 4, 2, 1))
            if 0 < level < shape.depth - 1:  # neither the image nor a map of a single cell is normalised
                layers.append(nn.InstanceNorm2d(after))
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        for level in range(shape.depth - 1, -1, -1):
            inputs = widths[level] * (1 if level == shape.depth - 1 else 2)
            outputs = widths[level - 1] if level else 3
            ending: list[nn.Module] = [nn.InstanceNorm2d(outputs)] if level else [nn.Tanh()]
            self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), *ending))

    def forward(self, image: Tensor) -> Tensor:
        skips = [image]  # level by level, each half the size of the one before
        for down in self.down:
            skips.append(down(skips[-1]))
        features = skips.pop()
        for up in self.up:
            features = up(features)
            if len(skips) > 1:
                features = torch.cat([features, skips.pop()], dim=1)
        return features  # (batch, 3, size, size)


class Added(nn.Module):
    """Image (batch, 3, size, size) → the image plus what ``network`` draws, under the face mask; close to the image at the start."""

    mask: Tensor

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, size))
        self.register_buffer("mask", mask, persistent=False)
        drawing = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))][-1]
        drawing.weight.data.mul_(_FAINT)

    def forward(self, image: Tensor) -> Tensor:
        translated: Tensor = (image + self.mask * self.network(image)).clamp(-1, 1)
        return translated


class PatchDiscriminator(nn.Module):
    """Image (batch, 3, size, size) → scores (batch, 1, rows, columns): near 1 where a patch looks real, near 0 where not.

    With the published four convolutions a score sees 70 × 70 pixels.
    """

    def __init__(self, shape: CycleGanShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for index, width in enumerate(shape.patches):
            stride = 1 if index == len(shape.patches) - 1 else 2
            layers.append(nn.Conv2d(inputs, width, 4, stride, 1))
            layers += [nn.InstanceNorm2d(width)] if index else []
            layers.append(nn.LeakyReLU(LEAK))
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.layers(image)  # (batch, 1, rows, columns)
        return scores


class FaceDiscriminator(AgeDiscriminator):
    """Image (batch, 3, side, side) → scores (batch, 1) of whole faces, in place of patches: near 1 where one looks real."""

    def __init__(self) -> None:
        super().__init__(AgeDiscriminatorShape(bins=1))
        for parameter in self.coarse_head.parameters():
            nn.init.zeros_(parameter)


def build_translator(shape: CycleGanShape) -> nn.Module:
    """Build a translator of ``shape``, freshly initialised as in the paper."""
    network = _started(ResidualTranslator(shape) if shape.layout == "resnet" else UNetTranslator(shape))
    return Added(network, shape.size) if shape.residual else network


def build_discriminator(shape: CycleGanShape) -> nn.Module:
    """Build a discriminator of ``shape``, freshly initialised; one of patches as in the paper."""
    return _started(PatchDiscriminator(shape)) if shape.patches else FaceDiscriminator()


def _normed(width: int) -> Iterable[nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU()


def _started(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, _SPREAD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
