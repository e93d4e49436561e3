"""The landmark refiner: a small network that locates the five landmarks of a detected face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE, AlignmentTemplate
from dorian_training.networks.shape import NetworkShape

SIZE = 64
ZOOM = 0.8  # how large the face appears in a view, against a crop: what is around it tells where it is


@dataclass(frozen=True)
class LandmarkRefinerShape(NetworkShape):
    """Two 3×3 convolutions of stride 2 to ``stem`` channels, then one of ``width`` for each of ``dilations``, at a quarter of the size."""

    stem: tuple[int, int] = (24, 48)
    width: int = 64
    dilations: tuple[int, ...] = (1, 2, 4)


def view_template() -> AlignmentTemplate:
    """Return where the landmarks of a view lie if those that it is aligned by are right."""
    return DEFAULT_TEMPLATE.zoomed(ZOOM)


class LandmarkRefiner(nn.Module):
    """View (batch, 3, 64, 64), RGB in [-1, 1] → landmarks (batch, 5, 2), x and y as fractions of the view's side.

    Each is the mean position under a heat map of its own, normalised by a softmax (Nibali et al. 2018), so that positions
    are finer than the cells of the map.
    """

    cell_centres: Tensor

    def __init__(self, shape: LandmarkRefinerShape) -> None:
        super().__init__()
        first, second = shape.stem
        layers = [*_convolution(3, first, 2), *_convolution(first, second, 2)]
        width = second
        for dilation in shape.dilations:
            layers += _convolution(width, shape.width, dilation=dilation)
            width = shape.width
        self.features = nn.Sequential(*layers)
        self.maps = nn.Conv2d(width, 5, 1)
        side = SIZE // 4
        line = (torch.arange(side) + 0.5) / side
        down, across = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cell_centres", torch.stack([across, down], dim=-1).reshape(-1, 2), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        weights = self.maps(self.features(image)).float().flatten(2).softmax(dim=2)  # (batch, 5, cells)
        # Not a product of matrices, which autocast would round.
        landmarks: Tensor = (weights[..., None] * self.cell_centres.float()).sum(dim=2)  # (batch, 5, 2)
        return landmarks


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
