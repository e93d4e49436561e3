"""Inception-ResNet-v1, the FaceNet whose weights are published: from an aligned crop to a point on the unit sphere.

FaceNet's mapping (Schroff et al. 2015) by the residual Inception blocks of Szegedy et al. 2016, as they were trained on VGGFace2
(Cao et al. 2018) and on CASIA-WebFace (Yi et al. 2014). Layers have the names, the shapes and the constants of facenet-pytorch,
the port to PyTorch in which those weights are known, so that they can be loaded (``dorian_training.published``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.shape import NetworkShape

SIZE = 160
LAYOUT = "inception_resnet_v1"

Kernel = tuple[int, int]
_ONE, _THREE = (1, 1), (3, 3)
_EPSILON = 1e-3  # of the batch normalisation
_PIXEL_SCALE = 127.5 / 128  # the weights expect pixels of 0 to 255 as (pixel - 127.5) / 128


@dataclass(frozen=True)
class InceptionResNetShape(NetworkShape):
    """``repeats``: residual blocks at 17, at 8 and at 3 cells a side. The defaults are what the published weights fit."""

    layout_name: ClassVar[str | None] = LAYOUT
    repeats: tuple[int, int, int] = (5, 10, 5)
    embedding: int = 512
    dropout: float = 0.6


class Unit(nn.Module):
    """A convolution, batch normalisation and ReLU. ``padded``: a stride of 1 keeps the size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel = _ONE, stride: int = 1, *, padded: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(features)))


class Branches(nn.Module):
    """Several ways over the same features, ``branch0``, ``branch1`` and so on; what they give is joined along the channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.names = [f"branch{index}" for index in range(len(branches))]
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([getattr(self, name)(features) for name in self.names], dim=1)


class ResidualBranches(Branches):
    """Branches whose joint answer, brought to ``width`` channels and times ``scale``, is added to what they saw.

    ``steps``: for each branch the kernels of its units, all of ``inner`` channels. ``rectified``: a ReLU ends the block.
    """

    def __init__(
        self, width: int, inner: int, steps: Sequence[Sequence[Kernel]], scale: float, *, rectified: bool = True
    ) -> None:
        super().__init__([_chain(width, [(inner, kernel) for kernel in kernels]) for kernels in steps])
        self.conv2d = nn.Conv2d(inner * len(steps), width, 1)
        self.scale, self.rectified = scale, rectified

    def forward(self, features: Tensor) -> Tensor:
        result = features + self.scale * self.conv2d(super().forward(features))
        return F.relu(result) if self.rectified else result


def _chain(inputs: int, steps: Sequence[tuple[int, Kernel]], halved: bool = False) -> nn.Module:
    """Units of these outputs and kernels, one after the other; a unit alone is no sequence. ``halved``: by the last of them."""
    widths = [inputs, *(outputs for outputs, _ in steps)]
    units: list[nn.Module] = [Unit(widths[i], outputs, kernel) for i, (outputs, kernel) in enumerate(steps)]
    if halved:
        units[-1] = Unit(widths[-2], *steps[-1], stride=2, padded=False)
    return units[0] if len(units) == 1 else nn.Sequential(*units)


def _halving(inputs: int, steps: Sequence[Sequence[tuple[int, Kernel]]]) -> Branches:
    """Branches that halve the resolution, the last of them by taking maxima."""
    return Branches([*(_chain(inputs, steps_of_branch, halved=True) for steps_of_branch in steps), nn.MaxPool2d(3, 2)])


def _block35() -> ResidualBranches:
    return ResidualBranches(256, 32, [[_ONE], [_ONE, _THREE], [_ONE, _THREE, _THREE]], 0.17)


def _block17() -> ResidualBranches:
    return ResidualBranches(896, 128, [[_ONE], [_ONE, (1, 7), (7, 1)]], 0.1)


def _block8(scale: float = 0.2, *, rectified: bool = True) -> ResidualBranches:
    return ResidualBranches(1792, 192, [[_ONE], [_ONE, (1, 3), (3, 1)]], scale, rectified=rectified)


def _mixed_6a() -> Branches:
    return _halving(256, [[(384, _THREE)], [(192, _ONE), (192, _THREE), (256, _THREE)]])


def _mixed_7a() -> Branches:
    start = (256, _ONE)
    return _halving(896, [[start, (384, _THREE)], [start, (256, _THREE)], [start, (256, _THREE), (256, _THREE)]])


class InceptionResNetV1(nn.Module):
    """Image (batch, 3, 160, 160), RGB in [-1, 1] → embedding (batch, 512) of length 1; the same person's lie close.

    Blocks are called by the cells a side that they had in the images of Szegedy et al. 2016, 299 pixels wide.
    """

    def __init__(self, shape: InceptionResNetShape) -> None:
        super().__init__()
        self.shape, self.size, self.embedding = shape, SIZE, shape.embedding
        repeats_35, repeats_17, repeats_8 = shape.repeats
        self.conv2d_1a = Unit(3, 32, _THREE, 2, padded=False)  # (batch, 32, 79, 79)
        self.conv2d_2a = Unit(32, 32, _THREE, padded=False)
        self.conv2d_2b = Unit(32, 64, _THREE)
        self.maxpool_3a = nn.MaxPool2d(3, 2)  # (batch, 64, 38, 38)
        self.conv2d_3b = Unit(64, 80)
        self.conv2d_4a = Unit(80, 192, _THREE, padded=False)
        self.conv2d_4b = Unit(192, 256, _THREE, 2, padded=False)  # (batch, 256, 17, 17)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(repeats_35)))
        self.mixed_6a = _mixed_6a()  # (batch, 896, 8, 8)
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(repeats_17)))
        self.mixed_7a = _mixed_7a()  # (batch, 1792, 3, 3)
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(repeats_8)))
        self.block8 = _block8(1.0, rectified=False)
        self.dropout = nn.Dropout(shape.dropout)
        self.last_linear = nn.Linear(1792, shape.embedding, bias=False)
        self.last_bn = nn.BatchNorm1d(shape.embedding, eps=_EPSILON)

    def forward(self, image: Tensor) -> Tensor:
        return self.features_and_embedding(image)[1]

    def features_and_embedding(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what the network makes of ``image`` at each resolution, finest first: a metric of how faces look; and the embedding."""
        fine = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(image * _PIXEL_SCALE)))
        cells_35 = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(fine)))))
        cells_17 = self.repeat_2(self.mixed_6a(cells_35))
        cells_8 = self.block8(self.repeat_3(self.mixed_7a(cells_17)))
        pooled = self.dropout(cells_8.mean(dim=(2, 3)))
        embedding: Tensor = self.last_bn(self.last_linear(pooled))
        return [fine, cells_35, cells_17, cells_8], F.normalize(embedding.float(), dim=1)
