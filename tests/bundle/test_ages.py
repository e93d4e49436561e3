"""Age groups by label and by age, and the conditions that follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from dorian_bundle import AgeError, BundleError
from dorian_bundle.ages import (
    PAPER_GROUPS,
    AgeGroup,
    age_condition,
    check_groups,
    group_condition,
    group_index,
    group_of_age,
    normalise_label,
)

CENTRES = [group.centre for group in PAPER_GROUPS]
BAD_AGES = [-3.0, -1e-9, 120.001, 200.0, math.nan, math.inf, -math.inf]


def groups(*bounds: tuple[int, int | None]) -> list[AgeGroup]:
    """Groups of these ends, labelled by them."""
    return [AgeGroup(label=f"{low}-{high}", low=low, high=high, centre=low) for low, high in bounds]


def test_the_papers_groups() -> None:
    check_groups(PAPER_GROUPS)
    assert [group.label for group in PAPER_GROUPS] == ["0-18", "19-29", "30-39", "40-49", "50-59", "60+"]


@pytest.mark.parametrize(
    ("label", "normal"),
    [
        ("30-39", "30-39"),
        ("30–39", "30-39"),  # en dash
        ("30—39", "30-39"),  # em dash
        ("30−39", "30-39"),  # minus
        ("30\u201039", "30-39"),  # hyphen
        ("30\u201139", "30-39"),  # non-breaking hyphen
        (" 30 -\t39\n", "30-39"),
        ("60 +", "60+"),
        ("Over\u00a060", "over60"),
    ],
)
def test_labels_are_normalised(label: str, normal: str) -> None:
    assert normalise_label(label) == normal


@pytest.mark.parametrize("index", range(len(PAPER_GROUPS)))
def test_groups_are_found_however_the_label_is_written(index: int) -> None:
    label = PAPER_GROUPS[index].label
    assert group_index(PAPER_GROUPS, label) == index
    assert group_index(PAPER_GROUPS, f" {label.replace('-', ' – ')} ") == index


def test_case_does_not_matter_in_labels() -> None:
    named = [AgeGroup(label="Young", low=0, high=39, centre=20), AgeGroup(label="Old", low=40, centre=60)]
    assert group_index(named, "OLD") == 1


@pytest.mark.parametrize("label", ["", "61+", "0-1", "60", "twenties"])
def test_an_unknown_label_is_answered_with_the_known_ones(label: str) -> None:
    with pytest.raises(AgeError) as caught:
        group_index(PAPER_GROUPS, label)
    assert str(caught.value) == f"unknown age group {label!r}; known: 0-18, 19-29, 30-39, 40-49, 50-59, 60+"


@pytest.mark.parametrize(
    ("age", "index"),
    [
        (0, 0),
        (18, 0),
        (18.99, 0),
        (19, 1),
        (29.99, 1),
        (30, 2),
        (40, 3),
        (49.9, 3),
        (50, 4),
        (59.999, 4),
        (60, 5),
        (120, 5),
    ],
)
def test_each_age_has_its_group(age: float, index: int) -> None:
    assert group_of_age(PAPER_GROUPS, age) == index


def test_an_age_beyond_a_closed_last_group_has_none() -> None:
    closed = groups((0, 18), (19, 70))
    assert group_of_age(closed, 70.9) == 1
    with pytest.raises(AgeError, match=r"no age group holds age 71; the last ends at 70"):
        group_of_age(closed, 71)


@pytest.mark.parametrize("age", BAD_AGES)
@pytest.mark.parametrize("function", [age_condition, group_of_age])
def test_impossible_ages_are_refused_in_words(function: object, age: float) -> None:
    with pytest.raises(AgeError) as caught:
        function(PAPER_GROUPS, age)  # type: ignore[operator]
    assert str(caught.value) == f"age {age:g} is out of range; it must be between 0 and 120 years"
    assert isinstance(caught.value, BundleError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("index", range(len(PAPER_GROUPS)))
def test_a_groups_condition_is_one_hot_and_so_is_its_centres(index: int) -> None:
    condition = group_condition(PAPER_GROUPS, index)
    assert condition.dtype == np.float32
    assert condition.tolist() == [float(index == other) for other in range(len(PAPER_GROUPS))]
    assert np.array_equal(age_condition(PAPER_GROUPS, CENTRES[index]), condition)


@pytest.mark.parametrize("below", range(len(PAPER_GROUPS) - 1))
def test_halfway_between_two_centres_both_count_half(below: int) -> None:
    condition = age_condition(PAPER_GROUPS, (CENTRES[below] + CENTRES[below + 1]) / 2)
    assert np.flatnonzero(condition).tolist() == [below, below + 1]
    assert condition[below] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("age", "index"), [(0.0, 0), (8.99, 0), (70.01, 5), (120.0, 5)])
def test_beyond_the_outer_centres_the_end_group_stands_alone(age: float, index: int) -> None:
    assert np.array_equal(age_condition(PAPER_GROUPS, age), group_condition(PAPER_GROUPS, index))


def test_conditions_sum_to_one_and_move_up_with_age() -> None:
    ages = np.arange(0, 120.01, 0.25)
    conditions = np.stack([age_condition(PAPER_GROUPS, age) for age in ages])
    assert conditions.dtype == np.float32
    assert conditions.min() >= 0
    assert np.allclose(conditions.sum(axis=1), 1, atol=1e-6)
    assert (np.count_nonzero(conditions, axis=1) <= 2).all()
    place = conditions @ np.arange(len(PAPER_GROUPS))
    between = (ages >= CENTRES[0]) & (ages <= CENTRES[-1])
    assert (np.diff(place) >= 0).all()
    assert (np.diff(place[between]) > 0).all()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (groups(), "at least two age groups are needed, got 0"),
        (groups((0, 120)), "at least two age groups are needed, got 1"),
        (groups((0, 18), (20, None)), "age group '20-None' must start one year after '0-18' ends"),
        (groups((0, 18), (18, None)), "age group '18-None' must start one year after '0-18' ends"),
        (groups((19, 29), (0, 18)), "age group '0-18' must start one year after '19-29' ends"),
        (groups((0, None), (19, 29)), "age group '19-29' must start one year after '0-None' ends"),
    ],
)
def test_groups_that_do_not_hold_together(bad: list[AgeGroup], words: str) -> None:
    with pytest.raises(AgeError) as caught:
        check_groups(bad)
    assert str(caught.value) == words


def test_labels_that_only_look_different_repeat() -> None:
    alike = [AgeGroup(label="0-18", low=0, high=18, centre=9), AgeGroup(label="0 – 18", low=19, centre=40)]
    with pytest.raises(AgeError, match=r"labels repeat: \['0-18', '0 – 18'\]"):
        check_groups(alike)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"centre": 19.5}, "centre 19.5 lies outside 0..18"),
        ({"low": 10}, "centre 9.0 lies outside 10..18"),
        ({"high": 5}, "centre 9.0 lies outside 0..5"),
        ({"low": -1}, "low"),
        ({"high": 121}, "high"),
        ({"label": ""}, "label"),
        ({"label": "x" * 33}, "label"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_group_that_contradicts_itself(change: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AgeGroup.model_validate({"label": "0-18", "low": 0, "high": 18, "centre": 9.0} | change)
    assert field in str(caught.value)
