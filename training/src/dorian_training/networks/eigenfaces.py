"""Eigenfaces (Sirovich and Kirby 1987; Turk and Pentland 1991), from which an autoencoder can begin: the linear part of an encoder and of a generator.

Latents are coordinates along the directions in which faces differ most, each in units of its own spread: over faces they
have a mean of 0 and a variance of 1, as the standard normal from which new faces are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.errors import ConfigError
from dorian_training.networks.layers import resizing

_REACH = 0.97  # of tanh: pixels are as this much of their value, since those at the very ends would be infinitely far
_RIDGE = 1e-3  # of the mean variance of a pixel, so that pixels that are all but the same have no huge weights


class EigenEncoder(nn.Module):
    """Image (batch, 3, n·side, n·side) in [-1, 1] → latent (batch, latent), from its means over squares of n pixels. It does not learn."""

    weight: Tensor
    bias: Tensor

    def __init__(self, latent: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("weight", torch.zeros(latent, 3 * side * side))
        self.register_buffer("bias", torch.zeros(latent))

    def forward(self, image: Tensor) -> Tensor:
        return F.linear(_flat(image, self.side), self.weight, self.bias)


class EigenGenerator(nn.Module):
    """Latent (batch, latent) → image (batch, 3, size, size) before tanh, smooth, of a resolution of ``side``. It does not learn."""

    weight: Tensor
    bias: Tensor
    rows: Tensor

    def __init__(self, latent: int, side: int, size: int) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("weight", torch.zeros(3 * side * side, latent))
        self.register_buffer("bias", torch.zeros(3 * side * side))
        self.register_buffer("rows", resizing(side, size), persistent=False)

    def forward(self, latent: Tensor) -> Tensor:
        small = F.linear(latent, self.weight, self.bias).view(-1, 3, self.side, self.side)
        rows = self.rows.to(small)
        return rows @ small @ rows.T


@dataclass(frozen=True)
class Eigenfaces:
    """What ``fit_eigenfaces`` found: what an ``EigenEncoder`` and an ``EigenGenerator`` are to load."""

    encoder: dict[str, Tensor]
    generator: dict[str, Tensor]


@torch.no_grad()
def fit_eigenfaces(images: Tensor, latent: int, side: int) -> Eigenfaces:
    """Fit the ``latent`` directions in which ``images`` (faces, 3, n·side, n·side), in [-1, 1], and their mirror images differ most.

    They are found before tanh, the encoder by least squares. ``ConfigError`` if there are not more faces than directions.
    """
    faces = torch.cat([_flat(images, side), _flat(images.flip(3), side)]).float()
    if len(faces) <= latent:
        raise ConfigError(f"{len(images)} faces do not differ in {latent} ways; latents of this size need more faces")
    targets = torch.atanh(faces * _REACH)
    middle = targets.mean(dim=0)
    variances, directions = torch.linalg.eigh((targets - middle).T @ (targets - middle) / len(faces))
    spread = variances[-latent:].flip(0).clamp(min=1e-12).sqrt()
    directions = directions[:, -latent:].flip(1)
    coordinates = (targets - middle) @ directions / spread
    mean = faces.mean(dim=0)
    covariance = (faces - mean).T @ (faces - mean) / len(faces)
    covariance += torch.eye(len(mean)) * (_RIDGE * covariance.diagonal().mean())
    weight = torch.linalg.solve(covariance, (faces - mean).T @ coordinates / len(faces)).T
    return Eigenfaces(
        encoder={"weight": weight.contiguous(), "bias": -weight @ mean},
        generator={"weight": (directions * spread).contiguous(), "bias": middle},
    )


def _flat(image: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(image, image.shape[2] // side).flatten(1)
