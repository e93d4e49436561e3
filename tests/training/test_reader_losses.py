"""Losses of the networks that read faces, against their closed forms in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.losses.age import age_likelihood, years_outside
from dorian_training.losses.contrastive import supervised_contrastive
from dorian_training.losses.margin import MarginClassifier

SINGLE, BRACKET = ([37], [37]), ([30], [39])


def unit(rows: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


def likelihood(logits: Tensor, low: list[int], high: list[int], blur: float = 2.0) -> float:
    return float(age_likelihood(logits, torch.tensor(low), torch.tensor(high), blur))


# --- margin softmax ---


def margin_loss(classifier: MarginClassifier, embedding: Tensor, identity: Tensor, part: float = 1.0) -> float:
    return float(classifier(embedding, identity, part).detach())


@pytest.mark.parametrize(("part", "margin"), [(0.0, 0.0), (0.5, 0.1), (1.0, 0.2)])
def test_the_margin_is_taken_from_the_right_cosine_alone(part: float, margin: float) -> None:
    torch.manual_seed(0)
    classifier = MarginClassifier(embedding=6, identities=4, scale=8.0, margin=0.2)
    embedding, identity = unit(5, 1), [2, 0, 3, 3, 1]
    directions = classifier.directions.detach().double().numpy()
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = embedding.double().numpy() @ directions.T
    losses = []
    for row, own in zip(cosine, identity, strict=True):
        others = np.exp(8 * np.delete(row, own)).sum()
        top = math.exp(8 * (row[own] - margin))
        losses.append(-math.log(top / (top + others)))
    assert margin_loss(classifier, embedding, torch.tensor(identity), part) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_length_of_a_direction_does_not_count() -> None:
    classifier = MarginClassifier(6, 4, 30.0, 0.25)
    embedding, identity = unit(5, 1), torch.tensor([2, 0, 3, 3, 1])
    before = margin_loss(classifier, embedding, identity)
    with torch.no_grad():
        classifier.directions.mul_(torch.tensor([0.1, 3.0, 50.0, 7.0])[:, None])
    assert margin_loss(classifier, embedding, identity) == pytest.approx(before, rel=1e-5)


def test_faces_on_their_own_directions_cost_nothing() -> None:
    classifier = MarginClassifier(4, 4, 30.0, 0.25)
    with torch.no_grad():
        classifier.directions.copy_(torch.eye(4))
    assert margin_loss(classifier, torch.eye(4), torch.arange(4)) < 1e-8
    assert margin_loss(classifier, -torch.eye(4), torch.arange(4)) > 30


# --- contrast ---


def test_contrast_is_a_softmax_over_all_other_faces() -> None:
    embedding, identity, temperature = unit(7, 2), [0, 1, 0, 2, 1, 0, 3], 0.2
    logits = embedding.double().numpy() @ embedding.double().numpy().T / temperature
    losses = []
    for i, own in enumerate(identity):
        others = [j for j in range(7) if j != i]
        same = [j for j in others if identity[j] == own]
        total = math.log(sum(math.exp(logits[i, j]) for j in others))
        if same:  # who is alone has nobody to be near to
            losses.append(np.mean([total - logits[i, j] for j in same]))
    result = supervised_contrastive(embedding, torch.tensor(identity), temperature)
    assert len(losses) == 5
    assert float(result) == pytest.approx(np.mean(losses), rel=1e-5)


def test_faces_drawn_together_and_apart_from_others_cost_nothing() -> None:
    embedding = torch.eye(3).repeat_interleave(2, dim=0)
    identity = torch.arange(3).repeat_interleave(2)
    assert float(supervised_contrastive(embedding, identity, 0.02)) < 1e-8
    assert float(supervised_contrastive(embedding, identity.roll(1), 0.02)) == pytest.approx(50, abs=0.1)


def test_contrast_moves_faces_of_one_person_together() -> None:
    embedding = unit(6, 3).requires_grad_()
    identity = torch.tensor([0, 0, 1, 1, 2, 2])
    supervised_contrastive(embedding, identity, 0.2).backward()
    assert embedding.grad is not None
    moved = F.normalize(embedding.detach() - 0.05 * embedding.grad, dim=1)

    def spread(faces: Tensor) -> float:
        cosine, same = faces @ faces.T, identity[:, None] == identity[None]
        return float(cosine[same].mean() - cosine[~same].mean())

    assert spread(moved) > spread(embedding.detach())


# --- ages ---


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
