"""Patches: what changes, by how much, what stays bit for bit, and what is not even looked at."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_server.pipeline.compositing import (
    CHROMA_KEPT,
    FINER_KEPT,
    MEAN_LUMA_KEPT,
    Patch,
    apply,
    coverage,
    delta_patch,
    difference,
    learned_patch,
    replacement_patch,
)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

SIZE = 64
LUMA = np.array([0.299, 0.587, 0.114])
GREY = np.ones(3)
RED = np.array([1, -0.299 / 0.587, 0])  # a tint: it has no luma
MASK = face_mask(mean_mesh(DEFAULT_TEMPLATE.points(SIZE)), SIZE)
ALL = np.ones((SIZE, SIZE), np.float32)


def square(left: float, top: float, side: float, degrees: float = 0.0) -> Matrix:
    """The matrix to a crop of the square at ``left``, ``top`` of ``side`` photo pixels, turned about its middle."""
    scale, angle = SIZE / side, np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([left, top]) + side / 2 - 0.5
    return np.hstack([turn, ((SIZE - 1) / 2 - turn @ middle)[:, None]])


def flat(red: float, green: float, blue: float) -> Floats:
    """One colour all over a crop."""
    return np.tile(np.asarray([red, green, blue], np.float32), (SIZE, SIZE, 1))


def levels(red: float, green: float, blue: float) -> Floats:
    """As ``flat``, in levels of 255."""
    return flat(red / 255, green / 255, blue / 255)


@pytest.fixture
def photo() -> Pixels:
    """Noise (200, 240, 3) in the middle of the range, so that nothing is clipped."""
    return np.random.default_rng(0).integers(80, 176, (200, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def crop() -> Pixels:
    """Soft colours (64, 64, 3), none near the ends of the range."""
    coarse = np.random.default_rng(2).integers(90, 190, (5, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))


# --- a difference ---


@pytest.mark.parametrize("level", [-0.3, 0.0, 0.2])
def test_of_a_difference_in_light_all_over_a_part_is_kept(level: float) -> None:
    patch = delta_patch(square(0, 0, SIZE), MASK, flat(level, level, level))
    assert np.allclose(patch.values, MEAN_LUMA_KEPT * level, atol=1e-6)
    assert not patch.replaces


def test_a_tint_all_over_vanishes() -> None:
    patch = delta_patch(square(0, 0, SIZE), MASK, flat(*(0.2 * RED)))
    assert np.allclose(patch.values, 0, atol=1e-5)


def test_of_a_colour_all_over_its_light_is_kept_in_part_and_without_the_colour() -> None:
    patch = delta_patch(square(0, 0, SIZE), MASK, flat(0.1, 0.2, -0.3))
    assert np.allclose(patch.values, MEAN_LUMA_KEPT * LUMA @ (0.1, 0.2, -0.3), atol=1e-5)


@pytest.mark.parametrize(("colour", "kept"), [(GREY, 1.0), (RED, CHROMA_KEPT)], ids=["light", "colour"])
def test_what_is_lighter_here_and_darker_there_stays(colour: NDArray[np.float64], kept: float) -> None:
    sides = np.where(np.arange(SIZE) < SIZE / 2, -0.2, 0.2)[None, :, None]
    delta = np.asarray(np.tile(sides * colour, (SIZE, 1, 1)), dtype=np.float32)
    patch = delta_patch(square(0, 0, SIZE), MASK, delta)
    assert np.allclose(patch.values, kept * delta, atol=1e-3)  # the mask is not quite the same on both sides


def test_what_lies_beside_the_face_does_not_count_for_the_mean() -> None:
    delta = flat(0.2, 0.2, 0.2)
    delta[MASK == 0] = 0.9
    patch = delta_patch(square(0, 0, SIZE), MASK, delta)
    assert np.allclose(patch.values[MASK > 0], MEAN_LUMA_KEPT * 0.2, atol=1e-6)


@pytest.mark.parametrize("of", [delta_patch, learned_patch])
def test_of_no_difference_nothing_is_left(of: Callable[..., Patch]) -> None:
    assert not of(square(0, 0, SIZE), MASK, flat(0, 0, 0)).values.any()


@pytest.mark.parametrize("of", [delta_patch, learned_patch])
def test_a_photo_without_colour_gets_none(of: Callable[..., Patch]) -> None:
    delta = np.random.default_rng(0).uniform(-0.3, 0.3, (SIZE, SIZE, 3)).astype(np.float32)
    coloured, grey = (of(square(0, 0, SIZE), MASK, delta, colour).values for colour in (1.0, 0.0))
    assert np.ptp(coloured, axis=2).max() > 0.1
    assert np.ptp(grey, axis=2).max() < 1e-6
    assert np.allclose(grey @ LUMA, coloured @ LUMA, atol=1e-6)


def test_what_was_learned_under_the_mask_is_added_as_it_is() -> None:
    delta = np.random.default_rng(0).uniform(-0.3, 0.3, (SIZE, SIZE, 3)).astype(np.float32) + flat(0.2, 0, -0.1)
    patch = learned_patch(square(0, 0, SIZE), MASK, delta)
    assert np.array_equal(patch.values, delta)
    assert not patch.replaces


def test_a_little_colour_bears_a_little() -> None:
    grey, half, whole = (learned_patch(square(0, 0, SIZE), MASK, flat(0.2, 0, 0), part).values for part in (0, 0.5, 1))
    assert np.allclose(half, (grey + whole) / 2, atol=1e-6)


# --- the drawing itself ---


def test_a_drawing_takes_the_colours_of_what_it_replaces(crop: Pixels) -> None:
    """Darker, flatter and bluer than the crop, but of its pattern: what comes out is the crop."""
    lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    drawn = cv2.cvtColor((0.6 * lab + (5, 2, -8)).astype(np.float32), cv2.COLOR_LAB2RGB)
    patch = replacement_patch(square(0, 0, SIZE), MASK, crop, drawn)
    assert patch.replaces
    assert patch.values.dtype == np.float32
    assert np.abs(drawn - crop / 255).max() > 0.1
    assert np.abs(patch.values - crop / 255).max() < 0.01


def test_a_flat_drawing_becomes_the_mean_colour_under_the_mask() -> None:
    crop = np.full((SIZE, SIZE, 3), 250, np.uint8)
    crop[MASK > 0] = (180, 130, 90)
    patch = replacement_patch(square(0, 0, SIZE), MASK, crop, flat(0.1, 0.9, 0.5))
    assert np.allclose(patch.values * 255, (180, 130, 90), atol=0.5)


def test_a_drawing_stays_in_range(crop: Pixels) -> None:
    spots = np.random.default_rng(0).uniform(0, 1, (SIZE, SIZE, 3)).astype(np.float32) ** 8
    bright = np.where(crop > 140, np.uint8(255), np.uint8(0))
    values = replacement_patch(square(0, 0, SIZE), MASK, bright, spots).values
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_a_drawing_takes_the_photos_place_as_far_as_the_mask_is_whole(photo: Pixels) -> None:
    before = photo.copy()
    patch = Patch(square(50, 40, SIZE), MASK, levels(200, 100, 50), replaces=True)
    apply(photo, [patch], 1)
    face = np.s_[40 : 40 + SIZE, 50 : 50 + SIZE]
    expected = before[face] + MASK[..., None] * (np.array([200, 100, 50]) - before[face])
    assert np.abs(photo[face] - expected).max() <= 0.51
    assert (photo[face][MASK == 1] == (200, 100, 50)).all()
    photo[face] = before[face]
    assert np.array_equal(photo, before)


# --- into the photo ---


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5])
def test_inside_it_changes_by_the_difference_times_the_strength(photo: Pixels, strength: float) -> None:
    before = photo.astype(int)
    apply(photo, [Patch(square(50, 40, 128), MASK, levels(20, -30, 0))], strength)
    middle = np.s_[90:115, 100:128]
    assert (photo[middle] - before[middle] == np.rint(np.multiply((20, -30, 0), strength))).all()


@pytest.mark.parametrize("patch", [
    Patch(square(30.3, 20.7, 130, degrees=17), MASK, flat(0, 0, 0)),
    Patch(square(30.3, 20.7, 130), np.zeros_like(MASK), flat(0.5, 0.5, 0.5)),
    Patch(square(30.3, 20.7, 130), np.zeros_like(MASK), flat(0.5, 0.5, 0.5), replaces=True),
])  # fmt: skip
def test_no_difference_or_no_mask_leaves_the_photo_bit_for_bit(photo: Pixels, patch: Patch) -> None:
    before = photo.copy()
    apply(photo, [patch], 1)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("replaces", [False, True])
def test_a_strength_of_0_leaves_the_photo_bit_for_bit(photo: Pixels, replaces: bool) -> None:
    before = photo.copy()
    apply(photo, [Patch(square(30.3, 20.7, 130, degrees=17), MASK, flat(0.7, 0.1, 0.4), replaces)], 0)
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 45.0])
@pytest.mark.parametrize("side", [40.0, 64.0, 150.0])
def test_outside_of_the_mask_nothing_changes(photo: Pixels, side: float, degrees: float, replaces: bool) -> None:
    before = photo.copy()
    matrix = square(25, 15, side, degrees)
    apply(photo, [Patch(matrix, MASK, flat(0.3, -0.3, 0.3), replaces)], 1)
    y, x = np.mgrid[:200, :240].astype(np.float32)
    u, v = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)])).astype(np.float32)
    near = cv2.dilate(MASK, np.ones((5, 5)))  # of interpolation
    outside = cv2.remap(near, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) == 0
    assert np.array_equal(photo[outside], before[outside])
    assert (photo[~outside] != before[~outside]).mean() > 0.7


@pytest.mark.parametrize("side", [32.0, 64.0, 160.0])
def test_the_difference_lands_where_it_belongs(photo: Pixels, side: float) -> None:
    """A bump at a place of the crop has its middle at the same place of the photo."""
    v, u = np.mgrid[:SIZE, :SIZE]
    bump = np.exp(-((u - 24) ** 2 + (v - 40) ** 2) / 18).astype(np.float32)
    matrix = square(20.4, 11.8, side, degrees=-30)
    grey = np.full_like(photo, 100)
    apply(grey, [Patch(matrix, ALL, np.repeat(bump[..., None], 3, axis=2) * 0.5)], 1)
    weight = grey[..., 0].astype(float) - 100
    y, x = np.mgrid[:200, :240]
    result = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert matrix[:, :2] @ result + matrix[:, 2] == pytest.approx((24, 40), abs=0.15)


@pytest.mark.parametrize("replaces", [False, True])
def test_there_is_no_step_at_the_masks_rim(replaces: bool) -> None:
    """On a plain photo, a face of four times the crop's size: from pixel to pixel less than a tenth of the change."""
    grey = np.full((300, 300, 3), 100, np.uint8)
    values = levels(140, 140, 140) if replaces else levels(40, 40, 40)
    apply(grey, [Patch(square(22, 22, 4 * SIZE), MASK, values, replaces)], 1)
    change = grey[..., 0].astype(int) - 100
    assert change.max() == 40
    assert change.min() >= 0, "no ring about it"
    steps = [np.abs(np.diff(change, axis=axis)).max() for axis in (0, 1)]
    assert max(steps) <= 4
    rim = cv2.erode((change > 0).astype(np.uint8), np.ones((3, 3))) != (change > 0)
    assert change[rim].max() <= 2


