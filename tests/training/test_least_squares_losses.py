"""The least-squares adversarial losses, in closed form."""

from __future__ import annotations

import pytest
import torch

from dorian_training.losses.adversarial import fake_score_loss, real_score_loss


def test_scores_are_held_against_one_and_nought() -> None:
    scores = torch.tensor([[0.0, 1.0], [3.0, -1.0]])
    assert float(real_score_loss(scores)) == pytest.approx((1 + 0 + 4 + 4) / 4)
    assert float(fake_score_loss(scores)) == pytest.approx((0 + 1 + 9 + 1) / 4)


def test_nothing_is_lost_where_scores_are_right() -> None:
    assert float(real_score_loss(torch.ones(2, 1, 3, 5))) == 0
    assert float(fake_score_loss(torch.zeros(2, 1, 3, 5))) == 0


def test_every_patch_counts_alike_whatever_the_map() -> None:
    scores = torch.randn(4, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    for loss in (real_score_loss, fake_score_loss):
        assert float(loss(scores)) == pytest.approx(float(loss(scores.flatten())))
        assert float(loss(scores)) == pytest.approx(
            sum(float(loss(patch)) for patch in scores.flatten()) / 120, rel=1e-5
        )


def test_what_is_far_off_is_drawn_back_harder() -> None:
    """The gradient grows with the distance and never dies out, as it would behind a sigmoid."""
    scores = torch.tensor([-9.0, 1.0, 2.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(real_score_loss(scores), scores)
    assert gradient.tolist() == pytest.approx([-20 / 3, 0, 2 / 3])
    (gradient,) = torch.autograd.grad(fake_score_loss(scores), scores)
    assert gradient.tolist() == pytest.approx([-6, 2 / 3, 4 / 3])
