"""Losses of the networks that read faces, against their closed forms in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dorian_training.losses.age import PeopleBias, age_likelihood, years_outside

SINGLE, BRACKET = ([37], [37]), ([30], [39])


def likelihood(logits: Tensor, low: list[int], high: list[int], blur: float = 2.0) -> float:
    return float(age_likelihood(logits, torch.tensor(low), torch.tensor(high), blur))


def test_all_years_alike_tell_nothing_of_a_year_and_something_of_a_bracket() -> None:
    assert likelihood(torch.zeros(1, 101), *SINGLE) == pytest.approx(math.log(101), rel=1e-6)
    assert likelihood(torch.zeros(1, 101), *BRACKET) == pytest.approx(math.log(101 / 10), rel=1e-6)
    assert likelihood(torch.zeros(1, 101), [0], [116]) == pytest.approx(0, abs=1e-6)


def test_a_bracket_is_any_year_of_it_and_a_year_a_gaussian() -> None:
    logits = torch.randn(3, 101, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    low, high = [30, 62, 0], [39, 62, 0]
    p = np.exp(logits.numpy())
    p /= p.sum(axis=1, keepdims=True)
    expected = [-math.log(p[0, 30:40].sum())]
    for row in (1, 2):
        weights = np.exp(-((np.arange(101) - low[row]) ** 2) / (2 * 1.5**2))
        expected.append(-float((weights / weights.sum()) @ np.log(p[row])))
    assert likelihood(logits, low, high, blur=1.5) == pytest.approx(np.mean(expected), rel=1e-9)


def test_certainty_within_a_bracket_costs_nothing_and_outside_it_much() -> None:
    certain = torch.zeros(1, 101)
    certain[0, 34] = 100.0
    assert likelihood(certain, *BRACKET) == pytest.approx(0, abs=1e-6)
    assert likelihood(certain, [35], [44]) > 90


def test_a_year_costs_least_where_the_belief_is_its_gaussian() -> None:
    years = torch.arange(101.0)

    def cost(centre: float, spread: float) -> float:
        return likelihood((-0.5 * ((years - centre) / spread) ** 2)[None], *SINGLE, blur=3.0)

    entropy = math.log(3 * math.sqrt(2 * math.pi * math.e))
    assert cost(37, 3) == pytest.approx(entropy, rel=1e-4)
    assert min(cost(36, 3), cost(38, 3), cost(37, 2), cost(37, 4)) > cost(37, 3)


def test_ages_beyond_the_last_year_count_as_it() -> None:
    logits = torch.randn(1, 101)
    assert likelihood(logits, [110], [110]) == likelihood(logits, [100], [100])
    assert likelihood(logits, [90], [116]) == likelihood(logits, [90], [100])


def test_years_outside_are_counted_from_the_brackets_ends() -> None:
    certain = torch.full((4, 101), -1e4)
    for row, year in enumerate((20, 35, 44, 39)):
        certain[row, year] = 0
    low, high = torch.full((4,), 30), torch.full((4,), 39)
    assert float(years_outside(certain, low, high)) == pytest.approx((10 + 0 + 5 + 0) / 4)


# --- bias against people ---


def count_people(bias: PeopleBias, read: Tensor, label: Sequence[int], kind: int) -> Tensor:
    """The loss of faces of one ``label`` and ``kind``."""
    low, high = (torch.full((len(read),), year) for year in label)
    return bias.loss(read, low, high, torch.full((len(read),), kind))


def test_bias_is_by_how_much_people_are_read_off_further_than_others_of_their_decade() -> None:
    bias = PeopleBias(3, torch.device("cpu"))
    count_people(bias, torch.tensor([40.0, 44.0]), (30, 39), 0)  # 7.5 years too old
    count_people(bias, torch.tensor([31.0]), (30, 39), 1)  # 3.5 too young
    count_people(bias, torch.tensor([80.0]), (50, 59), 1)  # alone in its decade
    count_people(bias, torch.tensor([10.0]), (30, 39), -1)  # of unknown kind
    expected = torch.zeros(13, 3)
    expected[3, :2] = torch.tensor([5.5, -5.5])
    assert torch.allclose(bias.biases(), expected, atol=1e-5)


def test_bias_follows_the_last_fifty_faces_and_is_carried_on() -> None:
    bias = PeopleBias(2, torch.device("cpu"))
    count_people(bias, torch.full((50,), 30.0), (30, 30), 0)
    count_people(bias, torch.full((500,), 40.0), (30, 30), 1)
    count_people(bias, torch.full((50,), 50.0), (30, 30), 1)
    old = 1 - 0.98**500
    kept = 0.98**50
    mean = (kept * old * 10 + (1 - kept) * 20) / (kept * old + 1 - kept)
    assert bias.biases()[3].tolist() == pytest.approx([-mean / 2, mean / 2], rel=1e-5)
    resumed = PeopleBias(2, torch.device("cpu"))
    resumed.load_state_dict(bias.state_dict())
    assert torch.equal(resumed.biases(), bias.biases())


def test_readings_go_against_the_bias_and_unknown_people_do_not() -> None:
    bias = PeopleBias(2, torch.device("cpu"))
    count_people(bias, torch.tensor([36.0]), (30, 30), 0)
    read = torch.tensor([32.0, 30.0, 90.0], requires_grad=True)
    label = torch.tensor([30, 30, 30])
    loss = bias.loss(read, label, label, torch.tensor([1, 1, -1]))
    off = bias.biases()[3]
    assert off[0] == -off[1] > 0
    assert float(loss.detach()) == pytest.approx(2 / 3 * float(off[1]) ** 2, rel=1e-5)
    loss.backward()
    assert read.grad is not None
    assert read.grad.tolist() == pytest.approx([2 / 3 * float(off[1])] * 2 + [0.0], rel=1e-5)