def test_of_a_photos_finer_detail_a_share_is_kept_where_a_patch_has_its_view() -> None:
    """Stripes of one pixel, which a crop of half the size cannot show, under half of a mask."""
    photo = np.full((128, 128, 3), 120, np.uint8)
    photo[:, ::2] = 140
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[:, : SIZE // 2] = 1
    apply(photo, [Patch(square(0, 0, 128), mask, flat(0, 0, 0), view=levels(130, 130, 130))], 1.0)
    inside, outside = photo[:, 4:56].astype(float), photo[:, 72:124]
    assert np.abs(inside - 130).mean() == pytest.approx(10 * FINER_KEPT, abs=0.6)
    assert (outside[:, ::2] == 140).all()
    assert (outside[:, 1::2] == 120).all()


def test_values_stop_at_black_and_white(photo: Pixels) -> None:
    apply(photo, [Patch(square(50, 40, 128), MASK, flat(1, -1, 0))], 1.5)
    assert photo[100, 114].tolist()[:2] == [255, 0]


# --- several faces ---


@pytest.mark.parametrize("replaces", [False, True])
def test_the_same_face_twice_is_added_once(photo: Pixels, replaces: bool) -> None:
    patch = Patch(square(30, 20, 130, degrees=10), MASK, levels(40, 30, 20), replaces)
    once, twice = photo.copy(), photo.copy()
    apply(once, [patch], 1)
    apply(twice, [patch, patch], 1)
    assert np.abs(once.astype(int) - twice).max() <= 1


def test_overlapping_faces_share_each_pixel_by_their_masks() -> None:
    grey = np.full((100, 140, 3), 100, np.uint8)
    places, changes = (10, 40), (60.0, -40.0)
    masks, patches = [], []
    for left, change in zip(places, changes, strict=True):
        lying = np.zeros((100, 140))
        lying[20 : 20 + SIZE, left : left + SIZE] = MASK
        masks.append(lying)
        patches.append(Patch(square(left, 20, SIZE), MASK, levels(change, change, change)))
    total = np.maximum(sum(masks), 1e-9)
    expected = sum(change * mask * mask / total for change, mask in zip(changes, masks, strict=True))
    for order in (patches, patches[::-1]):
        result = grey.copy()
        apply(result, order, 1)
        assert np.abs(result[..., 0] - 100.0 - expected).max() <= 1.01


def test_faces_apart_change_as_if_they_were_alone(photo: Pixels) -> None:
    patches = [
        Patch(square(left, top, 60), MASK, levels(*colour))
        for left, top, colour in [(0, 0, (30, 0, 0)), (70, 10, (0, 30, 0)), (100, 120, (0, 0, 30))]
    ]
    together, apart = photo.copy(), photo.copy()
    apply(together, patches, 1)
    for patch in patches:
        apply(apart, [patch], 1)
    assert np.array_equal(together, apart)


# --- what was added, as a layer of its own ---


def test_differences_are_signed_about_128_and_cut() -> None:
    before, after = (np.array([[row]], np.uint8) for row in ([10, 200, 0], [13, 190, 0]))
    assert difference(before, after).tolist() == [[[131, 118, 128]]]
    steps = np.arange(256, dtype=np.uint8)
    before, after = (np.repeat(grid[..., None], 3, axis=2) for grid in np.meshgrid(steps, steps))
    expected = np.clip(after.astype(int) - before, -128, 127) + 128
    assert np.array_equal(difference(before, after), expected)


def test_coverage_is_the_mask_where_it_lies_on_the_photo(photo: Pixels) -> None:
    covered = coverage(photo, [Patch(square(50, 40, SIZE), MASK, flat(0, 0, 0))])
    assert (covered.shape, covered.dtype) == (photo.shape[:2], np.uint8)
    face = np.s_[40 : 40 + SIZE, 50 : 50 + SIZE]
    assert np.array_equal(covered[face], np.rint(255 * MASK))
    covered[face] = 0
    assert not covered.any()


@pytest.mark.parametrize("replaces", [False, True])
def test_where_masks_overlap_the_most_counts(photo: Pixels, replaces: bool) -> None:
    patches = [Patch(square(left, 20, 100, degrees=9), MASK, flat(0, 0, 0), replaces) for left in (-30.0, 10.0, 900.0)]
    alone = [coverage(photo, [patch]) for patch in patches]
    assert not alone[2].any(), "outside of the photo"
    assert np.array_equal(coverage(photo, patches), np.maximum(*alone[:2]))


# --- the frame, and what lies beyond ---


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize(
    ("left", "top"), [(-40.0, 60.0), (-40.0, -50.0), (200.0, 150.0), (90.0, -63.0), (239.0, 10.0), (-63.5, 199.0)]
)
def test_a_face_that_leaves_the_frame_changes_as_if_the_frame_were_wider(
    photo: Pixels, left: float, top: float, replaces: bool
) -> None:
    wide = np.pad(photo, ((100, 100), (100, 100), (0, 0)), mode="edge")
    values = np.random.default_rng(1).uniform(-0.2, 0.2, (SIZE, SIZE, 3)).astype(np.float32)
    apply(photo, [Patch(square(left, top, 80), MASK, values, replaces)], 1)
    apply(wide, [Patch(square(left + 100, top + 100, 80), MASK, values, replaces)], 1)
    assert np.abs(photo.astype(int) - wide[100:-100, 100:-100]).max() <= 1


@pytest.mark.parametrize(("left", "top"), [(-500.0, 20.0), (20.0, -500.0), (900.0, 20.0), (20.0, 900.0)])
def test_a_face_wholly_outside_changes_nothing_and_hinders_no_other(photo: Pixels, left: float, top: float) -> None:
    outside = Patch(square(left, top, 80), MASK, flat(0.5, 0.5, 0.5))
    inside = Patch(square(50, 40, 128), MASK, levels(20, 20, 20))
    expected = photo.copy()
    apply(expected, [inside], 1)
    apply(photo, [outside, inside], 1)
    assert np.array_equal(photo, expected)


def test_nothing_beyond_a_photo_that_is_part_of_another_is_written() -> None:
    whole = np.full((300, 340, 3), 123, np.uint8)
    view = whole[50:-50, 50:-50]
    view[:] = 100
    apply(view, [Patch(square(left, -30, 120), ALL, levels(50, 50, 50)) for left in (-50, 60, 180)], 1)
    assert (view != 100).any()
    view[:] = 123
    assert (whole == 123).all()


class Watched(np.ndarray):
    """A photo that notes which parts of it are looked at."""

    parts: Sequence[tuple[slice, slice]] = ()

    def __getitem__(self, key: Any) -> Any:
        self.parts = [*self.parts, key]
        return np.asarray(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("all of the photo is written to")


@pytest.mark.parametrize("replaces", [False, True])
def test_of_a_large_photo_only_the_faces_are_touched(replaces: bool) -> None:
    """12 million pixels, of which two faces have 80,000."""
    photo = np.full((3000, 4000, 3), 100, np.uint8).view(Watched)
    places = [(1000, 700), (2800, 2300)]
    patches = [Patch(square(*place, 200), MASK, flat(0.2, 0.2, 0.2), replaces) for place in places]
    tracemalloc.start()
    apply(photo, patches, 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < photo.nbytes / 4, "no copy of all of it is made"
    assert len(photo.parts) >= 2
    for rows, columns in photo.parts:
        left, top = min(places, key=lambda place: abs(place[0] - columns.start))
        assert top - 3 <= rows.start < rows.stop <= top + 203
        assert left - 3 <= columns.start < columns.stop <= left + 203
    pixels = np.asarray(photo)
    rows, columns = np.nonzero((pixels != 100).any(axis=2))
    assert (columns.min(), rows.min()) >= (1000, 700)
    assert rows.max() < 2500
