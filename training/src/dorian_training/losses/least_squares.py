"""Least-squares adversarial losses (Mao et al. 2017, LSGAN), on scores of any shape: 1 stands for real, 0 for fake."""

from __future__ import annotations

from torch import Tensor


def real_score_loss(scores: Tensor) -> Tensor:
    """Mean of (score - 1)²: small where ``scores`` say real. Also the translator's loss on its own images."""
    return (scores - 1).square().mean()


def fake_score_loss(scores: Tensor) -> Tensor:
    """Mean of score²: small where ``scores`` say fake."""
    return scores.square().mean()
