"""The compact FaceNet that ships: a small residual network from an aligned crop to a point on the unit sphere.

FaceNet's mapping (Schroff et al. 2015) in the size of MobileFaceNet (Chen et al. 2018), whose global depthwise convolution
it takes over; plain 3×3 convolutions stand in for depthwise ones, since CPUs run them at a better rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.shape import NetworkShape

SIZE = 64


@dataclass(frozen=True)
class FaceNetShape(NetworkShape):
    """``stem`` channels at half resolution, then a halving stage of each of ``widths``, with ``blocks`` residual blocks each."""

    stem: int = 32
    widths: tuple[int, ...] = (96, 192, 224)
    blocks: tuple[int, ...] = (2, 2, 1)
    embedding: int = 128
    dropout: float = 0.2


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.rectify = nn.PReLU(outputs)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.rectify(self.branch(features) + self.shortcut(features))
        return result


class CompactFaceNet(nn.Module):
    """Image (batch, 3, 64, 64), RGB in [-1, 1] → embedding (batch, 128) of length 1; the same person's lie close."""

    def __init__(self, shape: FaceNetShape) -> None:
        super().__init__()
        self.size, self.embedding = SIZE, shape.embedding
        layers: list[nn.Module] = [
            nn.Conv2d(3, shape.stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(shape.stem),
            nn.PReLU(shape.stem),
        ]
        width = shape.stem
        for outputs, blocks in zip(shape.widths, shape.blocks, strict=True):
            for index in range(blocks):
                layers.append(ResidualBlock(width, outputs, 2 if index == 0 else 1))
                width = outputs
        self.features = nn.Sequential(*layers)
        side = SIZE >> (len(shape.widths) + 1)
        self.pool = nn.Sequential(nn.Conv2d(width, width, side, groups=width, bias=False), nn.BatchNorm2d(width))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(shape.dropout), nn.Linear(width, shape.embedding))

    def forward(self, image: Tensor) -> Tensor:
        return self.features_and_embedding(image)[1]

    def features_and_embedding(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each residual block makes of ``image``, finest first: a metric of how faces look; and the embedding."""
        features: list[Tensor] = []
        for layer in self.features:
            image = layer(image)
            if isinstance(layer, ResidualBlock):
                features.append(image)
        embedding: Tensor = self.head(self.pool(image))
        return features, F.normalize(embedding.float(), dim=1)
