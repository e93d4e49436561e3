"""The hair segmenter: a small U-Net that says of each pixel around a face whether it is hair or beard."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.shape import NetworkShape


@dataclass(frozen=True)
class HairSegmenterShape(NetworkShape):
    """Channels at the view's side, a half, a quarter, an eighth and a sixteenth of it."""

    channels: tuple[int, int, int, int, int] = (8, 16, 32, 48, 64)


class HairSegmenter(nn.Module):
    """View (batch, 3, size, size), RGB in [-1, 1] → logits of hair and of beard (batch, 2, size, size); ``size`` is a multiple of 16.

    A U-Net (Ronneberger et al. 2015) whose halves are added, not joined.
    """

    def __init__(self, shape: HairSegmenterShape) -> None:
        super().__init__()
        first, *deeper = shape.channels
        self.stem = _convolutions(3, first)
        self.down = nn.ModuleList(
            _convolutions(above, here, stride=2) for above, here in zip(shape.channels[:-1], deeper, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(here, above, 1) for above, here in zip(shape.channels[:-1], deeper, strict=True)
        )
        self.merge = nn.ModuleList(_convolutions(above, above) for above in shape.channels[:-1])
        self.head = nn.Conv2d(first, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        scales = [self.stem(image)]  # (batch, channels, side, side) of each scale, the finest first
        for layer in self.down:
            scales.append(layer(scales[-1]))
        features = scales.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            features = merge(scales.pop() + F.interpolate(up(features), scale_factor=2.0, mode="nearest"))
        logits: Tensor = self.head(features)
        return logits


def _convolutions(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs, stride), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
