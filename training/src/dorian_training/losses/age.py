"""Losses of an age distribution against a label that is a year or a bracket of years."""

from __future__ import annotations

import torch
from torch import Tensor

from dorian_training.networks.age_estimator import expected_age

_LONGEST_BRACKET = 16  # years of an open bracket, as 70 and older, that are common


def age_likelihood(logits: Tensor, low: Tensor, high: Tensor, blur: float, even: float = 0.0) -> Tensor:
    """Return the mean negative log-likelihood of labels from ``low`` to ``high`` whole years (batch,) under ``logits`` (batch, years).

    A bracket is any year of it, or, by the share ``even``, all of its years alike. A single year is spread as a Gaussian of
    ``blur`` years, since no face tells its birthday.
    """
    years = torch.arange(logits.shape[1], device=logits.device, dtype=logits.dtype)
    logs = logits.log_softmax(dim=1)
    low, high = (bound.to(logits.dtype).clamp(0, logits.shape[1] - 1)[:, None] for bound in (low, high))
    inside = (years >= low) & (years <= high)
    any_year = -logs.masked_fill(~inside, -torch.inf).logsumexp(dim=1)
    likely = inside & (years < low + _LONGEST_BRACKET)
    all_years = -(logs * likely).sum(dim=1) / likely.sum(dim=1)
    bracket = (1 - even) * any_year + even * all_years
    weights = (-0.5 * ((years - low) / blur) ** 2).softmax(dim=1)
    single = -(weights * logs).sum(dim=1)
    return torch.where(low[:, 0] == high[:, 0], single, bracket).mean()


def years_outside(logits: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the mean distance in years of the expected age from the label's bracket; 0 inside it."""
    age = expected_age(logits)
    return ((low - age).clamp(min=0) + (age - high).clamp(min=0)).mean()
