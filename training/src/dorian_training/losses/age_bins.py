"""Adversarial terms of a discriminator with one output per span of ages, of which the first is centred on half a span.

Logits are (batch, bins), ages in years, ``years`` the width of a span.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def age_logit(logits: Tensor, age: Tensor, years: float) -> Tensor:
    """Return the logit (batch,) at ``age`` (batch,): between the centres of two spans, a straight line."""
    bins = logits.shape[1]
    position = (age / years - 0.5).clamp(0, bins - 1)
    below = position.floor().clamp(max=bins - 2).long()
    share = (position - below).to(logits.dtype)
    pair = logits.gather(1, torch.stack([below, below + 1], dim=1))
    return torch.lerp(pair[:, 0], pair[:, 1], share)


def wrong_age_loss(logits: Tensor, low: Tensor, high: Tensor, years: float, distance: float) -> Tensor:
    """Return the loss by which real faces are fakes for every span whose centre lies more than ``distance`` years from their own age.

    Their age is somewhere from ``low`` to ``high`` (batch,). The mean of -log(1 - σ) over those spans; without it the age
    stays a weak condition, because telling real from drawn is easier than telling ages apart.
    """
    centres = (torch.arange(logits.shape[1], device=logits.device) + 0.5) * years
    wrong = (centres < low[:, None] - distance) | (centres > high[:, None] + distance)
    return (F.softplus(logits) * wrong).sum() / wrong.sum().clamp(min=1)
