"""Age estimators: networks that give a distribution over years, as DEX does (Rothe et al. 2018).

The one that bundles carry is dlib's recognition network, fine-tuned; a compact one starts discriminators of ages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dorian_training.checkpoint import load_network, load_weights, require_network
from dorian_training.errors import CheckpointError
from dorian_training.networks.dlib_resnet import STAGE_WIDTHS, DlibTrunk
from dorian_training.networks.layers import at_side
from dorian_training.networks.shape import NetworkShape

COMPACT_SIZE = 64
DLIB_LAYOUT = "dlib_age_v1"
YEARS = 101  # bins of one year, 0 to 100


@dataclass(frozen=True)
class CompactAgeEstimatorShape(NetworkShape):
    """3×3 convolutions of ``widths`` channels, of which those with stride 2 halve the map; batch-normalised."""

    widths: tuple[int, ...] = (32, 64, 96, 96, 192, 192, 208, 208)
    strides: tuple[int, ...] = (2, 1, 2, 1, 2, 1, 2, 1)
    dropout: float = 0.3


class CompactAgeEstimator(nn.Module):
    """Image (batch, 3, 64, 64), RGB in [-1, 1] → logits (batch, 101) over ages of 0 to 100 whole years."""

    size = COMPACT_SIZE

    def __init__(self, shape: CompactAgeEstimatorShape) -> None:
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


@dataclass(frozen=True)
class DlibAgeEstimatorShape(NetworkShape):
    """The layout of the trunk is fixed; ``dropout`` is before the only layer of the head."""

    layout_name: ClassVar[str | None] = DLIB_LAYOUT
    dropout: float = 0.3


class DlibAgeEstimator(DlibTrunk):
    """Image (batch, 3, 150, 150), RGB in [-1, 1] → logits (batch, 101) over ages of 0 to 100 whole years.

    A linear layer on the mean features of the last two stages, the finer of which sees wrinkles.
    """

    def __init__(self, shape: DlibAgeEstimatorShape) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(shape.dropout), nn.Linear(sum(STAGE_WIDTHS[-2:]), YEARS))

    def forward(self, image: Tensor) -> Tensor:
        pooled = [features.mean(dim=(2, 3)) for features in self.stages(image)[-2:]]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))  # (batch, 101)
        return logits


AgeEstimator = CompactAgeEstimator | DlibAgeEstimator
AgeEstimatorShape = CompactAgeEstimatorShape | DlibAgeEstimatorShape


def build_age_estimator(shape: AgeEstimatorShape) -> AgeEstimator:
    """Return an age estimator of ``shape``, without trained weights."""
    if isinstance(shape, DlibAgeEstimatorShape):
        return DlibAgeEstimator(shape)
    return CompactAgeEstimator(shape)


def age_estimator_shape(values: dict[str, Any]) -> AgeEstimatorShape:
    """Return the shape whose ``as_dict`` gave ``values``; one without a layout is the compact network's.

    Raises:
        CheckpointError: The layout is unknown.
    """
    match values.get("layout"):
        case None:
            return CompactAgeEstimatorShape.from_dict(values)
        case str(layout) if layout == DLIB_LAYOUT:
            return DlibAgeEstimatorShape.from_dict(values)
        case other:
            raise CheckpointError(f"unknown layout {other!r} of an age estimator; known: {DLIB_LAYOUT}, or none")


def expected_age(logits: Tensor) -> Tensor:
    """Return years (batch,): the mean of the distribution that ``logits`` (batch, 101) stand for (Rothe et al. 2018, §3.3)."""
    years = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return logits.softmax(dim=1) @ years


def age_spread(logits: Tensor) -> Tensor:
    """Return years (batch,): the standard deviation of the distribution that ``logits`` (batch, 101) stand for."""
    years = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    deviation = years - expected_age(logits)[:, None]  # (batch, 101)
    return (logits.softmax(dim=1) * deviation.square()).sum(dim=1).sqrt()


def read_ages(estimator: AgeEstimator, image: Tensor) -> Tensor:
    """Return the ages (batch,) in years that ``estimator`` reads of ``image`` (batch, 3, side, side), in [-1, 1]."""
    return expected_age(estimator(at_side(image, estimator.size)).float())


def load_age_estimator(path: Path) -> AgeEstimator:
    """Load the EMA of the age estimator of the checkpoint at ``path``, for inference; ``CheckpointError`` if it has none."""
    weights, metadata = load_weights(path)
    require_network(weights, "age_estimator_ema")  # before its shape is read: any checkpoint has one
    network = build_age_estimator(age_estimator_shape(metadata["shape"]))
    load_network(network, weights, "age_estimator_ema")
    return network.eval()


def load_compact_age_estimator(path: Path) -> CompactAgeEstimator:
    """As ``load_age_estimator``, but ``CheckpointError`` for another layout than the compact one."""
    network = load_age_estimator(path)
    if not isinstance(network, CompactAgeEstimator):
        raise CheckpointError(f"{path} holds an age estimator of another layout than the compact one")
    return network
