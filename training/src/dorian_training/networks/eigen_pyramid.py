"""A pyramid of eigenfaces: what of a face is linear, coarse to fine, as a code that no training changes.

Each level has principal components of what the levels below it leave over at its resolution (a closed loop), in units of
their spread over the faces that it was fitted on: numbers of a code have a mean of 0 and a variance of 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.errors import ConfigError
from dorian_training.networks.style_layers import doubled

_POWER_STEPS = 6
_CHUNK = 512


class EigenPyramid(nn.Module):
    """Image (batch, 3, size, size) in [-1, 1] ↔ code (batch, sum of ``counts``); see ``fit_pyramid``.

    Args:
        sides: Sides in pixels, each twice the one before.
        counts: Components of each side.
    """

    def __init__(self, sides: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__()
        self.sides, self.counts = tuple(sides), tuple(counts)
        for side, count in zip(self.sides, self.counts, strict=True):
            self.register_buffer(f"mean_{side}", torch.zeros(3 * side * side))
            self.register_buffer(f"basis_{side}", torch.zeros(count, 3 * side * side))  # rows of length 1
            self.register_buffer(f"spread_{side}", torch.ones(count))

    def encode(self, image: Tensor) -> Tensor:
        """Return the code (batch, numbers) of ``image``, whose side is a multiple of every level's."""
        codes: list[Tensor] = []
        below: Tensor | None = None
        for side in self.sides:
            residual = F.avg_pool2d(image.float(), image.shape[2] // side)  # (batch, 3, side, side)
            if below is not None:
                residual = residual - doubled(below)
            mean, basis, spread = self._level(side)
            codes.append((residual.flatten(1) - mean) @ basis.T / spread)
            below = self._add(side, codes[-1], below)
        return torch.cat(codes, dim=1)

    def decode(self, code: Tensor) -> list[Tensor]:
        """Return the face at every level's resolution, coarsest first: (batch, 3, side, side) each."""
        faces: list[Tensor] = []
        for side, part in zip(self.sides, torch.split(code.float(), list(self.counts), dim=1), strict=True):
            faces.append(self._add(side, part, faces[-1] if faces else None))
        return faces

    def _add(self, side: int, code: Tensor, below: Tensor | None) -> Tensor:
        mean, basis, spread = self._level(side)
        face = ((code * spread) @ basis + mean).view(-1, 3, side, side)
        return face if below is None else face + doubled(below)

    def _level(self, side: int) -> tuple[Tensor, Tensor, Tensor]:
        mean, basis, spread = (getattr(self, f"{name}_{side}").float() for name in ("mean", "basis", "spread"))
        return mean, basis, spread


@torch.no_grad()
def fit_pyramid(pyramid: EigenPyramid, images: Tensor) -> None:
    """Fit ``pyramid`` to ``images`` (faces, 3, size, size), in [-1, 1], and their mirror images.

    Components are found by subspace iteration, so that no matrix of pixels by pixels is formed.

    Raises:
        ConfigError: If there are not more faces than components of a side.
    """
    if 2 * len(images) <= max(pyramid.counts):
        raise ConfigError(
            f"{len(images)} faces do not differ in {max(pyramid.counts)} ways; the pyramid needs more faces"
        )
    below: Tensor | None = None
    for side, count in zip(pyramid.sides, pyramid.counts, strict=True):
        pooled = torch.cat([F.avg_pool2d(part, part.shape[2] // side) for part in torch.split(images, _CHUNK)])
        faces = torch.cat([pooled, pooled.flip(3)])  # (2 · faces, 3, side, side)
        flat = (faces if below is None else faces - doubled(below)).flatten(1)
        mean = flat.mean(dim=0)
        flat = flat - mean
        basis = torch.linalg.qr(torch.randn(flat.shape[1], count, generator=torch.Generator().manual_seed(side)))[0]
        for _ in range(_POWER_STEPS):
            basis = torch.linalg.qr(flat.T @ (flat @ basis))[0]
        _, directions = torch.linalg.eigh((flat @ basis).T @ (flat @ basis))
        basis = (basis @ directions).flip(1)  # (pixels, count), widest first
        code = flat @ basis
        spread = code.square().mean(dim=0).sqrt().clamp(min=1e-6)
        getattr(pyramid, f"mean_{side}").copy_(mean)
        getattr(pyramid, f"basis_{side}").copy_(basis.T)
        getattr(pyramid, f"spread_{side}").copy_(spread)
        below = (code @ basis.T + mean).view(-1, 3, side, side) + (0 if below is None else doubled(below))
