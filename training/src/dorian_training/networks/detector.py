"""The face detector: a single-shot, anchor-free network of the size of YuNet (Wu et al. 2023), of plain 3×3 convolutions.

Maps at strides 8, 16 and 32 share one head. Each cell tells whether a face's centre lies there, and the face's box and
landmarks as seen from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.shape import NetworkShape

STRIDES = (8, 16, 32)
CHANNELS = 15  # score, box (4), landmarks (10)


@dataclass(frozen=True)
class DetectorShape(NetworkShape):
    """``stem`` channels at strides 2 and 4; ``widths`` at 8, 16 and 32, with ``depths`` convolutions each; ``neck`` in the head."""

    stem: tuple[int, int] = (16, 32)
    widths: tuple[int, ...] = (48, 96, 128)
    depths: tuple[int, ...] = (2, 2, 3)
    neck: int = 48


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Detector(nn.Module):
    """Image (batch, 3, height, width), RGB in [-1, 1], sides multiples of 32 → three maps (batch, 15, rows, columns).

    Channels: logit of the score, then in strides from the cell's centre: the box's centre (x, y), the logarithms of its
    width and height, and five landmarks (x, y).
    """

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        first, second = shape.stem
        self.stem = nn.Sequential(_convolution(3, first, 2), _convolution(first, second, 2))
        self.stages = nn.ModuleList()
        width = second
        for outputs, depth in zip(shape.widths, shape.depths, strict=True):
            layers = [_convolution(width, outputs, 2)] + [_convolution(outputs, outputs) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*layers))
            width = outputs
        self.laterals = nn.ModuleList(nn.Conv2d(width, shape.neck, 1) for width in shape.widths)
        self.head = nn.Sequential(_convolution(shape.neck, shape.neck), nn.Conv2d(shape.neck, CHANNELS, 1))
        last = self.head[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias[0] = -4.6  # one cell in a hundred holds a face: what to believe before anything is learnt

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.stem(image)
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            features = stage(features)
            levels.append(lateral(features))
        for index in range(len(levels) - 2, -1, -1):
            levels[index] = levels[index] + F.interpolate(levels[index + 1], scale_factor=2.0, mode="nearest")
        return tuple(self.head(level) for level in levels)


@dataclass(frozen=True)
class Cells:
    """What all cells of a batch say, level by level in one row. In pixels: cell ``centres`` (cells, 2) and ``strides`` (cells,).

    ``score`` logits (batch, cells), ``boxes`` as centre and size (batch, cells, 4), ``landmarks`` (batch, cells, 5, 2).
    """

    centres: Tensor
    strides: Tensor
    score: Tensor
    boxes: Tensor
    landmarks: Tensor


def read_cells(maps: tuple[Tensor, ...]) -> Cells:
    """The cells of the detector's three ``maps``. A cell's centre lies half a stride into it."""
    centres, strides, values = [], [], []
    for stride, level in zip(STRIDES, maps, strict=True):
        batch, _, rows, columns = level.shape
        down, across = torch.meshgrid(
            torch.arange(rows, device=level.device), torch.arange(columns, device=level.device), indexing="ij"
        )
        centres.append((torch.stack([across, down], dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride), device=level.device))
        values.append(level.float().permute(0, 2, 3, 1).reshape(batch, rows * columns, CHANNELS))
    centre, scale, value = torch.cat(centres), torch.cat(strides), torch.cat(values, dim=1)
    middle = centre + value[..., 1:3] * scale[:, None]
    size = value[..., 3:5].clamp(-6, 6).exp() * scale[:, None]
    points = value[..., 5:].reshape(*value.shape[:2], 5, 2)
    landmarks = centre[:, None] + points * scale[:, None, None]
    return Cells(centre, scale, value[..., 0], torch.cat([middle, size], dim=-1), landmarks)
