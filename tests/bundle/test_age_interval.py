"""Age intervals: they hold the ages whose bounds hold the estimate, and cover the true age as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dorian_bundle.age_interval import AgeIntervals


def intervals(**changes: object) -> AgeIntervals:
    values = {
        "coverage": 0.8,
        "ages": (0.0, 100.0),
        "lower": (-1.0, -1.0),
        "upper": (2.0, 2.0),
        "min_spread": 1.0,
        "faces": 500,
    }
    return AgeIntervals(**{**values, **changes})


def test_an_interval_holds_the_ages_at_which_the_estimate_would_not_be_unusual() -> None:
    # From 1 spread below the true age to 2 above: the true age lies from 2 spreads below to 1 above.
    assert intervals().interval(40.0, 5.0) == (30.0, 45.0)
    assert intervals().interval(40.0, 0.2) == (38.0, 41.0), "a spread has a floor"


def test_intervals_end_with_the_ages_of_people() -> None:
    assert intervals().interval(3.0, 5.0) == (0.0, 8.0)
    assert intervals().interval(119.0, 6.0) == (107.0, 120.0)


def test_bounds_change_with_the_true_age() -> None:
    belt = intervals(ages=(0.0, 50.0, 100.0), lower=(-1.0, -1.0, -5.0), upper=(1.0, 1.0, -1.0))
    low, high = belt.interval(80.0, 5.0)  # the old are read too young: such an estimate stands for somebody older
    assert low > 80
    assert high > 95


def test_an_estimate_that_no_age_allows_is_given_the_nearest() -> None:
    belt = intervals(ages=(0.0, 49.0, 51.0, 100.0), lower=(-1.0, -1.0, 30.0, 30.0), upper=(1.0, 1.0, 32.0, 32.0))
    low, high = belt.interval(60.0, 1.0)
    assert low == high
    assert 45 < low < 55


def test_true_ages_are_covered_as_often_as_stated_whatever_they_are() -> None:
    """Estimates of a network that pulls everybody towards 40 and is less sure of the old."""
    random = np.random.default_rng(0)
    ages = np.arange(5.0, 96.0, 5.0)
    spread = 2 + ages / 20

    def estimates(age: float, count: int) -> np.ndarray:
        return np.asarray(40 + 0.8 * (age - 40) + random.normal(0, 2 + age / 20, count))

    errors = [np.quantile((estimates(a, 20_000) - a) / s, (0.1, 0.9)) for a, s in zip(ages, spread, strict=True)]
    belt = intervals(ages=tuple(ages), lower=tuple(e[0] for e in errors), upper=tuple(e[1] for e in errors))
    for age in (10.0, 30.0, 60.0, 85.0):
        held = [low <= age <= high for low, high in (belt.interval(e, 2 + age / 20) for e in estimates(age, 1500))]
        assert np.mean(held) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ages": (0.0, 50.0, 100.0)}, "of one length"),
        ({"ages": (50.0, 50.0)}, "must ascend"),
        ({"lower": (-1.0, 2.0)}, "below the upper"),
        ({"coverage": 1.0}, "less than 1"),
    ],
)
def test_bounds_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        intervals(**changes)
