"""Calibration: a curve through a few points, which takes back less of a small change and nothing of none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dorian_bundle.calibration import FULL_CHANGE, Calibration, CalibrationPoint, EstimatePoint, SourceCurve

FAR = 119.0  # a source so far from all ages asked for that corrections are whole
CURVE = Calibration(
    points=(
        CalibrationPoint(asked=20, offset=4, strength=1.0),
        CalibrationPoint(asked=40, offset=-2, strength=1.5),
        CalibrationPoint(asked=60, offset=8, strength=2.0),
    )
)


@pytest.mark.parametrize(
    ("asked", "drawn_at", "strength"),
    [
        (20, 24, 1.0),
        (40, 38, 1.5),
        (60, 68, 2.0),
        (30, 30 + 1, 1.25),
        (55, 55 + 5.5, 1.875),
        (5, 5 + 4, 1.0),
        (0, 4, 1.0),
        (61, 61 + 8, 2.0),
        (100, 100 + 8, 2.0),
    ],
)
def test_corrections_are_straight_between_points_and_level_beyond(
    asked: float, drawn_at: float, strength: float
) -> None:
    assert CURVE.correct(FAR, asked) == pytest.approx((drawn_at, strength))


@pytest.mark.parametrize(
    ("years", "share"), [(0.0, 0.0), (1.0, 0.1), (4.0, 0.4), (9.9, 0.99), (10.0, 1.0), (10.1, 1.0), (35.0, 1.0)]
)
def test_a_small_change_is_corrected_by_its_share_of_ten_years_either_way(years: float, share: float) -> None:
    assert FULL_CHANGE == 10
    expected = (40 - 2 * share, 1 + 0.5 * share)
    assert CURVE.correct(40 - years, 40) == pytest.approx(expected)
    assert CURVE.correct(40 + years, 40) == pytest.approx(expected)


@pytest.mark.parametrize("age", [0.0, 20.0, 33.3, 60.0, 120.0])
def test_no_change_is_never_altered(age: float) -> None:
    assert CURVE.correct(age, age) == (age, 1.0)


@pytest.mark.parametrize(("source", "asked"), [(30, 60), (60, 30), (50, 52), (7, 7)])
def test_without_points_what_is_asked_is_drawn(source: float, asked: float) -> None:
    assert Calibration().correct(source, asked) == (asked, 1.0)


@pytest.mark.parametrize("asked", [0, 40, 120])
def test_a_single_point_is_level_everywhere(asked: float) -> None:
    single = Calibration(points=(CalibrationPoint(asked=40, offset=3, strength=0.5),))
    assert single.correct(asked - 10, asked) == (asked + 3, 0.5)


@pytest.mark.parametrize(
    ("source", "offset", "strength"), [(3, 6, 2.0), (10, 6, 2.0), (20, 4, 1.75), (30, 2, 1.5), (70, 2, 1.5)]
)
def test_between_source_ages_corrections_are_straight_and_beyond_them_level(
    source: float, offset: float, strength: float
) -> None:
    curves = tuple(
        SourceCurve(source=age, points=(CalibrationPoint(asked=50, offset=years, strength=factor),))
        for age, years, factor in ((10, 6, 2.0), (30, 2, 1.5))
    )
    calibration = Calibration(points=CURVE.points, by_source=curves)
    assert calibration.correct(source, 90) == pytest.approx((90 + offset, strength))
    assert calibration.correct(90, 90) == (90, 1.0)
    with pytest.raises(ValidationError, match="calibrated sources must ascend: 10 follows 30"):
        Calibration(by_source=curves[::-1])


def test_estimates_are_straight_between_points_and_as_far_off_beyond_them() -> None:
    points = (EstimatePoint(asked=30, younger=28, older=31), EstimatePoint(asked=50, younger=46, older=54))
    calibration, ages = Calibration(estimates=points), (20, 30, 40, 50, 70)
    assert [calibration.wanted_estimate(90, age) for age in ages] == pytest.approx([18, 28, 37, 46, 66])
    assert [calibration.wanted_estimate(10, age) for age in ages] == pytest.approx([21, 31, 42.5, 54, 74])
    assert Calibration().wanted_estimate(30, 42) == 42
    with pytest.raises(ValidationError, match="targets of estimates must ascend: 30 follows 50"):
        Calibration(estimates=points[::-1])


@pytest.mark.parametrize("ages", [(20, 20), (40, 20), (10, 40, 20)])
def test_points_ascend(ages: tuple[float, ...]) -> None:
    points = tuple(CalibrationPoint(asked=age, offset=0, strength=1) for age in ages)
    message = f"calibration points must ascend: {ages[-1]} follows {ages[-2]}"
    with pytest.raises(ValidationError, match=message):
        Calibration(points=points)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("asked", -0.1),
        ("asked", 120.1),
        ("offset", -120.1),
        ("offset", 120.1),
        ("strength", 0),
        ("strength", 3.01),
        ("strength", float("nan")),
        ("offset", float("nan")),
    ],
)
def test_points_have_bounds(name: str, value: float) -> None:
    whole = {"asked": 30.0, "offset": 0.0, "strength": 1.0}
    CalibrationPoint(**whole)
    with pytest.raises(ValidationError, match=name):
        CalibrationPoint(**(whole | {name: value}))
