"""The age estimator: a small convolutional network that gives a distribution over years, as DEX does (Rothe et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dorian_training.checkpoint import load_network, load_weights, require_network
from dorian_training.networks.shape import NetworkShape

SIZE = 64
YEARS = 101  # bins of one year, 0 to 100


@dataclass(frozen=True)
class AgeEstimatorShape(NetworkShape):
    """3×3 convolutions of ``widths`` channels, of which those with stride 2 halve the map; batch-normalised."""

    widths: tuple[int, ...] = (32, 64, 96, 96, 192, 192, 208, 208)
    strides: tuple[int, ...] = (2, 1, 2, 1, 2, 1, 2, 1)
    dropout: float = 0.3


class AgeEstimator(nn.Module):
    """Image (batch, 3, 64, 64), RGB in [-1, 1] → logits (batch, 101) over ages of 0 to 100 whole years."""

    def __init__(self, shape: AgeEstimatorShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for outputs, stride in zip(shape.widths, shape.strides, strict=True):
            layers += [nn.Conv2d(width, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            width = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(shape.dropout), nn.Linear(width, YEARS)
        )

    def forward(self, image: Tensor) -> Tensor:
        features = self.features(image)  # (batch, widths[-1], 4, 4)
        logits: Tensor = self.head(features)  # (batch, 101)
        return logits


def expected_age(logits: Tensor) -> Tensor:
    """Return years (batch,): the mean of the distribution that ``logits`` (batch, 101) stand for (Rothe et al. 2018, §3.3)."""
    years = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return logits.softmax(dim=1) @ years


def load_age_estimator(path: Path) -> AgeEstimator:
    """Load the EMA of the age estimator of the checkpoint at ``path``, for inference; ``CheckpointError`` if it has none."""
    weights, metadata = load_weights(path)
    require_network(weights, "age_estimator_ema")  # before its shape is read: any checkpoint has one
    network = AgeEstimator(AgeEstimatorShape.from_dict(metadata["shape"]))
    load_network(network, weights, "age_estimator_ema")
    return network.eval()
