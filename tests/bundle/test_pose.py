"""Head pose: that of a face turned by known angles is found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.errors import AlignmentError
from dorian_bundle.mesh import ALIGNMENT_POINTS, MEAN_FACE, MIRRORED_POINTS, OUTLINE, POINTS, alignment_landmarks
from dorian_bundle.pose import estimate_pose


def turned(yaw: float, pitch: float, roll: float, scale: float = 80.0) -> NDArray[np.float64]:
    """The mean face looking ``yaw`` to the viewer's right and ``pitch`` up, its head then tilted by ``roll``; in pixels."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    up = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    aside = np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    tilt = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return np.asarray((MEAN_FACE @ (tilt @ aside @ up).T)[:, :2] * scale + (300, 200))


@pytest.mark.parametrize("roll", [-170.0, -90.0, -20.0, 0.0, 35.0, 90.0, 180.0])
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 0), (-30, 0), (0, 20), (0, -20), (25, 15), (-40, -25)])
def test_a_pose_is_found_again(yaw: float, pitch: float, roll: float) -> None:
    pose = estimate_pose(turned(yaw, pitch, roll))
    assert (pose.yaw, pose.pitch) == (pytest.approx(yaw), pytest.approx(pitch))
    assert abs((pose.roll - roll + 180) % 360 - 180) < 1e-6


def test_the_nose_points_where_the_face_looks() -> None:
    right, up = turned(30, 0, 0), turned(0, 20, 0)
    eyes = slice(71, 73)
    assert right[67, 0] > right[eyes, 0].mean() + 10
    assert up[67, 1] - up[eyes, 1].mean() < turned(0, 0, 0)[67, 1] - turned(0, 0, 0)[eyes, 1].mean() - 5


def test_size_and_place_do_not_matter_and_a_mirror_swaps_sides() -> None:
    points = turned(20, 10, 15)
    pose, moved = estimate_pose(points), estimate_pose(points * 0.1 + 7)
    assert (moved.yaw, moved.pitch, moved.roll) == pytest.approx((pose.yaw, pose.pitch, pose.roll))
    mirrored = estimate_pose((points * (-1, 1))[list(MIRRORED_POINTS)])
    assert (mirrored.yaw, mirrored.pitch, mirrored.roll) == pytest.approx((-pose.yaw, pose.pitch, -pose.roll))


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((POINTS, 2)),
        np.outer(np.arange(POINTS), (1.0, 2.0)),
        np.full((POINTS, 2), np.nan),
        np.zeros((5, 2)),
    ],
    ids=["one point", "one line", "not finite", "too few"],
)
def test_points_without_a_pose_are_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(AlignmentError, match="mesh points"):
        estimate_pose(points)


def test_a_mirror_is_its_own_opposite_and_keeps_the_shape() -> None:
    order = np.array(MIRRORED_POINTS)
    assert sorted(order) == list(range(POINTS))
    assert (order[order] == np.arange(POINTS)).all()
    assert np.allclose(MEAN_FACE[order] * (-1, 1, 1), MEAN_FACE)


def test_alignment_landmarks_are_eyes_nose_and_mouth() -> None:
    eyes_nose_mouth = alignment_landmarks(MEAN_FACE[:, :2])
    assert eyes_nose_mouth.shape == (5, 2)
    assert (np.diff(eyes_nose_mouth[:2, 0]) > 0).all()
    assert (np.diff(eyes_nose_mouth[[0, 2, 3], 1]) > 0).all()
    assert MEAN_FACE[OUTLINE][9, 1] == MEAN_FACE[:, 1].max()
    assert set(ALIGNMENT_POINTS) <= set(range(POINTS))
