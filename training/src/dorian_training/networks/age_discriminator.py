"""A discriminator that knows ages: it has an output for each span of years, and can begin as an age estimator.

Images are RGB in [-1, 1], ages in years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dorian_training.errors import ConfigError
from dorian_training.networks.age_estimator import COMPACT_SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.layers import LEAK, at_side, strided_convolutions
from dorian_training.networks.shape import NetworkShape


@dataclass(frozen=True)
class AgeDiscriminatorShape(NetworkShape):
    """Two towers whose outputs, one for each of ``bins`` spans of ``years`` years, are added.

    ``widths`` and ``strides``: of the tower that sees 64 px, the layout of an age estimator (see ``start_from_estimator``).
    ``fine``: channels of the 4×4 convolutions, each halving, of the tower that sees all pixels.
    """

    widths: tuple[int, ...] = CompactAgeEstimatorShape().widths
    strides: tuple[int, ...] = CompactAgeEstimatorShape().strides
    fine: tuple[int, ...] = (48, 96, 192, 256, 256)
    bins: int = 12
    years: float = 8.0


class AgeDiscriminator(nn.Module):
    """Image (batch, 3, side, side) → logits (batch, bins): how real it looks as a face of each span of ages.

    ``side`` is at least 64. The coarse tower judges ages and shapes, the fine one, whose output starts at zero, the rest.
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
        coarse = self.coarse_head(self.coarse(at_side(image, AGE_SIZE)))  # (batch, bins)
        logits: Tensor = coarse + self.fine_head(self.fine(image))  # (batch, bins)
        return logits

    @torch.no_grad()
    def start_from_estimator(self, estimator: CompactAgeEstimator, spans: Sequence[slice] | None = None) -> None:
        """Start from the weights of ``estimator``, of the same layout and in evaluation mode, so that only realism is left to learn.

        A span's logit is the mean of its years' logits. ``spans``: the years of each output, unless ``shape.years`` each.
        ``ConfigError`` if the layouts differ.
        """
        self.start_tower(estimator)
        last, years_of = cast(nn.Linear, self.coarse_head[-1]), cast(nn.Linear, estimator.head[-1])
        width = self.shape.years
        even = [slice(round(index * width), round((index + 1) * width)) for index in range(self.shape.bins)]
        for index, years in enumerate(spans or even):
            weight = years_of.weight[years].mean(dim=0)
            last.weight[index] = weight.repeat_interleave(4) / 4
            last.bias[index] = years_of.bias[years].mean()

    @torch.no_grad()
    def start_tower(self, estimator: CompactAgeEstimator) -> None:
        """Start the coarse tower from the convolutions of ``estimator``, with batch normalisation folded in, but not its head."""
        convolutions = [layer for layer in self.coarse if isinstance(layer, nn.Conv2d)]
        source = list(estimator.features)
        try:
            for convolution, source_conv, norm in zip(convolutions, source[::3], source[1::3], strict=True):
                convolution.load_state_dict(
                    fuse_conv_bn_eval(cast(nn.Conv2d, source_conv), cast(nn.BatchNorm2d, norm)).state_dict()
                )
        except (ValueError, RuntimeError) as error:
            raise ConfigError("the age estimator is of another layout than the discriminator") from error


def _head(inputs: int, bins: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * inputs, bins))
