"""Delta transfer: what changes, by how much, and what stays bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_server.compositing import OVAL_CENTRE, add_delta, oval_mask

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

SIZE = 64


def square(left: float, top: float, side: float, degrees: float = 0.0) -> Matrix:
    """The matrix to a crop of the square at ``left``, ``top`` of ``side`` photo pixels, turned about its middle."""
    scale, angle = SIZE / side, np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([left, top]) + side / 2 - 0.5
    return np.hstack([turn, ((SIZE - 1) / 2 - turn @ middle)[:, None]])


def flat(red: float, green: float, blue: float) -> Floats:
    """A delta of one colour."""
    return np.tile(np.asarray([red, green, blue], np.float32), (SIZE, SIZE, 1))


@pytest.fixture
def photo() -> Pixels:
    """Noise (200, 240, 3) in the middle of the range, so that nothing is clipped."""
    return np.random.default_rng(0).integers(80, 176, (200, 240, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [48, 64, 65, 256])
def test_the_mask_is_symmetric_within_0_and_1_and_fades_to_nothing(size: int) -> None:
    mask = oval_mask(size)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() <= 1
    assert np.allclose(mask, mask[:, ::-1], atol=1e-6)
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.01
    assert mask[round(OVAL_CENTRE[1] * size), round(OVAL_CENTRE[0] * size)] == 1
    assert np.abs(np.diff(mask, axis=0)).max() < 8 / size, "it must fade smoothly"


def test_the_mask_is_wide_enough_for_a_face() -> None:
    mask = oval_mask(SIZE)
    eyes, mouth = mask[int(0.29 * SIZE), int(0.31 * SIZE)], mask[int(0.67 * SIZE), int(0.5 * SIZE)]
    assert min(eyes, mouth) > 0.9
    assert 0.4 < mask.mean() < 0.6


def test_no_difference_leaves_the_photo_bit_for_bit(photo: Pixels) -> None:
    before = photo.copy()
    add_delta(photo, flat(0, 0, 0), square(30.3, 20.7, 130, degrees=17), oval_mask(SIZE))
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("degrees", [0.0, 45.0])
@pytest.mark.parametrize("side", [40.0, 64.0, 150.0])
def test_outside_of_the_oval_nothing_changes(photo: Pixels, side: float, degrees: float) -> None:
    before = photo.copy()
    matrix = square(25, 15, side, degrees)
    add_delta(photo, flat(0.3, -0.3, 0.3), matrix, oval_mask(SIZE))
    y, x = np.mgrid[:200, :240]
    u, v = ((np.stack([x, y], axis=-1) @ matrix[:, :2].T + matrix[:, 2] + 0.5) / SIZE).transpose(2, 0, 1)
    rim = 2 / SIZE  # of interpolation
    outside = np.hypot((u - 0.5) / (0.47 + rim), (v - 0.49) / (0.49 + rim)) > 1
    assert np.array_equal(photo[outside], before[outside])
    assert (photo[~outside] != before[~outside]).mean() > 0.7


def test_inside_it_changes_by_the_difference(photo: Pixels) -> None:
    before = photo.astype(int)
    add_delta(photo, flat(20 / 255, -30 / 255, 0), square(50, 40, 128), oval_mask(SIZE))
    middle = np.s_[90:115, 100:128]
    change = photo[middle].astype(int) - before[middle]
    assert (change == (20, -30, 0)).all()


def test_the_difference_is_weighed_by_the_mask(photo: Pixels) -> None:
    before = photo.astype(int)
    add_delta(photo, flat(40 / 255, 40 / 255, 40 / 255), square(50, 40, SIZE), oval_mask(SIZE))
    change = photo.astype(int) - before
    expected = np.rint(oval_mask(SIZE) * 40)
    assert np.abs(change[40 : 40 + SIZE, 50 : 50 + SIZE, 0] - expected).max() <= 1
    assert change[: 40 - 1].max() == change[:, : 50 - 1].max() == 0


@pytest.mark.parametrize("side", [32.0, 64.0, 160.0])
def test_the_difference_lands_where_it_belongs(photo: Pixels, side: float) -> None:
    """A bump at a place of the crop has its middle at the same place of the photo."""
    v, u = np.mgrid[:SIZE, :SIZE]
    bump = np.exp(-((u - 24) ** 2 + (v - 40) ** 2) / 18).astype(np.float32)
    matrix = square(20.4, 11.8, side, degrees=-30)
    grey = np.full_like(photo, 100)
    add_delta(grey, np.repeat(bump[..., None], 3, axis=2) * 0.5, matrix, np.ones((SIZE, SIZE), np.float32))
    weight = grey[..., 0].astype(float) - 100
    y, x = np.mgrid[:200, :240]
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert matrix[:, :2] @ found + matrix[:, 2] == pytest.approx((24, 40), abs=0.15)


def test_the_whole_square_is_reached(photo: Pixels) -> None:
    before = photo.astype(int)
    add_delta(photo, flat(20 / 255, 20 / 255, 20 / 255), square(50, 40, 128), np.ones((SIZE, SIZE), np.float32))
    inside = np.s_[40 + 1 : 40 + 127, 50 + 1 : 50 + 127]
    assert (photo.astype(int) - before)[inside].min() >= 19


def test_values_stop_at_black_and_white(photo: Pixels) -> None:
    add_delta(photo, flat(1, -1, 0), square(50, 40, 128), oval_mask(SIZE))
    assert photo[100, 114].tolist()[:2] == [255, 0]


@pytest.mark.parametrize(
    ("left", "top"), [(-40.0, 60.0), (-40.0, -50.0), (200.0, 150.0), (90.0, -63.0), (239.0, 10.0), (-63.5, 199.0)]
)
def test_a_face_that_leaves_the_frame_changes_as_if_the_frame_were_wider(
    photo: Pixels, left: float, top: float
) -> None:
    wide = np.pad(photo, ((100, 100), (100, 100), (0, 0)), mode="edge")
    delta = np.random.default_rng(1).uniform(-0.2, 0.2, (SIZE, SIZE, 3)).astype(np.float32)
    add_delta(photo, delta, square(left, top, 80), oval_mask(SIZE))
    add_delta(wide, delta, square(left + 100, top + 100, 80), oval_mask(SIZE))
    assert np.abs(photo.astype(int) - wide[100:-100, 100:-100]).max() <= 1


@pytest.mark.parametrize(("left", "top"), [(-500.0, 20.0), (20.0, -500.0), (900.0, 20.0), (20.0, 900.0)])
def test_a_face_wholly_outside_changes_nothing(photo: Pixels, left: float, top: float) -> None:
    before = photo.copy()
    add_delta(photo, flat(0.5, 0.5, 0.5), square(left, top, 80), oval_mask(SIZE))
    assert np.array_equal(photo, before)
