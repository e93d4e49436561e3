"""The shape of faces by age: moves against closed forms, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dorian_bundle.errors import GraphFileError
from dorian_bundle.face_shape import FaceShape, load_face_shape
from dorian_bundle.mesh import MEAN_FACE, POINTS, RIGHT_IRIS

AGES = np.array([10, 30, 70], dtype=np.float32)
CHIN = 9


def table(*falls: float) -> FaceShape:
    """The chin ``falls`` by so many distances between the eyes at each of ``AGES``; nothing else moves."""
    offsets = np.zeros((3, POINTS, 2), np.float32)
    offsets[:, CHIN, 1] = falls
    return FaceShape(AGES, offsets)


def turned(yaw: float, roll: float = 0.0) -> np.ndarray:
    """The mean face 100 pixels between the eyes, turned by degrees."""
    about, tilt = np.radians(yaw), np.radians(roll)
    across = MEAN_FACE[:, 0] * np.cos(about) - MEAN_FACE[:, 2] * np.sin(about)
    flat = np.stack([across, MEAN_FACE[:, 1]], axis=1)
    rotation = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return 100 * flat @ rotation.T + (300.0, 200.0)


@pytest.mark.parametrize(("age", "fall"), [(5, -0.1), (10, -0.1), (20, -0.05), (30, 0.0), (50, 0.02), (90, 0.04)])
def test_between_ages_offsets_are_a_straight_line_and_beyond_them_the_nearest(age: float, fall: float) -> None:
    assert table(-0.1, 0, 0.04).at(age)[CHIN] == pytest.approx((0, fall), abs=1e-6)


def test_points_move_by_the_difference_of_two_ages_in_the_faces_own_size() -> None:
    moves = table(-0.1, 0, 0.04).moves(turned(0), 12, 70)
    expected = np.zeros((POINTS, 2))
    expected[CHIN, 1] = 13.0  # from -9 to 4
    assert moves == pytest.approx(expected, abs=1e-4)
    assert not table(-0.1, 0, 0.04).moves(turned(0), 33, 33).any()


@pytest.mark.parametrize(("source", "share"), [(4, 0.2), (9, 0.6), (12, 1.0)])
def test_a_young_childs_outline_is_held_when_it_gets_older(source: float, share: float) -> None:
    offsets = np.zeros((3, POINTS, 2), np.float32)
    offsets[2, [CHIN, RIGHT_IRIS], 1] = 0.1
    shape = FaceShape(AGES, offsets)
    moves = shape.moves(turned(0), source, 70)
    assert moves[CHIN, 1] == pytest.approx(10 * share, abs=1e-4)
    assert moves[RIGHT_IRIS, 1] == pytest.approx(10, abs=1e-4)
    assert shape.moves(turned(0), 70, source)[CHIN, 1] == pytest.approx(-10, abs=1e-4)


@pytest.mark.parametrize(("roll", "direction"), [(90, (-1, 0)), (180, (0, -1)), (-90, (1, 0))])
def test_a_tilted_face_moves_along_its_own_axes(roll: float, direction: tuple[float, float]) -> None:
    moves = table(0, 0, 0.1).moves(turned(0, roll), 30, 70)
    assert moves[CHIN] == pytest.approx(np.multiply(10, direction), abs=1e-4)


def test_a_turned_face_moves_across_as_much_less_as_it_is_seen_narrower() -> None:
    offsets = np.zeros((3, POINTS, 2), np.float32)
    offsets[2, 4, 0] = 0.2  # a cheek, outwards
    moves = FaceShape(AGES, offsets).moves(turned(60), 30, 70)
    assert moves[4] == pytest.approx((10, 0), abs=1e-4)  # half of 20


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table(-0.1, 0, 0.04).save(tmp_path / "table.npz")
    read = load_face_shape(tmp_path / "table.npz")
    assert (read.ages == AGES).all()
    assert (read.offsets == table(-0.1, 0, 0.04).offsets).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ages", [30, 20, 40], r"has ages of shape \(3,\); two or more in ascending order are needed"),
        ("offsets", np.zeros((3, 68, 2)), r"\(3, 73, 2\) is needed"),
        ("offsets", np.full((3, 73, 2), 0.4), "offsets beyond 0.3 distances between the eyes"),
        ("offsets", np.full((3, 73, 2), np.nan), "or no numbers"),
        ("more", [1], "is not a table of face shapes"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path: Path, name: str, values: object, message: str) -> None:
    parts = {"ages": AGES, "offsets": table(0, 0, 0).offsets, name: np.asarray(values, np.float32)}
    np.savez(tmp_path / "table.npz", **parts)
    with pytest.raises(GraphFileError, match=message):
        load_face_shape(tmp_path / "table.npz")
