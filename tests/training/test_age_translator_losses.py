"""The age translator's losses against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dorian_training.losses.age_bins import age_logit, wrong_age_loss
from dorian_training.losses.translation import broad_imbalance, broad_tint, identity_loss, similarity_hinge

LOGITS = (1.0, -2.0, 4.0, 0.5)  # of spans of ten years, centred on 5, 15, 25 and 35
GREY = (1.0, 1.0, 1.0)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# --- spans of ages ---


@pytest.mark.parametrize(
    ("age", "logit"),
    [
        (5, 1.0),
        (15, -2.0),
        (25, 4.0),
        (35, 0.5),
        (20, (-2 + 4) / 2),
        (7.5, 0.75 * 1 + 0.25 * -2),
        (34, 0.1 * 4 + 0.9 * 0.5),
        (0, 1.0),
        (4.9, 1.0),
        (35.1, 0.5),
        (120, 0.5),
    ],
)
def test_a_logit_lies_straight_between_centres_and_level_beyond(age: float, logit: float) -> None:
    assert age_logit(torch.tensor([LOGITS]), torch.tensor([float(age)]), 10.0).tolist() == [pytest.approx(logit)]


def test_every_face_has_the_logit_of_its_own_age() -> None:
    logits = torch.arange(12.0).reshape(3, 4)
    assert age_logit(logits, torch.tensor([25.0, 5.0, 30.0]), 10.0).tolist() == [2.0, 4.0, 10.5]
    assert age_logit(logits, torch.tensor([10.0, 2.0, 12.0]), 4.0).tolist() == [2.0, 4.0, 10.5]


def test_a_logit_pulls_at_the_two_spans_that_it_lies_between() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    age_logit(logits, torch.tensor([17.5]), 10.0).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0.75, 0.25, 0]]


def wrong_spans(low: int, high: int, distance: float = 12.0) -> list[int]:
    """The spans of eight years, of twelve, whose logits a face between these ages pulls at."""
    logits = torch.zeros(1, 12, requires_grad=True)
    wrong_age_loss(logits, torch.tensor([float(low)]), torch.tensor([float(high)]), 8.0, distance).backward()
    assert logits.grad is not None
    return torch.nonzero(logits.grad[0]).ravel().tolist()


@pytest.mark.parametrize(
    ("low", "high", "right"),
    [
        (20, 29, [1, 2, 3, 4]),  # FairFace's twenties; centres of 12 to 36, and none of 4 or of 44 and above
        (30, 39, [2, 3, 4, 5]),
        (70, 116, [7, 8, 9, 10, 11]),
        (0, 2, [0, 1]),
        (32, 32, [2, 3, 4, 5]),  # centres of 20 and 44 are twelve years away: not more
        (33, 33, [3, 4, 5]),
        (31, 31, [2, 3, 4]),
        (0, 116, list(range(12))),
    ],
)
def test_spans_are_wrong_when_centred_far_from_all_of_a_bracket(low: int, high: int, right: list[int]) -> None:
    assert wrong_spans(low, high) == [span for span in range(12) if span not in right]


def test_how_far_is_wrong_is_in_years() -> None:
    assert wrong_spans(28, 28, distance=7.0) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert wrong_spans(28, 28, distance=40.0) == [9, 10, 11]


def test_wrong_ages_cost_the_mean_over_all_wrong_spans() -> None:
    logits = torch.tensor([[0.1, -1.0, 2.0, 0.7], [-0.3, 1.5, 0.2, -2.0]])  # of 0 to 9, and of 25
    low, high = torch.tensor([0.0, 25.0]), torch.tensor([9.0, 25.0])
    wrong = [2.0, 0.7, -0.3]  # 25 and 35 for the one, 5 for the other
    expected = sum(map(softplus, wrong)) / len(wrong)
    assert float(wrong_age_loss(logits, low, high, 10.0, 12.0)) == pytest.approx(expected, rel=1e-6)


def test_no_wrong_ages_no_loss() -> None:
    assert float(wrong_age_loss(torch.ones(2, 4), torch.zeros(2), torch.full((2,), 90.0), 10.0, 5.0)) == 0.0


# --- the person ---


@pytest.mark.parametrize(
    ("similarity", "change", "loss"),
    [
        (1.0, 0.0, 0.0),
        (0.95, 0.0, 0.0),
        (0.9, 0.0, 0.1 - 0.05),
        (0.5, 25.0, 0.5 - 0.05 - 0.175),
        (0.5, -25.0, 0.5 - 0.05 - 0.175),
        (0.7, 25.0, 0.3 - 0.225),
        (0.0, 50.0, 1 - 0.4),
        (0.0, -85.0, 1 - 0.4),
        (0.6, 50.0, 0.0),
        (-1.0, 0.0, 1.95),
    ],
)
def test_a_person_may_differ_as_far_as_the_years_allow(similarity: float, change: float, loss: float) -> None:
    result = identity_loss(torch.tensor([similarity]), torch.tensor([change]), floor=0.05, allowed=0.35)
    assert float(result) == pytest.approx(loss, abs=1e-6)


def test_what_one_person_leaves_unused_is_no_other_persons() -> None:
    similarity, change = torch.tensor([1.0, 0.5, 0.9]), torch.tensor([50.0, 0.0, 50.0])
    assert float(identity_loss(similarity, change, 0.05, 0.35)) == pytest.approx(0.45 / 3)


# --- tint and balance ---


def flat(*colour: float, side: int = 96) -> Tensor:
    return torch.tensor(colour)[:, None, None].expand(1, 3, side, side).clone()


@pytest.mark.parametrize("side", [64, 96])
def test_light_is_no_tint(side: int) -> None:
    light = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(0)).expand(2, 3, side, side)
    assert float(broad_tint(light)) == pytest.approx(0, abs=1e-12)


def test_a_tint_costs_the_square_of_its_distance_from_grey() -> None:
    middle = (0.3 - 0.1 + 0.4) / 3
    expected = ((0.3 - middle) ** 2 + (-0.1 - middle) ** 2 + (0.4 - middle) ** 2) / 3
    assert float(broad_tint(flat(0.3, -0.1, 0.4))) == pytest.approx(expected, rel=1e-5)
    assert float(broad_tint(flat(0.8, 0.4, 0.9))) == pytest.approx(expected, rel=1e-5)  # in another light
    assert float(broad_tint(torch.cat([flat(0.3, -0.1, 0.4), flat(*GREY)]))) == pytest.approx(expected / 2, rel=1e-5)


def test_blotches_are_tints_and_fine_colour_is_none() -> None:
    blotch, fine = torch.zeros(1, 3, 96, 96), torch.zeros(1, 3, 96, 96)
    blotch[:, 0, 24:36, 48:60] = 0.9  # one of the 64 patches, red: 0.6, -0.3, -0.3 from grey
    assert float(broad_tint(blotch)) == pytest.approx((0.36 + 0.09 + 0.09) / 3 / 64, rel=1e-5)
    fine[:, 0, ::2], fine[:, 0, 1::2] = 0.9, -0.9
    assert float(broad_tint(fine)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("side", [64, 96])
def test_a_face_that_changes_alike_on_both_sides_is_in_balance(side: int) -> None:
    half = torch.randn(2, 3, side, side // 2, generator=torch.Generator().manual_seed(0))
    assert float(broad_imbalance(torch.cat([half, half.flip(3)], dim=3))) == pytest.approx(0, abs=1e-12)
    upside_down = torch.cat([half, half], dim=3)
    assert float(broad_imbalance(upside_down)) > 1e-4


def test_a_two_toned_face_costs_the_square_of_what_lies_between_its_sides() -> None:
    delta = flat(*GREY) * 0.1
    delta[:, :, :, 48:] = -0.2
    assert float(broad_imbalance(delta)) == pytest.approx(0.09, rel=1e-5)
    assert float(broad_imbalance(delta.transpose(2, 3))) == pytest.approx(0, abs=1e-12)  # top and bottom may differ
    assert float(broad_imbalance(torch.cat([delta, flat(*GREY)]))) == pytest.approx(0.045, rel=1e-5)


def test_fine_lines_on_one_side_leave_a_face_in_balance() -> None:
    delta = torch.zeros(1, 3, 96, 96)
    delta[:, :, ::2, :48], delta[:, :, 1::2, :48] = 0.9, -0.9
    assert float(broad_imbalance(delta)) == pytest.approx(0, abs=1e-12)


# --- similarity of real photographs years apart ---


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (0, 0.67 + 0.25),
        (-10, 0.603 + 0.25),
        (40, 0.402 + 0.25),
        (45, 0.67 - 0.0067 * 45 + 0.185),
        (-50, 0.335 + 0.12),
        (80, 0.33 + 0.12),
    ],
)
def test_faces_are_to_be_more_alike_than_photographs_years_apart(change: float, wanted: float) -> None:
    for similarity in (wanted + 0.05, wanted - 0.05, 0.1):
        loss = similarity_hinge(torch.tensor([similarity]), torch.tensor([float(change)]), 0.25, 0.12)
        assert float(loss) == pytest.approx(max(0.0, wanted - similarity), abs=1e-6)


def test_a_hinge_is_the_mean_over_faces() -> None:
    loss = similarity_hinge(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.0]), 0.25, 0.12)
    assert float(loss) == pytest.approx(0.21)
