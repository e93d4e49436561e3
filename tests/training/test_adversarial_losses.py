"""Adversarial losses against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dorian_training.losses.adversarial import fake_loss, group_logit, r1_penalty, real_loss, wrong_group_loss


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_a_logit_of_zero_is_a_coin_toss() -> None:
    zero = torch.zeros(5)
    assert float(real_loss(zero)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(fake_loss(zero)) == pytest.approx(math.log(2), rel=1e-6)


def test_real_and_fake_losses_are_means_of_logarithms() -> None:
    logits = torch.tensor([-3.0, 0.5, 2.0])
    assert float(real_loss(logits)) == pytest.approx((softplus(3) + softplus(-0.5) + softplus(-2)) / 3, rel=1e-6)
    assert float(fake_loss(logits)) == pytest.approx((softplus(-3) + softplus(0.5) + softplus(2)) / 3, rel=1e-6)


def test_certain_logits_neither_overflow_nor_vanish() -> None:
    assert float(real_loss(torch.tensor([-500.0]))) == 500.0
    assert float(fake_loss(torch.tensor([500.0]))) == 500.0
    assert float(real_loss(torch.tensor([500.0]))) == 0.0


def test_the_own_logit_is_that_of_the_group_or_the_only_one() -> None:
    logits = torch.arange(12.0).reshape(3, 4)
    assert group_logit(logits, torch.tensor([2, 0, 3])).tolist() == [2.0, 4.0, 11.0]
    assert group_logit(logits[:, :1], torch.tensor([2, 0, 3])).tolist() == [0.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("distance", "pairs"),
    [
        (0, [(r, c) for r in range(2) for c in range(4)]),
        (1, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)]),
        (2, [(0, 2), (0, 3), (1, 0)]),
        (3, [(0, 3)]),
    ],
)
def test_wrong_groups_count_from_the_distance_on(distance: int, pairs: list[tuple[int, int]]) -> None:
    logits = torch.tensor([[0.1, -1.0, 2.0, 0.7], [-0.3, 1.5, 0.2, -2.0]])  # of the groups 0 and 2
    expected = sum(softplus(float(logits[pair])) for pair in pairs) / len(pairs)
    assert float(wrong_group_loss(logits, torch.tensor([0, 2]), distance)) == pytest.approx(expected, rel=1e-6)


def test_no_wrong_groups_no_loss() -> None:
    assert float(wrong_group_loss(torch.ones(2, 4), torch.tensor([1, 2]), 4)) == 0.0


def test_wrong_groups_leave_the_own_and_neighbouring_logits_alone() -> None:
    logits = torch.zeros(1, 5, requires_grad=True)
    wrong_group_loss(logits, torch.tensor([2]), 2).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.25, 0.0, 0.0, 0.0, 0.25]]


def test_r1_of_a_linear_logit_is_the_norm_of_its_weight() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.0], [4.0, 4.0, -1.0, 2.0], [4.0, 4.0, -1.0, 2.0], [0.0, 0.0, 5.0, 0.0]])
    image = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    penalty = r1_penalty(lambda given: (given.flatten(1) * weight).sum(dim=1) + 7, image)
    assert float(penalty.detach()) == (14 + 37 + 37 + 25) / 4
    assert not image.requires_grad


def test_r1_is_taken_at_the_images_it_is_given() -> None:
    image = torch.tensor([1.0, 2.0, -3.0, 0.5]).reshape(1, 1, 2, 2)
    penalty = r1_penalty(lambda given: given.square().flatten(1).sum(dim=1) / 2, image)
    assert float(penalty.detach()) == 1 + 4 + 9 + 0.25


def test_r1_trains_the_discriminator() -> None:
    weight = torch.tensor([1.0, -2.0, 3.0, 0.5], requires_grad=True)
    r1_penalty(lambda image: image.flatten(1) @ weight, torch.zeros(3, 1, 2, 2)).backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, 2 * weight.detach())
