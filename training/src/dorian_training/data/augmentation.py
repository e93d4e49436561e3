"""Augmentation of aligned crops, a batch at a time: the ways in which photographs of one face differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MARGIN = 1 / 16  # of a crop's side, on each side: what crops cut for training show beyond it, so that they can be moved


@dataclass(frozen=True)
class Augmentation:
    """How far crops are moved and changed. ``shift`` and ``scale`` as fractions of the side, ``turn`` in degrees.

    ``light``, ``contrast`` and ``saturation`` are the largest relative changes; ``grey``, ``coarse`` and ``erase`` the shares
    of faces that lose their colour, their resolution, and a rectangle.
    """

    shift: float = 0.04
    scale: float = 0.06
    turn: float = 7.0
    light: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.4
    grey: float = 0.05
    coarse: float = 0.2
    erase: float = 0.2


# Views that differ as photographs do, but not so far that a discriminator would take the changes for features of faces.
MILD_AUGMENTATION = Augmentation(
    shift=0.02, scale=0.03, turn=3.0, light=0.1, contrast=0.1, saturation=0.1, grey=0.02, coarse=0.0, erase=0.0
)


@dataclass(frozen=True)
class SharedChange:
    """One small shift and change of brightness and colour for all images that a discriminator compares: a mild DiffAugment.

    ``dx`` and ``dy`` from 0 to twice ``margin``, in pixels; ``light`` is added; ``colour`` multiplies what is not grey.
    """

    dx: int
    dy: int
    margin: int
    light: float
    colour: float = 1.0

    @classmethod
    def draw(cls, shift: int, brightness: float, saturation: float = 0.0) -> SharedChange:
        """Draw a change by torch's own random generator: up to ``shift`` pixels, ``brightness`` and ``saturation``, each way."""
        dx, dy = torch.randint(0, 2 * shift + 1, (2,)).tolist()
        light = brightness * float(torch.rand(()) * 2 - 1)
        return cls(dx, dy, shift, light, 1 + saturation * float(torch.rand(()) * 2 - 1) if saturation else 1.0)

    def __call__(self, image: Tensor) -> Tensor:
        if self.colour != 1:
            grey = image.mean(dim=1, keepdim=True)
            image = grey + (image - grey) * self.colour
        if not self.margin:
            return image + self.light
        height, width = image.shape[2:]
        padded = F.pad(image, (self.margin,) * 4, mode="reflect")
        return padded[:, :, self.dy : self.dy + height, self.dx : self.dx + width] + self.light


def augmented(images: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return ``size`` × ``size`` views of the centres of ``images``, float RGB in [-1, 1] (batch, 3, side, side), each changed.

    Mirrored at random, too. The sides of ``images`` are ``size`` and ``MARGIN`` of it on each side.
    """
    images = _moved(images, size, augmentation, generator)
    images = recoloured(images, augmentation, generator)
    images = coarsened(images, augmentation.coarse, generator)
    return _erased(images, augmentation.erase, generator).contiguous(memory_format=torch.channels_last)


def centred(images: Tensor, size: int) -> Tensor:
    """Return the unchanged ``size`` × ``size`` centres of ``images`` (batch, 3, side, side)."""
    margin = (images.shape[2] - size) // 2
    return images[:, :, margin : margin + size, margin : margin + size].contiguous(memory_format=torch.channels_last)


def _between(low: float, high: float, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return (low + (high - low) * torch.rand(count, generator=generator)).to(device)


def _moved(images: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    count, device = len(images), images.device
    part = size / images.shape[2]
    angle = _between(-augmentation.turn, augmentation.turn, count, generator, device) * (math.pi / 180)
    scale = part * (1 + _between(-augmentation.scale, augmentation.scale, count, generator, device))
    mirror = torch.where(_between(0, 1, count, generator, device) < 0.5, -1.0, 1.0)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    across = _between(-2 * augmentation.shift, 2 * augmentation.shift, count, generator, device)
    down = _between(-2 * augmentation.shift, 2 * augmentation.shift, count, generator, device)
    rows = torch.stack([cosine * mirror, -sine, across, sine * mirror, cosine, down], dim=1).view(count, 2, 3)
    grid = F.affine_grid(rows, [count, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def recoloured(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return ``images`` with light, contrast and saturation changed, and some without colour; (batch, 3, height, width)."""
    count, device = len(images), images.device

    def spread_evenly(spread: float) -> Tensor:
        return _between(-spread, spread, count, generator, device)[:, None, None, None]

    grey = images.mean(dim=1, keepdim=True)
    keep_colour = torch.where(
        _between(0, 1, count, generator, device)[:, None, None, None] < augmentation.grey, 0.0, 1.0
    )
    images = grey + (images - grey) * keep_colour * (1 + spread_evenly(augmentation.saturation))
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return (
        middle + (images - middle) * (1 + spread_evenly(augmentation.contrast)) + spread_evenly(augmentation.light)
    ).clamp(-1, 1)


def coarsened(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return ``images`` of which about a ``share`` has lost resolution, down to a third; (batch, 3, size, size)."""
    selected = torch.rand(len(images), generator=generator) < share
    if not selected.any():
        return images
    size = images.shape[2]
    side = int(torch.randint(size // 3, size, (1,), generator=generator))
    selected = selected.to(images.device)
    small = F.interpolate(images[selected], (side, side), mode="area")
    images[selected] = F.interpolate(small, (size, size), mode="bilinear")
    return images


def _erased(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    size = images.shape[2]
    for index in torch.nonzero(torch.rand(len(images), generator=generator) < share).ravel().tolist():
        height, width = torch.randint(size // 8, size // 2, (2,), generator=generator).tolist()
        top = int(torch.randint(0, size - height, (1,), generator=generator))
        left = int(torch.randint(0, size - width, (1,), generator=generator))
        images[index, :, top : top + height, left : left + width] = (
            torch.rand(3, 1, 1, generator=generator).to(images.device) * 2 - 1
        )
    return images
