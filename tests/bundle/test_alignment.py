"""Alignment: the transform against its closed form, the crop against pictures whose every value is known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import AlignmentError
from dorian_bundle.alignment import DEFAULT_TEMPLATE, AlignmentTemplate, crop_matrix, fit_similarity, warp_crop

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

SIZE = 64
TEMPLATE = DEFAULT_TEMPLATE.points(SIZE)
GOLDEN = Path(__file__).parent / "data" / "reflected_scene_crop.png"
GOLDEN_TOLERANCE = 2  # grey levels: releases of OpenCV round differently


def placement(degrees: float, scale: float, shift: tuple[float, float]) -> Floats:
    """The (2, 3) matrix that turns by ``degrees``, enlarges by ``scale`` and then moves by ``shift``."""
    angle = np.deg2rad(degrees)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def move(matrix: Floats, points: Floats) -> Floats:
    """``points`` (n, 2) under ``matrix`` (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def face_in_the_middle(side: int, scale: float, degrees: float) -> Floats:
    """Landmarks as the template's, turned and enlarged, the crop's middle in the middle of a photo of ``side``."""
    about = placement(degrees, scale, (0.0, 0.0))
    middle = (side - 1) / 2
    return move(about, TEMPLATE - (SIZE - 1) / 2) + middle


def smooth_scene(height: int, width: int) -> Pixels:
    """A picture of slow waves, of another direction in each colour."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return np.rint(waves(x, y)).astype(np.uint8)


def waves(x: Floats, y: Floats) -> Floats:
    """The values of ``smooth_scene`` at any place, even between pixels."""
    return np.stack(
        [127.5 + 100 * np.sin(x / 40), 127.5 + 100 * np.cos(y / 30), 127.5 + 100 * np.sin((x + y) / 50)], axis=-1
    )


# --- the transform ---


@pytest.mark.parametrize("degrees", [0.0, 1.0, 37.0, 90.0, 180.0, -120.0])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (-700.5, 1234.25)])
def test_a_known_similarity_is_recovered(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    true = placement(degrees, scale, shift)
    source = np.random.default_rng(0).normal(size=(5, 2)) * 100
    assert np.allclose(fit_similarity(source, move(true, source)), true, rtol=0, atol=1e-9)


def test_the_template_aligns_with_itself() -> None:
    assert np.allclose(crop_matrix(TEMPLATE, DEFAULT_TEMPLATE, SIZE), np.eye(2, 3), rtol=0, atol=1e-12)


def test_it_is_the_least_squares_answer() -> None:
    random = np.random.default_rng(1)
    source, target = random.normal(size=(5, 2)) * 50, random.normal(size=(5, 2)) * 50
    x, y = source.T
    zero, one = np.zeros(5), np.ones(5)
    rows = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    (c, s, tx, ty), *_ = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)
    assert np.allclose(fit_similarity(source, target), [[c, -s, tx], [s, c, ty]], rtol=0, atol=1e-9)


def test_it_never_reflects() -> None:
    mirrored = TEMPLATE * (-1, 1)
    matrix = fit_similarity(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_a_list_of_pairs_is_taken_too() -> None:
    assert np.array_equal(fit_similarity(TEMPLATE.tolist(), TEMPLATE), fit_similarity(TEMPLATE, TEMPLATE))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_landmarks_must_be_finite(bad: float) -> None:
    points = TEMPLATE.copy()
    points[3, 1] = bad
    with pytest.raises(AlignmentError, match=r"landmarks must be finite and of shape \(5, 2\)"):
        fit_similarity(points, TEMPLATE)


@pytest.mark.parametrize("shape", [(4, 2), (5, 3), (10,), (1, 5, 2)])
def test_landmarks_must_be_five_pairs(shape: tuple[int, ...]) -> None:
    with pytest.raises(AlignmentError) as caught:
        fit_similarity(np.ones(shape), TEMPLATE)
    assert str(caught.value) == f"landmarks must be finite and of shape (5, 2), got {shape}"


def test_landmarks_must_not_coincide() -> None:
    with pytest.raises(AlignmentError, match="landmarks coincide"):
        fit_similarity(np.full((5, 2), 17.0), TEMPLATE)


def test_the_template_counts_from_the_centre_of_the_first_pixel() -> None:
    corners = AlignmentTemplate(landmarks=((0, 0), (1, 0), (0.5, 0.5), (0, 1), (1, 1)))
    assert corners.points(64).tolist() == [[-0.5, -0.5], [63.5, -0.5], [31.5, 31.5], [-0.5, 63.5], [63.5, 63.5]]


def test_the_default_template_is_symmetric() -> None:
    right_eye, left_eye, nose, right_mouth, left_mouth = DEFAULT_TEMPLATE.landmarks
    assert nose[0] == 0.5
    assert (1 - left_eye[0], left_eye[1]) == pytest.approx(right_eye)
    assert (1 - left_mouth[0], left_mouth[1]) == pytest.approx(right_mouth)


# --- the crop ---


def test_identity_gives_the_picture_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    assert np.array_equal(warp_crop(picture, np.eye(2, 3), SIZE), picture)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (5, 90), (136, 36)])
def test_a_shift_by_whole_pixels_cuts_out(left: int, top: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (180, 200, 3), dtype=np.uint8)
    crop = warp_crop(picture, placement(0, 1, (-left, -top)), SIZE)
    assert np.array_equal(crop, picture[top : top + SIZE, left : left + SIZE])


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.4, 1.6, 3.0, 5.3])
@pytest.mark.parametrize("degrees", [0.0, 25.0, -160.0])
def test_a_smooth_picture_is_sampled_at_the_right_places(scale: float, degrees: float) -> None:
    picture = smooth_scene(500, 600)
    to_photo = placement(degrees, scale, (0, 0))
    to_photo[:, 2] = (300.2, 250.7) - to_photo[:, :2] @ np.full(2, (SIZE - 1) / 2)
    v, u = np.mgrid[:SIZE, :SIZE]
    places = move(to_photo, np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64))
    expected = waves(*places.T).reshape(SIZE, SIZE, 3)
    crop = warp_crop(picture, cv2.invertAffineTransform(to_photo), SIZE)
    assert np.abs(crop - expected).max() < 2.5


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0, 5.5, 12.0])
@pytest.mark.parametrize("degrees", [0.0, 20.0, -45.0, 180.0])
def test_painted_landmarks_land_on_the_template(scale: float, degrees: float) -> None:
    side = int(SIZE * scale * 1.6)
    landmarks = face_in_the_middle(side, scale, degrees)
    picture = np.full((side, side, 3), 40, np.uint8)
    fine = 16  # fractions of a pixel that OpenCV draws
    for point in landmarks:
        centre = np.rint(point * fine).astype(int).tolist()
        cv2.circle(picture, centre, round(3 * scale * fine), (240, 240, 240), cv2.FILLED, cv2.LINE_AA, shift=4)
    crop = warp_crop(picture, crop_matrix(landmarks, DEFAULT_TEMPLATE, SIZE), SIZE)
    light = crop[..., 0].astype(np.float64) - 40
    v, u = np.mgrid[:SIZE, :SIZE]
    for x, y in TEMPLATE:
        weight = light * (np.hypot(u - x, v - y) < 5.2)
        result = (weight * u).sum() / weight.sum(), (weight * v).sum() / weight.sum()
        assert result == pytest.approx((x, y), abs=0.2)


@pytest.mark.parametrize("scale", [8.0, 7.3])
def test_fine_patterns_become_grey_instead_of_aliasing(scale: float) -> None:
    y, x = np.mgrid[:900, :900]
    checks = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    landmarks = face_in_the_middle(900, scale, 0.0)
    crop = warp_crop(checks, crop_matrix(landmarks, DEFAULT_TEMPLATE, SIZE), SIZE)
    assert np.abs(crop - 127.5).max() <= 4


@pytest.mark.parametrize("scale", [0.8, 4.0])
def test_only_the_neighbourhood_of_the_face_matters(scale: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (800, 900, 3), dtype=np.uint8)
    matrix = crop_matrix(face_in_the_middle(800, scale, 10.0), DEFAULT_TEMPLATE, SIZE)
    crop = warp_crop(picture, matrix, SIZE)
    reach = int(scale * SIZE)  # half a crop's diagonal and a margin
    elsewhere = np.full_like(picture, 255)
    near = slice(400 - reach, 400 + reach)
    elsewhere[near, near] = picture[near, near]
    assert np.array_equal(warp_crop(elsewhere, matrix, SIZE), crop)


def test_a_large_photo_costs_no_more_than_its_face() -> None:
    """20,000 pixels a side, all one in memory, so that every pixel touched has to be copied out first."""
    side = 20_000
    picture = np.broadcast_to(np.array([10, 200, 30], np.uint8), (side, side, 3))
    matrix = crop_matrix(face_in_the_middle(side, 3.0, 30.0), DEFAULT_TEMPLATE, SIZE)
    tracemalloc.start()
    try:
        crop = warp_crop(picture, matrix, SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (crop == (10, 200, 30)).all()
    assert 3 * (3 * SIZE) ** 2 < peak < 10 * (3 * SIZE) ** 2


def test_what_lies_outside_is_reflected() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    before, beyond = 10, 20
    start = warp_crop(picture, placement(0, 1, (before, before)), SIZE)
    end = warp_crop(picture, placement(0, 1, (-(120 - SIZE + beyond), -(100 - SIZE + beyond))), SIZE)
    left = np.abs(np.arange(-before, SIZE - before))
    assert np.array_equal(start, picture[left][:, left])
    down, across = np.arange(SIZE) + 100 - SIZE + beyond, np.arange(SIZE) + 120 - SIZE + beyond
    assert np.array_equal(end, picture[99 - np.abs(99 - down)][:, 119 - np.abs(119 - across)])


@pytest.mark.parametrize("shift", [(-40.0, 0.0), (50.0, 50.0), (0.0, -1000.0), (1000.0, 1000.0)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_no_black_comes_in_from_outside(shift: tuple[float, float], scale: float) -> None:
    white = np.full((70, 90, 3), 255, np.uint8)
    assert warp_crop(white, placement(15, scale, shift), SIZE).min() == 255


def test_a_crop_is_the_one_that_it_has_always_been() -> None:
    """A face that leaves the photo at the left, turned, three times the crop's size.

    The networks are trained on such crops: if this fails, old weights see other pictures than they were trained on.
    Where that is meant, look at the new crop, and save it in place of the old.
    """
    picture = smooth_scene(240, 260)
    picture[60:90, 20:60] = (250, 30, 30)
    cv2.circle(picture, (70, 150), 25, (20, 220, 40), cv2.FILLED)
    landmarks = move(placement(-12, 3, (-30, 20)), TEMPLATE)
    crop = warp_crop(picture, crop_matrix(landmarks, DEFAULT_TEMPLATE, SIZE), SIZE)
    golden = cv2.cvtColor(cv2.imread(str(GOLDEN)), cv2.COLOR_BGR2RGB)
    assert golden.shape == crop.shape
    assert np.abs(crop.astype(int) - golden).max() <= GOLDEN_TOLERANCE


@pytest.mark.parametrize("factor", [0.8, 1.0, 0.5])
def test_a_zoomed_template_shows_the_face_smaller_about_the_middle(factor: float) -> None:
    zoomed = DEFAULT_TEMPLATE.zoomed(factor).points(SIZE)
    middle = (SIZE - 1) / 2
    assert zoomed - middle == pytest.approx((TEMPLATE - middle) * factor)
    photo = smooth_scene(300, 300)
    landmarks = face_in_the_middle(300, 2.0, 15.0)
    near, far = (crop_matrix(landmarks, item, SIZE) for item in (DEFAULT_TEMPLATE, DEFAULT_TEMPLATE.zoomed(factor)))
    assert np.hypot(*far[:, 0]) == pytest.approx(factor * np.hypot(*near[:, 0]))
    assert warp_crop(photo, far, SIZE).shape == (SIZE, SIZE, 3)
