"""What a change of age may not touch: who the person is, the tint of the face, and its balance of left and right.

Deltas are (batch, 3, size, size) in the units of images in [-1, 1], already under the face's mask.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_COARSE = 8  # cells along a side in which broad colour and light are looked at
_LIFE = 50.0  # years of change for which all that is allowed is allowed


def identity_loss(similarity: Tensor, change: Tensor, floor: float, allowed: float) -> Tensor:
    """Return how far the cosine ``similarity`` (batch,) of embeddings falls below what ``change`` (batch,) in years allows; mean.

    Allowed is a distance (1 - similarity) of ``floor``, growing in a line by ``allowed`` up to 50 years.
    """
    bound = floor + allowed * (change.abs() / _LIFE).clamp(max=1)
    return (1 - similarity - bound).clamp(min=0).mean()


def tint(delta: Tensor) -> Tensor:
    """Return the mean square of the colour, apart from light, that ``delta`` has anywhere."""
    return (delta - delta.mean(dim=1, keepdim=True)).square().mean()


def broad_tint(delta: Tensor) -> Tensor:
    """Return the mean square of the colour, apart from light, that ``delta`` has in broad patches: tints and blotches."""
    broad = F.adaptive_avg_pool2d(delta, _COARSE)
    return (broad - broad.mean(dim=1, keepdim=True)).square().mean()


def broad_imbalance(delta: Tensor) -> Tensor:
    """Return the mean square of the difference between ``delta`` and its mirror image in broad patches: two-toned faces."""
    broad = F.adaptive_avg_pool2d(delta, _COARSE)
    return (broad - broad.flip(3)).square().mean()
