"""The landmark refiner: a small network that places 73 points on a detected face, and says how much of the face can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.alignment import DEFAULT_TEMPLATE, AlignmentTemplate
from dorian_bundle.mesh import POINTS
from dorian_training.networks.shape import NetworkShape

SIZE = 96
ZOOM = 0.8  # how large the face appears in a view, against a crop: what is around it tells where it is


@dataclass(frozen=True)
class LandmarkRefinerShape(NetworkShape):
    """Channels at a half and a quarter of the view's side (``fine``), an eighth (``middle``), a sixteenth and less (``coarse``).

    ``depth``: 3×3 convolutions at an eighth, after the one that leads there.
    """

    fine: tuple[int, int] = (16, 32)
    middle: int = 80
    coarse: int = 128
    depth: int = 3


def view_template() -> AlignmentTemplate:
    """Return where the landmarks of a view lie if those that it is aligned by are right."""
    return DEFAULT_TEMPLATE.zoomed(ZOOM)


class LandmarkRefiner(nn.Module):
    """View (batch, 3, 96, 96), RGB in [-1, 1] → points (batch, 73, 2) and the logit of the visible share (batch,).

    Points are x and y as fractions of the view's side. Each is the mean position under a heat map of its own, normalised by
    a softmax (Nibali et al. 2018), so that positions are finer than the cells of the map, and a correction that is linear
    in the coarse features, for points that are out of sight or outside of the view.
    """

    cell_centres: Tensor

    def __init__(self, shape: LandmarkRefinerShape) -> None:
        super().__init__()
        half, quarter = shape.fine
        self.stem = nn.Sequential(*_convolution(3, half, 2), *_convolution(half, quarter, 2))
        middle = [layer for _ in range(shape.depth) for layer in _convolution(shape.middle, shape.middle)]
        self.middle = nn.Sequential(*_convolution(quarter, shape.middle, 2), *middle)
        self.lateral = nn.Conv2d(shape.middle, quarter, 1)
        self.fine = nn.Sequential(*_convolution(quarter, quarter))
        self.maps = nn.Conv2d(quarter, POINTS, 1)
        self.coarse = nn.Sequential(
            *_convolution(shape.middle, shape.coarse, 2), *_convolution(shape.coarse, shape.coarse, 2), nn.Flatten()
        )
        coarse = shape.coarse * (SIZE // 32) ** 2
        self.corrections = nn.Linear(coarse, POINTS * 2)
        self.visibility = nn.Linear(coarse, 1)
        nn.init.zeros_(self.corrections.weight)
        nn.init.zeros_(self.corrections.bias)
        line = (torch.arange(SIZE // 4) + 0.5) / (SIZE // 4)
        down, across = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cell_centres", torch.stack([across, down], dim=-1).reshape(-1, 2), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(image)  # (batch, fine, 24, 24)
        middle = self.middle(fine)  # (batch, middle, 12, 12)
        fine = self.fine(fine + F.interpolate(self.lateral(middle), scale_factor=2.0, mode="nearest"))
        weights = self.maps(fine).float().flatten(2).softmax(dim=2)  # (batch, 73, cells)
        # Not a product of matrices, which autocast would round.
        means = (weights[..., None] * self.cell_centres.float()).sum(dim=2)  # (batch, 73, 2)
        coarse = self.coarse(middle)  # (batch, coarse features)
        corrections = self.corrections(coarse).float().unflatten(1, (POINTS, 2))
        return means + corrections, self.visibility(coarse).float()[:, 0]


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
