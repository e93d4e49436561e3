"""The face's region of a crop: where it is whole, how it falls, and what it follows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import FEATHER, face_mask

Matrix = NDArray[np.float64]

# A face in a crop of 201 pixels, 40 between its eyes and down to its mouth: the mask's middle is the pixel 101, 100.
SIDE = 201
UPRIGHT = np.array([(80, 80), (120, 80), (100, 100), (85, 120), (115, 120)], dtype=np.float64)
MIDDLE = (101, 100)
HALF_WIDTH, HALF_HEIGHT = 50, 53


def faded(depth: float) -> float:
    """The mask at a depth: 0 at the rim, 1 in the middle."""
    inside = float(np.clip(depth / FEATHER, 0, 1))
    return inside**2 * (3 - 2 * inside)


@pytest.mark.parametrize("size", [48, 64, 65, 256])
def test_the_mask_of_an_aligned_face_is_symmetric_and_fades_to_nothing_at_the_crops_border(size: int) -> None:
    mask = face_mask(DEFAULT_TEMPLATE.points(size), size)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    assert (mask.min(), mask.max()) == (0, 1)
    assert np.allclose(mask, mask[:, ::-1], atol=1e-6)
    assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
    assert np.abs(np.diff(mask, axis=0)).max() < 20 / size, "it must fade smoothly"
    assert 0.4 < mask.mean() < 0.7


def test_the_mask_is_whole_on_the_features() -> None:
    points = np.rint(DEFAULT_TEMPLATE.points(256)).astype(int)
    mask = face_mask(DEFAULT_TEMPLATE.points(256), 256)
    assert mask[points[:, 1], points[:, 0]].tolist() == [1] * 5


@pytest.mark.parametrize("distance", [0, 10, 25, 30, 40, 48, 50, 60])
def test_the_mask_falls_with_the_distance_from_its_middle(distance: int) -> None:
    mask = face_mask(UPRIGHT, SIDE)
    row, column = MIDDLE
    for side in (-distance, distance):
        assert mask[row, column + side] == pytest.approx(faded(1 - distance / HALF_WIDTH), abs=1e-6)
        assert mask[row + side, column] == pytest.approx(faded(1 - distance / HALF_HEIGHT), abs=1e-6)


def test_the_mask_is_round_at_the_chin_and_squarer_at_the_forehead() -> None:
    mask = face_mask(UPRIGHT, SIDE)
    row, column = MIDDLE
    across, far = 30 / HALF_WIDTH, 30 / HALF_HEIGHT
    assert mask[row + 30, column + 30] == pytest.approx(faded(1 - np.hypot(across, far)), abs=1e-6)
    assert mask[row - 30, column + 30] == pytest.approx(faded(1 - np.cbrt(across**3 + far**3)), abs=1e-6)


def test_the_mask_follows_the_landmarks() -> None:
    mask = face_mask(UPRIGHT, SIDE)
    moved = face_mask(np.add(UPRIGHT, (7, -5)), SIDE)
    assert np.allclose(moved[20:-20, 20:-20], mask[25:-15, 13:-27], atol=1e-6)
    turned = face_mask(np.stack([UPRIGHT[:, 1], SIDE - 1 - UPRIGHT[:, 0]], axis=1), SIDE)
    assert np.allclose(turned, np.rot90(mask), atol=1e-6)
    double = face_mask(UPRIGHT * 2, 2 * SIDE - 1)
    assert np.allclose(double[::2, ::2], mask, atol=1e-6)


def test_the_mask_of_a_face_seen_from_the_side_stays_wide() -> None:
    aside = UPRIGHT.copy()
    aside[:, 0] = 100 + (aside[:, 0] - 100) / 40
    mask = face_mask(aside, SIDE)
    row, column = MIDDLE
    half_width = 0.8 * HALF_WIDTH
    for distance in (20, 30, 35):
        assert mask[row, column + distance] == pytest.approx(faded(1 - distance / half_width), abs=1e-6)


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 30.0), UPRIGHT * 0.01, UPRIGHT * 50])
def test_the_mask_of_landmarks_that_are_no_face_is_finite(landmarks: Matrix) -> None:
    mask = face_mask(landmarks, SIDE)
    assert np.isfinite(mask).all()
    assert not mask[0].any()
