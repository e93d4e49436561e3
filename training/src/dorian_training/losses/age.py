"""Losses of an age distribution against a label that is a year or a bracket of years."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dorian_training.networks.age_estimator import expected_age

_LONGEST_BRACKET = 16  # years of an open bracket, as 70 and older, that are common
_DECADE = 10  # years
_DECADES = 13
_PACE = 0.02  # share of what is known of a cell's error that one more face replaces


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


class PeopleBias:
    """By how much people of each kind are read older or younger than others of the same decade, and a loss against it.

    A decade's faces are read too old or too young all alike where their age is hard to tell; what one kind of people is read off
    further than the others is unfair to them. Errors are running means over about 50 faces of each decade and kind, since a batch holds few.
    """

    def __init__(self, kinds: int, device: torch.device) -> None:
        self._errors = torch.zeros(_DECADES, kinds, device=device)
        self._shares = torch.zeros_like(self._errors)  # of a cell's running mean that has been seen, 0 to 1

    def loss(self, read: Tensor, low: Tensor, high: Tensor, kind: Tensor) -> Tensor:
        """Count faces, and return the mean square of the bias of their cells, in years².

        Its gradient is that of the faces' readings alone: those of people who are read too old get younger.

        Args:
            read: Ages in years that are read, (batch,).
            low: First whole year of each label, (batch,).
            high: Last whole year of each label, (batch,).
            kind: Which people a face belongs to, (batch,); -1 where that is unknown, which counts as no bias.
        """
        known = kind >= 0
        read, low, high, kind = read[known], low[known], high[known], kind[known].long()
        middle = (low + torch.minimum(high, low + _LONGEST_BRACKET)) / 2
        decade = (middle / _DECADE).long().clamp(max=_DECADES - 1)
        self._count(read.detach() - middle, decade, kind)
        bias = self.biases()[decade, kind]
        return (bias.square() + 2 * bias * (read - read.detach())).sum() / max(1, len(known))

    def biases(self) -> Tensor:
        """Return by how many years people are read older than others of their decade, (decades, kinds); 0 where none were seen."""
        seen = self._shares > 0
        errors = torch.where(seen, self._errors / self._shares, 0.0)
        of_decade = errors.sum(dim=1, keepdim=True) / seen.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.where(seen, errors - of_decade, 0.0)

    def _count(self, error: Tensor, decade: Tensor, kind: Tensor) -> None:
        counts, sums = torch.zeros_like(self._errors), torch.zeros_like(self._errors)
        counts.index_put_((decade, kind), torch.ones_like(error), accumulate=True)
        sums.index_put_((decade, kind), error, accumulate=True)
        kept = (1 - _PACE) ** counts
        self._errors = kept * self._errors + (1 - kept) * sums / counts.clamp(min=1)
        self._shares = kept * self._shares + (1 - kept)

    def state_dict(self) -> dict[str, Any]:
        return {"errors": self._errors, "shares": self._shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._errors, self._shares = state["errors"].to(self._errors), state["shares"].to(self._shares)
