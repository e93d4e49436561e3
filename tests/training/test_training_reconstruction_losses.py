"""Reconstruction losses against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_norm_penalty


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
