"""What a change of age may not touch: who the person is, the tint of the face, and its balance of left and right.

Deltas are (batch, 3, size, size) in the units of images in [-1, 1], already under the face's mask.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_COARSE = 8  # cells along a side in which broad colour and light are looked at
_LIFE = 50.0  # years of change for which all that is allowed is allowed
# Similarity of two photographs of one adult, by whitened dlib: .67, less .0067 for each year between them, .33 at least.
_SIMILAR, _LOST_PER_YEAR, _LEAST_SIMILAR = 0.67, 0.0067, 0.33
_LONG = 40.0  # years of change from which the margin shrinks, until it is that of ``_LIFE``


def identity_loss(similarity: Tensor, change: Tensor, floor: float, allowed: float) -> Tensor:
    """Return how far the cosine ``similarity`` (batch,) of embeddings falls below what ``change`` (batch,) in years allows; mean.

    Allowed is a distance (1 - similarity) of ``floor``, growing in a line by ``allowed`` up to 50 years.
    """
    bound = floor + allowed * (change.abs() / _LIFE).clamp(max=1)
    return (1 - similarity - bound).clamp(min=0).mean()


def similarity_hinge(similarity: Tensor, change: Tensor, margin: float, long_margin: float) -> Tensor:
    """Return how far ``similarity`` (batch,) falls below that of two photographs ``change`` years apart and a margin; mean.

    Args:
        similarity: Cosines of embeddings by the whitened FaceNet.
        change: Years from source to target, (batch,), of either sign.
        margin: How much more than real photographs faces are to be alike, as a drawing keeps pose, light and expression.
        long_margin: The same at 50 years and more; between 40 and 50 years it shrinks in a line.
    """
    years = change.abs()
    share = ((years - _LONG) / (_LIFE - _LONG)).clamp(0, 1)
    wanted = (_SIMILAR - _LOST_PER_YEAR * years).clamp(min=_LEAST_SIMILAR) + margin + (long_margin - margin) * share
    return (wanted - similarity).clamp(min=0).mean()


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
