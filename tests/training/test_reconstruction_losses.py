"""Reconstruction losses against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_divergence, latent_norm_penalty


def test_charbonnier_values() -> None:
    assert float(charbonnier(torch.zeros(2, 3))) == pytest.approx(0.0, abs=1e-7)
    difference = torch.tensor([[0.3, -0.4], [1.2, 0.0]])
    expected = sum(math.hypot(d, 0.5) for d in (0.3, 0.4, 1.2, 0.0)) / 4 - 0.5
    assert float(charbonnier(difference, epsilon=0.5)) == pytest.approx(expected, rel=1e-6)


def test_charbonnier_is_squared_near_zero_and_absolute_far_from_it() -> None:
    assert float(charbonnier(torch.tensor([0.004]))) == pytest.approx(0.004**2 / (2 * 0.1), rel=2e-3)
    assert float(charbonnier(torch.tensor([-50.0]))) == pytest.approx(50 - 0.1, rel=1e-5)


def test_equal_features_have_no_distance() -> None:
    features = [torch.randn(2, 3, 4, 4), torch.randn(2, 8)]
    assert float(feature_distance(features, [feature.clone() for feature in features])) == 0.0


def test_each_layer_counts_in_units_of_its_target() -> None:
    targets = [torch.tensor([[2.0, -2.0]]), torch.tensor([[100.0, 0.0]])]
    features = [torch.tensor([[3.0, -2.0]]), torch.tensor([[100.0, 50.0]])]
    assert float(feature_distance(features, targets)) == pytest.approx((0.5 / 4 + 1250 / 5000) / 2, rel=1e-6)
    scaled = feature_distance([f * 7 for f in features], [t * 7 for t in targets])
    assert float(scaled) == pytest.approx(float(feature_distance(features, targets)), rel=1e-6)


def test_half_precision_features_are_compared_in_single() -> None:
    features, targets = [torch.tensor([300.0, 0.0]).half()], [torch.tensor([0.0, 300.0]).half()]
    assert float(feature_distance(features, targets)) == pytest.approx(2.0)  # 300² overflows in half precision


def test_features_must_be_as_many_as_targets() -> None:
    with pytest.raises(ValueError, match="zip"):
        feature_distance([torch.zeros(1)], [torch.zeros(1), torch.zeros(1)])


def test_the_norm_penalty_measures_rows() -> None:
    latent = torch.tensor([[1.0, -1.0, 1.0, -1.0], [2.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0], [0.0] * 4])
    # Mean squares of 1, 1, 9 and 0.
    assert float(latent_norm_penalty(latent)) == (0 + 0 + 64 + 1) / 4


def test_the_divergence_measures_dimensions_against_the_standard_normal() -> None:
    """Of each dimension, over the batch: mean² + variance - 1 - log variance, half of it."""
    latent = torch.tensor([[1.0, 1.0, -2.0], [-1.0, 3.0, 2.0]])
    # Means of 0, 2 and 0; variances of 1, 1 and 4.
    expected = (0 + 2**2 / 2 + (4 - 1 - math.log(4)) / 2) / 3
    assert float(latent_divergence(latent)) == pytest.approx(expected, rel=1e-6)
    assert float(latent_divergence(latent[:, :1])) == pytest.approx(0, abs=1e-7)
    assert float(latent_divergence(latent.repeat(5, 1))) == pytest.approx(expected, rel=1e-6)  # not of the sample


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    torch.manual_seed(0)
    latent = torch.randn(50, 4) * torch.tensor([0.5, 1.0, 2.0, 3.0]) + torch.tensor([0.0, -1.0, 2.0, 0.5])
    result = torch.distributions.Normal(latent.mean(dim=0), latent.std(dim=0, correction=0))
    wanted = torch.distributions.kl_divergence(result, torch.distributions.Normal(0.0, 1.0)).mean()
    assert float(latent_divergence(latent)) == pytest.approx(float(wanted), rel=1e-5)
    halved = latent_divergence(latent.bfloat16())
    assert halved.dtype == torch.float32
    assert float(halved) == pytest.approx(float(wanted), rel=0.02)


def test_a_dimension_that_says_nothing_diverges_by_a_finite_amount() -> None:
    latent = torch.tensor([[0.5, 1.0], [0.5, -1.0]], requires_grad=True)
    divergence = latent_divergence(latent)
    assert float(divergence.detach()) == pytest.approx((0.5**2 - 1 - math.log(1e-6)) / 2 / 2, rel=1e-5)
    (slope,) = torch.autograd.grad(divergence, latent)
    assert slope[:, 0].tolist() == pytest.approx([0.125, 0.125])  # towards a mean of 0
    assert slope[:, 1].tolist() == pytest.approx([0, 0], abs=1e-7)
