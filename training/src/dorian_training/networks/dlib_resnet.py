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

# Blocks and channels of each stage. All but the first halve the resolution in their first block.
STAGE_BLOCKS = (3, 4, 3, 3, 1)
STAGE_WIDTHS = (32, 64, 128, 256, 256)
_MEAN = (122.782, 117.001, 104.298)  # RGB of 0 to 255, subtracted before dividing by 256


@dataclass(frozen=True)
class DlibResNetShape(NetworkShape):
    """``blocks`` and ``widths`` of each stage, and the ``size`` of the image; dlib's own unless given."""

    layout_name: ClassVar[str | None] = LAYOUT
    embedding: int = EMBEDDING_SIZE
    size: int = SIZE
    blocks: tuple[int, ...] = STAGE_BLOCKS
    widths: tuple[int, ...] = STAGE_WIDTHS


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut without weights.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, no fewer than ``in_channels``.
        halves: Whether the first convolution has a stride of 2; the shortcut is then a 2×2 average pool.
    """

    def __init__(self, in_channels: int, out_channels: int, halves: bool) -> None:
        super().__init__()
        self.shortcut = nn.AvgPool2d(2) if halves else nn.Identity()
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(x)))  # (batch, out_channels, h, w)
        shortcut = self.shortcut(x)  # (batch, in_channels, h', w')
        height, width = (max(branch.shape[axis], shortcut.shape[axis]) for axis in (2, 3))
        # dlib adds tensors of different shapes as if the smaller were padded with zeros.
        return F.relu(
            _padded(branch, branch.shape[1], height, width) + _padded(shortcut, branch.shape[1], height, width)
        )


def _padded(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    missing = (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1])
    return F.pad(x, missing) if any(missing) else x


class DlibTrunk(nn.Module):
    """The convolutions: image (batch, 3, size, size), RGB in [-1, 1] → feature maps of each stage.

    Args:
        size: Side of the image, large enough to be halved by every stage.
        blocks: Residual blocks of each stage.
        widths: Channels of each stage; no stage has fewer than the one before.
    """

    offset: Tensor

    def __init__(
        self, size: int = SIZE, blocks: tuple[int, ...] = STAGE_BLOCKS, widths: tuple[int, ...] = STAGE_WIDTHS
    ) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Conv2d(3, widths[0], 7, 2)
        self.pool = nn.MaxPool2d(3, 2)
        self.blocks = nn.ModuleList(_blocks(blocks, widths))
        self._stage_ends = tuple(sum(blocks[: stage + 1]) - 1 for stage in range(len(blocks)))
        offset = (127.5 - torch.tensor(_MEAN)) / 256
        self.register_buffer("offset", offset.view(1, 3, 1, 1), persistent=False)

    def stages(self, image: Tensor) -> list[Tensor]:
        """Return what each stage makes of ``image``, finest first; dlib's: 32 × 35², 64 × 17², 128 × 8², 256 × 4², 256 × 2²."""
        x = image * (127.5 / 256) + self.offset  # (batch, 3, size, size)
        x = self.pool(F.relu(self.stem(x)))  # (batch, widths[0], h, h)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._stage_ends:
                features.append(x)
        return features


class DlibResNet(DlibTrunk):
    """Image (batch, 3, size, size), RGB in [-1, 1] → embedding (batch, embedding) of length 1, float32."""

    whitening_mean: Tensor
    whitening: Tensor

    def __init__(self, shape: DlibResNetShape) -> None:
        super().__init__(shape.size, shape.blocks, shape.widths)
        self.shape, self.embedding = shape, shape.embedding
        self.head = nn.Linear(shape.widths[-1], shape.embedding, bias=False)
        self.register_buffer("whitening_mean", torch.zeros(shape.embedding))
        self.register_buffer("whitening", torch.eye(shape.embedding))

    def forward(self, image: Tensor) -> Tensor:
        return self.features_and_embedding(image)[1]

    def features_and_embedding(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what each stage makes of ``image``, finest first: a metric of how faces look; and the embedding."""
        features = self.stages(image)
        descriptor = self._descriptor(features)
        centred = descriptor - self.whitening_mean.float()
        # Not a product of matrices, which autocast would round.
        whitened = (centred[:, :, None] * self.whitening.float()).sum(dim=1)  # (batch, embedding)
        return features, F.normalize(whitened, dim=1)

    def descriptor(self, image: Tensor) -> Tensor:
        """Return dlib's own descriptor (batch, embedding) of ``image``, before whitening and of any length, float32."""
        return self._descriptor(self.stages(image))

    def _descriptor(self, features: list[Tensor]) -> Tensor:
        return self.head(features[-1].mean(dim=(2, 3))).float()  # type: ignore[no-any-return]


def _blocks(counts: tuple[int, ...], widths: tuple[int, ...]) -> Iterator[ResidualBlock]:
    channels = widths[0]
    for stage, (count, width) in enumerate(zip(counts, widths, strict=True)):
        for index in range(count):
            yield ResidualBlock(channels, width, halves=stage > 0 and index == 0)
            channels = width
