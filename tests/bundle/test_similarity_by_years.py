"""What a similarity means in years, against a curve worked out by hand."""

from __future__ import annotations

import pytest

from dorian_bundle.similarity_by_years import SimilarityByYears, YearsApart

CURVE = SimilarityByYears(years=(2, 7, 17), similarity=(0.8, 0.6, 0.5), spread=0.2, source="a test")


@pytest.mark.parametrize(
    ("similarity", "years", "bound"),
    [
        (1.0, 2, "at_most"),
        (0.801, 2, "at_most"),
        (0.8, 2, "about"),
        (0.7, 4.5, "about"),
        (0.6, 7, "about"),
        (0.55, 12, "about"),
        (0.5, 17, "about"),
        (0.499, 17, "at_least"),
        (-1.0, 17, "at_least"),
    ],
)
def test_years_are_interpolated_and_bounded(similarity: float, years: float, bound: str) -> None:
    result = CURVE.years_apart(similarity)
    assert result == YearsApart(pytest.approx(years), result.bound)
    assert result.bound == bound
