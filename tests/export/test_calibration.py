"""Calibration in closed form: readers of planted faults, and the line through real faces that they are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dorian_bundle.calibration import Calibration
from dorian_export.calibration import TARGETS, calibrate, calibrate_by_source, estimate_real, wanted_estimate
from dorian_export.errors import ExportError

AGES = np.arange(0.0, 101.0)


def found(
    read: Callable[[float, float], float], youngest: float = 1.0, oldest: float = 90.0, source: float | None = None
) -> Calibration:
    """The calibration of what draws faces that are read so, where real faces are read as exactly as old as they are."""
    return calibrate(lambda asked, factor: np.array([read(asked, factor)]), AGES, AGES, youngest, oldest, source)


def offsets(calibration: Calibration) -> list[float]:
    return [point.offset for point in calibration.points]


def strengths(calibration: Calibration) -> list[float]:
    return [point.strength for point in calibration.points]


def test_faces_that_are_read_as_asked_for_need_no_correction() -> None:
    calibration = found(lambda asked, factor: asked)
    assert [point.asked for point in calibration.points] == list(TARGETS)
    assert offsets(calibration) == [0.0] * len(TARGETS)
    assert strengths(calibration) == [1.0] * len(TARGETS)


def test_faces_that_are_read_five_years_young_are_asked_for_five_years_older() -> None:
    calibration = found(lambda asked, factor: asked - 5, oldest=95.0)
    assert offsets(calibration) == pytest.approx([5.0] * len(TARGETS))
    assert strengths(calibration) == [1.0] * len(TARGETS)


def test_faces_are_held_against_readings_of_real_faces_not_against_the_calendar() -> None:
    """An estimator that is five years low of drawn and of real faces alike leaves nothing to correct, but of the old."""
    calibration = calibrate(lambda asked, factor: np.array([asked - 5]), AGES, AGES - 5, 1.0, 90.0)
    assert offsets(calibration) == pytest.approx([0.0] * 6 + [5.0] * 3)


@pytest.mark.parametrize(
    ("target", "source", "low", "high"),
    [(35.0, 60.0, 30.0, 35.0), (35.0, 20.0, 30.0, 40.0), (35.0, None, 30.0, 40.0), (65.0, 80.0, 65.0, 70.0)],
    ids=["younger", "older", "either", "an old target"],
)
def test_faces_are_to_be_estimated_as_real_ones_or_younger_or_when_old_older(
    target: float, source: float | None, low: float, high: float
) -> None:
    """Of an estimator that is five years low, and of one that is five years high."""
    assert wanted_estimate(target, source, AGES, AGES - 5) == pytest.approx(low)
    assert wanted_estimate(target, source, AGES, AGES + 5) == pytest.approx(high)


def test_only_ages_that_can_be_drawn_are_calibrated() -> None:
    assert [point.asked for point in found(lambda asked, factor: asked, 15.0, 60.0).points] == [15, 25, 35, 45, 55]


@pytest.mark.parametrize(
    ("gain", "factor"), [(50, 1.2), (120, 1.1), (-200, 1.0)], ids=["all of it", "some of it", "it does harm"]
)
def test_where_the_oldest_is_not_read_old_enough_the_delta_grows_by_what_it_takes(gain: int, factor: float) -> None:
    """Readings end at 62, to which a delta that is stronger by a hundredth adds a hundredth of ``gain``."""
    calibration = found(lambda asked, strength: min(asked, 62.0) + gain * (strength - 1))
    by_age = dict(zip(TARGETS, calibration.points, strict=True))
    assert strengths(calibration)[:6] == [1.0] * 6  # to 55, which is read without
    assert by_age[75].strength == factor
    if gain < 0:
        assert by_age[65].offset == 12.0  # 25 years to the last that can be drawn, of which 12 are allowed


@pytest.mark.parametrize(("source", "strength"), [(8.0, 1.2), (20.0, 1.7)], ids=["children", "adults"])
def test_children_get_older_by_weaker_deltas(source: float, strength: float) -> None:
    """Readings end at 62, beyond which a delta that is stronger by a tenth gives two years."""
    read = lambda asked, factor: np.array([np.clip(asked, 0.0, 62.0) + 20 * (factor - 1)])  # noqa: E731
    by_age = dict(zip(TARGETS, calibrate(read, AGES, AGES, 1.0, 90.0, source).points, strict=True))
    assert by_age[85].strength == strength


def test_children_get_younger_by_any_delta() -> None:
    """Readings begin at 12, below which a delta that is stronger by a tenth takes a year."""
    read = lambda asked, factor: np.array([np.clip(asked, 12.0, 90.0) - 10 * (factor - 1)])  # noqa: E731
    by_age = dict(zip(TARGETS, calibrate(read, AGES, AGES, 1.0, 90.0, 8.0).points, strict=True))
    assert by_age[5].strength == 1.7


@pytest.mark.parametrize(("target", "drawn_at"), [(55.0, 45.0), (65.0, 65.0), (75.0, 75.0)])
def test_the_old_are_to_be_read_as_old_as_was_asked(target: float, drawn_at: float) -> None:
    """Real faces are read ten years too young, drawn ones right: those beyond 60 are drawn at their age all the same."""
    read = lambda asked, factor: np.array([asked])  # noqa: E731
    by_age = dict(zip(TARGETS, calibrate(read, AGES, AGES - 10, 1.0, 90.0).points, strict=True))
    assert by_age[target].asked + by_age[target].offset == pytest.approx(drawn_at)


def test_a_stronger_delta_is_asked_for_fewer_years() -> None:
    """65 is not read without; with 1.1 times the delta 55 is read as 65."""
    calibration = found(lambda asked, strength: min(asked, 62.0) + 100 * (strength - 1))
    point = dict(zip(TARGETS, calibration.points, strict=True))[65]
    assert (point.strength, point.offset) == (1.1, pytest.approx(-10.0))


def test_who_asks_for_more_years_gets_no_fewer() -> None:
    """15 is read right at 20 alone, 25 at 18 by a stronger delta: both are drawn at 20."""
    readings = {1.0: lambda asked: np.interp(asked, [1, 20, 30, 90], [1, 15, 16, 90])}

    def read(asked: float, strength: float) -> np.ndarray:
        if strength == 1.0:
            return np.array([readings[1.0](asked)])
        return np.array([asked + 7.0])

    calibration = calibrate(read, AGES, AGES, 1.0, 90.0)
    drawn_at = [point.asked + point.offset for point in calibration.points]
    assert drawn_at == sorted(drawn_at)


def test_the_youngest_may_need_a_stronger_delta_too() -> None:
    calibration = found(lambda asked, strength: max(asked, 12.0) - 40 * (strength - 1), source=40.0)
    first, _, third = calibration.points[:3]
    assert first.strength == 1.2
    assert (third.offset, third.strength) == (0.0, 1.0)


@pytest.mark.parametrize("source", [0.0, 40.0, 70.0])
def test_more_change_has_no_weaker_delta(source: float) -> None:
    """Half of the faces are read ten years young and half ten years old; about an age of 35 a stronger delta is of use."""

    def read(asked: float, factor: float) -> np.ndarray:
        return asked + 10.0 * (1 - 0.5 * (factor >= 1.2 and 25 < asked < 45)) * np.array([-1.0, 1.0])

    calibration = calibrate(read, AGES, AGES, 1.0, 90.0, source)
    by_distance = sorted(calibration.points, key=lambda point: abs(point.asked - source))
    for is_older in (True, False):
        side = [point.strength for point in by_distance if (point.asked >= source) == is_older]
        assert side == sorted(side)
    assert max(point.strength for point in calibration.points) > 1


@pytest.mark.parametrize(("saved", "strength"), [(0.5, 1.2), (0.03, 1.0)], ids=["half the error", "next to nothing"])
def test_faces_are_to_be_read_right_one_by_one(saved: float, strength: float) -> None:
    """Half of the faces are read ten years young and half ten years old, by a stronger delta by a share less."""
    read = lambda asked, factor: asked + 10.0 * (1 - saved * (factor >= 1.2)) * np.array([-1.0, 1.0])  # noqa: E731
    calibration = calibrate(read, AGES, AGES, 1.0, 90.0)
    assert strengths(calibration) == [strength] * len(TARGETS)
    assert offsets(calibration) == pytest.approx([0.0] * len(TARGETS))


def test_an_age_that_is_read_younger_than_a_younger_one_counts_as_that() -> None:
    """Of the ten ages that are drawn, the fifth is read far too young: from the fourth on the curve stays level, then rises."""
    _, _, _, fourth, fifth, sixth, *_ = (float(age) for age in np.linspace(1.0, 90.0, 10))
    calibration = found(lambda asked, factor: 20.0 if asked == fifth else asked)
    drawn_at = [point.asked + point.offset for point in calibration.points]
    assert drawn_at == sorted(drawn_at)
    by_age = dict(zip(TARGETS, drawn_at, strict=True))
    assert by_age[25] == 25
    assert fifth + (35 - fourth) / (sixth - fourth) * (sixth - fifth) > 42  # where it is read so
    assert 42 < by_age[35] <= 45  # as far as a request may be moved
    assert by_age[55] == 55


def test_each_span_of_source_ages_has_its_own_curve() -> None:
    """Children are read five years too young, adults as asked for; of people past fifty there are too few."""
    sources = np.repeat([6.0, 25.0, 60.0], [12, 20, 3])

    def read(asked: float, factor: float) -> np.ndarray:
        return asked - 5.0 * (sources < 13)

    calibration = calibrate_by_source(read, sources, AGES, AGES, 1.0, 95.0)
    assert [curve.source for curve in calibration.by_source] == [6, 25]
    child, adult = calibration.by_source
    assert [point.offset for point in child.points] == pytest.approx([5.0] * len(TARGETS))
    assert [point.offset for point in adult.points] == pytest.approx([0.0] * len(TARGETS))
    assert offsets(calibration) == pytest.approx([0.0] * len(TARGETS))


def test_what_a_photos_own_detail_does_need_not_be_drawn() -> None:
    """It makes everybody look a tenth of the way younger than 40, and so only the rest of it is drawn."""
    effect = lambda asked: np.array([0.1 * (asked - 40)] * 2)  # noqa: E731
    calibration = calibrate(lambda asked, factor: np.array([asked] * 2), AGES, AGES, 1.0, 90.0, 0.0, effect)
    assert offsets(calibration) == pytest.approx([-0.1 * (target - 40) for target in TARGETS], abs=0.05)


def test_faces_whose_own_detail_does_more_are_less_right_than_those_whose_does_not() -> None:
    """A stronger delta evens out what the detail does to some faces, and is taken for it."""
    effect = lambda asked: np.array([-8.0, 8.0])  # noqa: E731
    read = lambda asked, factor: asked + (8.0 if factor > 1.1 else 0.0) * np.array([1.0, -1.0])  # noqa: E731
    calibration = calibrate(read, AGES, AGES, 1.0, 90.0, 0.0, effect)
    assert set(strengths(calibration)) == {1.2}


def test_each_span_of_source_ages_has_its_own_detail() -> None:
    sources = np.repeat([25.0, 60.0], [20, 20])
    calibration = calibrate_by_source(
        lambda asked, factor: np.full(40, asked),
        sources,
        AGES,
        AGES,
        1.0,
        95.0,
        lambda asked: np.where(sources > 50, -4.0, 0.0),
    )
    young, old = calibration.by_source
    assert [point.offset for point in young.points] == pytest.approx([0.0] * len(TARGETS))
    assert [point.offset for point in old.points] == pytest.approx([4.0] * len(TARGETS))
    assert offsets(calibration) == pytest.approx([2.0] * len(TARGETS))


def test_a_reading_lies_on_the_line_of_the_faces_nearby() -> None:
    for age in (0.0, 33.3, 50.0, 100.0):  # also at the ends, where all faces lie on one side
        assert estimate_real(age, AGES, 0.8 * AGES + 9) == pytest.approx(0.8 * age + 9)
    bent = np.where(AGES > 40, 2 * AGES - 40, AGES)
    assert estimate_real(30.0, AGES, bent) == pytest.approx(30.0)  # what is further than four years away has no part
    assert estimate_real(36.0, AGES, bent) == pytest.approx(36.0)


def test_where_faces_are_few_the_nearest_five_are_asked() -> None:
    ages = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 80.0])
    assert estimate_real(85.0, ages, ages + 3) == pytest.approx(88.0)
    far = np.array([999.0, 23.0, 33.0, 43.0, 53.0, 83.0])
    assert estimate_real(85.0, ages, far) == pytest.approx(88.0)  # not the sixth
    assert estimate_real(85.0, np.full(7, 30.0), np.array([28.0, 29, 30, 31, 32, 33, 34])) == pytest.approx(31.0)


@pytest.mark.parametrize(("slope", "followed"), [(0.5, 0.5), (1.5, 1.5), (3.0, 1.5), (-2.0, 0.0)])
def test_a_line_through_few_faces_does_not_lead_far_from_them(slope: float, followed: float) -> None:
    ages = np.array([20.0, 22.0, 24.0, 26.0, 28.0])
    assert estimate_real(40.0, ages, slope * ages) == pytest.approx(slope * 24 + followed * 16)


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_faces_of_known_age(count: int) -> None:
    message = f"calibration needs at least 5 faces whose age is known; there are {count}"
    with pytest.raises(ExportError, match=message):
        estimate_real(30.0, AGES[:count], AGES[:count])
    with pytest.raises(ExportError, match=message):
        calibrate(lambda asked, factor: np.array([asked]), AGES[:count], AGES[:count], 1.0, 90.0)
