"""Which faces lend which levels of their style while a generator learns: as served, by one reference, a mean of several, or a shift."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dorian_bundle.style_levels import PRESETS

_OLDEST = 90.0
FIRST_LEVEL = 5  # below it lies the shape of the head
_MEAN_OF = 5
_AGE_KERNEL = 4.0  # years; spread of the Gaussian by which means are smoothed
_PRESETS = tuple(groups[0] for groups in PRESETS.values() if len(groups) == 1)


class StyleMix(NamedTuple):
    """``features`` (batch, style) that lend ``levels`` (batch, levels; true: lent), and the ``age`` (batch,) that results."""

    features: Tensor
    levels: Tensor
    age: Tensor


def draw_mix(features: Tensor, source: Tensor, age_means: Tensor, levels: int, spread: float) -> StyleMix:
    """Draw what is mixed into each face of a batch, by torch's own random generator.

    A third each: another face of the batch; the mean of the five nearest to it in age; the face itself, shifted by the
    difference of the means of two ages. Half of the faces take all levels from the fifth on, half a preset; the fewer
    levels, the smaller the part of the way to the other age.

    Args:
        features: Whitened features of the faces, (batch, style).
        source: Their ages in years, (batch,).
        age_means: Mean features at every whole year, (years, style).
        levels: Levels of the generator.
        spread: Standard deviation in years by which ages to shift to are shaken.
    """
    batch, device = len(source), source.device
    others = torch.randperm(batch, device=device)
    distance = (source[others][:, None] - source[None]).abs()  # (batch, batch)
    nearest = distance.topk(min(_MEAN_OF, batch), largest=False).indices  # (batch, 5)
    target = (source[others] + spread * torch.randn_like(source)).clamp(0.5, _OLDEST)
    shifted = features + mean_at(age_means, target) - mean_at(age_means, source)
    kind = torch.randint(3, (batch,), device=device)
    choices = torch.stack([features[others], features[nearest].mean(dim=1), shifted])  # (3, batch, style)
    ages = torch.stack([source[others], source[nearest].mean(dim=1), target])  # (3, batch)
    rows = torch.arange(batch, device=device)
    lent = torch.stack([_draw_levels(levels) for _ in range(batch)]).to(device)
    share = lent.float().mean(dim=1) * levels / (levels - FIRST_LEVEL + 1)
    return StyleMix(choices[kind, rows], lent, source + share * (ages[kind, rows] - source))


def mean_at(age_means: Tensor, age: Tensor) -> Tensor:
    """Return the rows of ``age_means`` (years, ...) at ``age`` (batch,), in a line between whole years: (batch, ...)."""
    position = age.clamp(0, len(age_means) - 1)
    below = position.floor().clamp(max=len(age_means) - 2).long()
    share = (position - below).view(-1, *[1] * (age_means.ndim - 1))
    return torch.lerp(age_means[below], age_means[below + 1], share)


def fit_age_means(features: Tensor, brackets: Tensor, women: np.ndarray, years: int) -> Tensor:
    """Return the mean features at every year from 0 to ``years``, (years + 1, style).

    Faces count at the years near their own by a Gaussian of 4 years, women and men for the same, so that a shift of age is
    none of gender; where there are faces of one gender alone, these count.

    Args:
        features: (faces, style).
        brackets: First and last year that each face may be of, (faces, 2).
        women: Which faces are women's, bool (faces,).
        years: The last year.
    """
    year = torch.arange(years + 1, dtype=torch.float32)[:, None]
    low, high = brackets[:, 0].float(), brackets[:, 1].float() + 1
    outside = (low - year).clamp(min=0) + (year - high).clamp(min=0)  # (years, faces)
    weight = torch.exp(-0.5 * (outside / _AGE_KERNEL).square()) / (high - low)
    means = []
    for selected in (torch.from_numpy(women), torch.from_numpy(~women)):
        if not selected.any():
            continue
        part = weight * selected
        means.append(part @ features / part.sum(dim=1, keepdim=True).clamp(min=1e-6))
    return torch.stack(means).mean(dim=0)


def _draw_levels(levels: int) -> Tensor:
    lent = torch.zeros(levels, dtype=torch.bool)
    if levels != 12 or torch.rand(()) < 0.5:
        lent[FIRST_LEVEL - 1 :] = True
    else:
        preset = _PRESETS[int(torch.randint(len(_PRESETS), ()))]
        lent[[level - 1 for level in preset]] = True
    return lent
