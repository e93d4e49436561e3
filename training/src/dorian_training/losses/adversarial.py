"""Adversarial losses: non-saturating logistic (Goodfellow et al. 2014), R1, wrong-age negatives, and least squares (Mao et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def group_logit(logits: Tensor, group: Tensor) -> Tensor:
    """Return the logit (batch,) that judges each image as one of its ``group`` (batch,), of ``logits`` (batch, 1 or groups)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits.gather(1, group[:, None])[:, 0]


def real_loss(logit: Tensor) -> Tensor:
    """Return the mean -log σ(logit): small where ``logit`` says real. Also the generator's loss on its own images."""
    return F.softplus(-logit).mean()


def fake_loss(logit: Tensor) -> Tensor:
    """Return the mean -log(1 - σ(logit)): small where ``logit`` says fake."""
    return F.softplus(logit).mean()


def wrong_group_loss(logits: Tensor, group: Tensor, distance: int) -> Tensor:
    """Return the loss by which real images are fakes for the groups ``distance`` or more away from their own ``group`` (batch,).

    ``logits`` (batch, groups). The mean of ``fake_loss`` over those pairs; without it the condition stays weak, because
    telling real from generated is easier than telling ages apart.
    """
    columns = torch.arange(logits.shape[1], device=logits.device)
    wrong = (columns[None] - group[:, None]).abs() >= distance
    return (F.softplus(logits) * wrong).sum() / wrong.sum().clamp(min=1)


def r1_penalty(logit_of: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Return R1 (Mescheder et al. 2018): the mean squared norm of the gradient of the own logit at real images (batch, 3, h, w).

    ``logit_of`` takes the images to the logit (batch,) of each.
    """
    image = image.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(logit_of(image).sum(), image, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def real_score_loss(scores: Tensor) -> Tensor:
    """Return the mean of (score - 1)² of ``scores`` of any shape: small where they say real. Also the translator's loss on its own images."""
    return (scores - 1).square().mean()


def fake_score_loss(scores: Tensor) -> Tensor:
    """Return the mean of score² of ``scores`` of any shape: small where they say fake."""
    return scores.square().mean()
