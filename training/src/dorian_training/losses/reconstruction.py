"""Losses between an image and its reconstruction, and on the latent between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def charbonnier(difference: Tensor, epsilon: float = 0.1) -> Tensor:
    """Return the mean of √(d² + ε²) - ε: squared near zero, absolute far from it, so that a start at zero is no trap."""
    return (difference.square() + epsilon**2).sqrt().mean() - epsilon


def feature_distance(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of the mean squared difference, each layer measured in units of its target's mean square."""
    distances = [
        (feature.float() - target.float()).square().mean() / target.float().square().mean().clamp(min=1e-6)
        for feature, target in zip(features, targets, strict=True)
    ]
    return torch.stack(distances).mean()


def latent_norm_penalty(latent: Tensor) -> Tensor:
    """Return the squared deviation of mean z² (per row) from 1, its value for the standard normal that G was trained on; mean."""
    return (latent.float().square().mean(dim=1) - 1).square().mean()


def latent_divergence(latent: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) of each dimension's mean and variance over the batch (batch, latent); mean over dimensions."""
    variance, mean = torch.var_mean(latent.float(), dim=0, correction=0)
    divergence: Tensor = (mean.square() + variance - 1 - variance.clamp(min=1e-6).log()) / 2
    return divergence.mean()
