"""Adversarial losses on logits: non-saturating logistic (Goodfellow et al. 2014), R1, and negatives of the wrong age."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def own_logit(logits: Tensor, group: Tensor) -> Tensor:
    """The logit (batch,) that judges each image as one of its ``group`` (batch,), of ``logits`` (batch, 1 or groups)."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits.gather(1, group[:, None])[:, 0]


def real_loss(logit: Tensor) -> Tensor:
    """-log σ(logit), mean: small where ``logit`` says real. Also the generator's loss on its own images."""
    return F.softplus(-logit).mean()


def fake_loss(logit: Tensor) -> Tensor:
    """-log(1 - σ(logit)), mean: small where ``logit`` says fake."""
    return F.softplus(logit).mean()


def wrong_group_loss(logits: Tensor, group: Tensor, distance: int) -> Tensor:
    """Real images are fakes for the groups ``distance`` or more away from their own ``group`` (batch,).

    ``logits`` (batch, groups). The mean of ``fake_loss`` over those pairs; without it the condition stays weak, because
    telling real from generated is easier than telling ages apart.
    """
    columns = torch.arange(logits.shape[1], device=logits.device)
    wrong = (columns[None] - group[:, None]).abs() >= distance
    return (F.softplus(logits) * wrong).sum() / wrong.sum().clamp(min=1)


def r1_penalty(logit_of: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): mean squared norm of the gradient of the own logit at real images (batch, 3, h, w).

    ``logit_of`` takes the images to the logit (batch,) of each.
    """
    image = image.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(logit_of(image).sum(), image, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
