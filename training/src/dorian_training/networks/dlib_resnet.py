"""dlib's face recognition network: a residual network of 29 layers, from an aligned crop to a point on the unit sphere.

He et al. 2016, as King trained it for dlib (``dlib_face_recognition_resnet_model_v1``, CC0), with the affine layers that
stand in for batch normalisation folded into the convolutions, and a whitening behind it that makes similarities of
different people alike in all groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.shape import NetworkShape

SIZE = 150
EMBEDDING_SIZE = 128
LAYOUT = "dlib_resnet_v1"

_STEM_WIDTH = 32
# (blocks, width, whether the first block halves the resolution) of each stage; the last block of all halves it again.
_STAGES = ((3, 32, False), (4, 64, True), (3, 128, True), (3, 256, True), (1, 256, True))
# Indices of the last block of each stage.
_STAGE_ENDS = tuple(sum(count for count, _, _ in _STAGES[: stage + 1]) - 1 for stage in range(len(_STAGES)))
_MEAN = (122.782, 117.001, 104.298)  # RGB of 0 to 255, subtracted before dividing by 256


@dataclass(frozen=True)
class DlibResNetShape(NetworkShape):
    """The layout is fixed, so there is nothing to choose."""

    layout_name: ClassVar[str | None] = LAYOUT
    embedding: int = EMBEDDING_SIZE


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut without weights.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, no fewer than ``in_channels``.
        halves: Whether the first convolution has a stride of 2; the shortcut is then a 2×2 average pool.
    """

    def __init__(self, in_channels: int, out_channels: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(x)))  # (batch, out_channels, h, w)
        shortcut = F.avg_pool2d(x, 2) if self.halves else x  # (batch, in_channels, h', w')
        height, width = (max(branch.shape[axis], shortcut.shape[axis]) for axis in (2, 3))
        # dlib adds tensors of different shapes as if the smaller were padded with zeros.
        return F.relu(
            _padded(branch, branch.shape[1], height, width) + _padded(shortcut, branch.shape[1], height, width)
        )


def _padded(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    missing = (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1])
    return F.pad(x, missing) if any(missing) else x


class DlibResNet(nn.Module):
    """Image (batch, 3, 150, 150), RGB in [-1, 1] → embedding (batch, 128) of length 1, float32."""

    mean: Tensor
    whitening_mean: Tensor
    whitening: Tensor

    def __init__(self, shape: DlibResNetShape) -> None:
        super().__init__()
        self.shape, self.size, self.embedding = shape, SIZE, shape.embedding
        self.stem = nn.Conv2d(3, _STEM_WIDTH, 7, 2)
        self.blocks = nn.ModuleList(_blocks())
        self.head = nn.Linear(_STAGES[-1][1], shape.embedding, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("whitening_mean", torch.zeros(shape.embedding))
        self.register_buffer("whitening", torch.eye(shape.embedding))

    def forward(self, image: Tensor) -> Tensor:
        return self.features_and_embedding(image)[1]

    def features_and_embedding(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what each stage makes of ``image``, finest first: a metric of how faces look; and the embedding."""
        features, descriptor = self._features_and_descriptor(image)
        return features, F.normalize((descriptor - self.whitening_mean) @ self.whitening, dim=1)

    def descriptor(self, image: Tensor) -> Tensor:
        """Return dlib's own descriptor (batch, 128) of ``image``, before whitening and of any length, float32."""
        return self._features_and_descriptor(image)[1]

    def _features_and_descriptor(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        x = ((image + 1) * 127.5 - self.mean) / 256  # (batch, 3, 150, 150)
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)  # (batch, 32, 35, 35)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _STAGE_ENDS:
                features.append(x)  # 32 × 35², 64 × 17², 128 × 8², 256 × 4², 256 × 2²
        return features, self.head(x.mean(dim=(2, 3))).float()


def _blocks() -> Iterator[ResidualBlock]:
    channels = _STEM_WIDTH
    for count, width, halves in _STAGES:
        for index in range(count):
            yield ResidualBlock(channels, width, halves and index == 0)
            channels = width
