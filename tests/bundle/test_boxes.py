"""Intersection over union."""

from __future__ import annotations

import numpy as np
import pytest

from dorian_bundle.boxes import intersection_and_union, iou

SQUARE = (0.0, 0.0, 10.0, 10.0)


def test_each_box_is_held_against_each_other() -> None:
    overlaps = iou([SQUARE, (20, 20, 4, 2)], [SQUARE, (5, 0, 10, 10), (22, 20, 4, 2)])
    assert overlaps == pytest.approx(np.asarray([[1, 1 / 3, 0], [0, 0, 1 / 3]]))


def test_areas() -> None:
    shared, union = intersection_and_union(np.asarray([SQUARE]), np.asarray([(8.0, 6.0, 10.0, 10.0)]))
    assert (shared.tolist(), union.tolist()) == ([[8.0]], [[192.0]])


def test_a_box_is_a_row_of_one() -> None:
    assert iou(np.asarray([SQUARE, SQUARE]), np.asarray(SQUARE)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("other", [(10, 0, 5, 5), (0, 10, 5, 5), (30, 30, 1, 1), (5, 5, 0, 0)])
def test_boxes_that_only_touch_share_nothing(other: tuple[float, ...]) -> None:
    assert iou([SQUARE], [other]).tolist() == [[0.0]]


def test_empty_boxes_and_no_boxes() -> None:
    assert iou([(3, 3, 0, 0)], [(3, 3, 0, 0)]).tolist() == [[0.0]]
    assert iou([SQUARE], []).shape == (1, 0)
