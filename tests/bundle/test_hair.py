"""Hair and beards on a painted head: found beyond the near view, followed over the person alone, recoloured with age, and shaved off children."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix, warp_crop
from dorian_bundle.hair import (
    HAIR_SIZE,
    NEAR_SIZE,
    WIDE_SIZE,
    Hair,
    find_hair,
    near_of,
    near_template,
    refine_hair,
    wide_template,
)
from dorian_bundle.hair_ageing import (
    change_beard,
    grey_share,
    keeps_hair,
    recolour_brows,
    recolour_hair,
    shaved_share,
)
from dorian_bundle.hair_colour import eye_distance
from dorian_bundle.masks import depth_in_face, mouth_mask, part_mask
from dorian_bundle.mesh import LEFT_IRIS, NOSE, OUTLINE, RIGHT_IRIS, mean_mesh
from dorian_bundle.tensors import luma

SKIN, BROWN, WALL, SHIRT = (205, 160, 135), (60, 42, 35), (70, 110, 170), (190, 40, 50)


@dataclass(frozen=True)
class Head:
    """A painted head in the wide view: its pixels, where its hair, its beard and the person are, and its mesh."""

    pixels: NDArray[np.uint8]
    hair: NDArray[np.bool_]
    beard: NDArray[np.bool_]
    people: NDArray[np.float32]
    mesh: NDArray[np.float64]

    @property
    def near(self) -> NDArray[np.float32]:
        margin = (WIDE_SIZE - NEAR_SIZE) // 2
        return np.stack([self.hair, self.beard])[:, margin:-margin, margin:-margin].astype(np.float32)


def paint(hair_colour: tuple[int, int, int] = BROWN, beard_colour: tuple[int, int, int] | None = None) -> Head:
    mesh = mean_mesh(wide_template(DEFAULT_TEMPLATE).points(WIDE_SIZE))
    head = np.zeros((WIDE_SIZE, WIDE_SIZE), np.uint8)
    middle = tuple(int(value) for value in mesh[OUTLINE].mean(axis=0).round())
    cv2.ellipse(head, (middle[0], middle[1] - 12), (47, 62), 0, 0, 360, 1, -1)
    face = np.zeros_like(head)
    cv2.fillPoly(face, [mesh[OUTLINE].round().astype(np.int32)], 1)
    body = np.zeros_like(head)
    body[round(mesh[OUTLINE][9, 1]) + 8 :, 20:140] = 1
    hair = (head > 0) & (face == 0) & (body == 0)
    pixels = np.full((WIDE_SIZE, WIDE_SIZE, 3), WALL, np.uint8)
    pixels[body > 0] = SHIRT
    pixels[hair] = hair_colour
    pixels[face > 0] = SKIN
    beard = np.zeros(head.shape, np.bool_)
    if beard_colour:
        rows, mouth = (
            np.arange(WIDE_SIZE)[:, None],
            part_mask(mesh, WIDE_SIZE, "lips") + part_mask(mesh, WIDE_SIZE, "teeth"),
        )
        beard = (face > 0) & (rows > mesh[NOSE][-1, 1] + 2) & (mouth < 0.1)
        pixels[beard] = beard_colour
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    people = ((head | face | body) > 0).astype(np.float32)
    return Head((pixels + noise).clip(0, 255).astype(np.uint8), hair, beard, people, mesh)


def found(head: Head) -> NDArray[np.float32]:
    matte, _ = find_hair(head.pixels, head.near, head.people, head.mesh)
    assert matte is not None
    return matte


def fine_beard(head: Head) -> tuple[Hair, NDArray[np.float64]]:
    """The beard in the fine view, and the face's points there."""
    view = cv2.resize(head.pixels, (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    matte = cv2.resize(head.beard.astype(np.float32), (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    return Hair(np.asarray(view, dtype=np.uint8), matte), (head.mesh + 0.5) * HAIR_SIZE / WIDE_SIZE - 0.5


def fine(head: Head, strands: float = 0.0) -> Hair:
    view = cv2.resize(head.pixels, (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    pattern = strands * np.sin(np.arange(HAIR_SIZE) * 1.5)[None, :, None]
    matte = cv2.resize(head.hair.astype(np.float32), (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    return Hair((view + pattern).clip(0, 255).astype(np.uint8), matte)


def test_the_near_view_is_the_middle_of_the_wide_one() -> None:
    photo = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 3)
    landmarks = DEFAULT_TEMPLATE.points(120) + 90
    wide = warp_crop(photo, crop_matrix(landmarks, wide_template(DEFAULT_TEMPLATE), WIDE_SIZE), WIDE_SIZE)
    near = warp_crop(photo, crop_matrix(landmarks, near_template(DEFAULT_TEMPLATE), NEAR_SIZE), NEAR_SIZE)
    assert np.abs(near_of(wide).astype(int) - near).max() <= 2


def test_hair_is_followed_beyond_the_near_view() -> None:
    head = paint()
    beyond = head.hair.copy()
    beyond[32:-32, 32:-32] = False
    inner = cv2.erode(beyond.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inner.sum() > 300
    assert found(head)[inner].mean() > 0.8


@pytest.mark.parametrize("colour", [WALL, SHIRT], ids=["wall", "shirt"])
def test_what_is_not_hair_is_left_alone(colour: tuple[int, int, int]) -> None:
    head = paint()
    there = (np.abs(head.pixels.astype(int) - colour).max(axis=2) < 20) & ~head.hair
    assert there.sum() > 1000
    assert found(head)[there].max() < 0.2


def test_a_wall_of_the_hairs_colour_is_not_hair() -> None:
    head = paint()
    pixels = head.pixels.copy()
    wall = head.people == 0
    pixels[wall] = BROWN
    matte, _ = find_hair(pixels, head.near, head.people, head.mesh)
    assert matte is not None
    assert matte[wall].max() < 0.1


@pytest.mark.parametrize("seen", [0, 30], ids=["bald", "a few pixels"])
def test_too_little_hair_is_none(seen: int) -> None:
    head = paint()
    near = np.zeros((2, NEAR_SIZE, NEAR_SIZE), np.float32)
    near[0].flat[:seen] = near[1].flat[:seen] = 1
    assert find_hair(head.pixels, near, head.people, head.mesh) == (None, None)


def test_a_beard_is_found_beside_the_hair() -> None:
    head = paint(beard_colour=BROWN)
    hair, beard = find_hair(head.pixels, head.near, head.people, head.mesh)
    assert hair is not None
    assert beard is not None
    inner = cv2.erode(head.beard.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert beard[inner].mean() > 0.9
    assert hair[inner].max() < 0.1
    assert (hair + beard).max() < 1.001


def test_a_beard_does_not_become_hair_above_the_eyes() -> None:
    """Hair that the network has not found, of the beard's colour, where it does not look."""
    head = paint(beard_colour=BROWN)
    near = head.near
    near[0] = 0
    hair, beard = find_hair(head.pixels, near, head.people, head.mesh)
    assert hair is None
    assert beard is not None
    assert beard[np.arange(WIDE_SIZE) < head.mesh[RIGHT_IRIS, 1]].max() == 0


def test_a_beard_ends_at_the_mouth_and_does_not_become_a_pullover() -> None:
    head = paint(beard_colour=BROWN)
    shirt = (head.people > 0) & (np.arange(WIDE_SIZE)[:, None] > head.mesh[OUTLINE][9, 1] + 8)
    pixels, near = head.pixels.copy(), head.near.copy()
    pixels[shirt] = BROWN
    near[1] = cv2.dilate(near[1], np.ones((7, 7), np.uint8))  # over the lips
    _, beard = find_hair(pixels, near, head.people, head.mesh)
    assert beard is not None
    unit = np.hypot(*(head.mesh[LEFT_IRIS] - head.mesh[RIGHT_IRIS]))
    far = shirt & (np.arange(WIDE_SIZE)[:, None] > head.mesh[OUTLINE][9, 1] + 0.65 * unit)
    trusted = (WIDE_SIZE - NEAR_SIZE) // 2 + NEAR_SIZE
    assert beard[far & (np.arange(WIDE_SIZE)[:, None] >= trusted)].max() < 0.05
    assert beard[part_mask(head.mesh, WIDE_SIZE, "lips") > 0.99].max() < 0.02


def test_a_refined_matte_ends_where_the_hair_does() -> None:
    half = np.zeros((WIDE_SIZE, WIDE_SIZE), np.float32)
    half[:, : WIDE_SIZE // 2] = 1
    view = np.full((HAIR_SIZE, HAIR_SIZE, 3), WALL, np.uint8)
    view[:, : HAIR_SIZE // 2] = BROWN
    coarse = cv2.GaussianBlur(half, (0, 0), 1.5)
    refined = refine_hair(coarse, view).matte
    steps = -np.diff(refined[HAIR_SIZE // 2])
    assert steps.argmax() == HAIR_SIZE // 2 - 1
    enlarged = cv2.resize(coarse, (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    assert steps.max() > 2 * -np.diff(enlarged[HAIR_SIZE // 2]).min()
    assert refined[0].max() == refined[:, 0].max() == 0  # nothing changes at the border
    assert 0 <= refined.min() <= refined.max() <= 1


def test_grey_comes_with_age() -> None:
    shares = [grey_share(years) for years in range(0, 121)]
    assert shares == sorted(shares)
    assert shares[20] < 0.01
    assert grey_share(57.0) == pytest.approx(0.85 / 2)
    assert shares[120] <= 0.85


def test_dark_hair_goes_grey() -> None:
    hair = fine(paint())
    changes = [recolour_hair(hair, 30, target) for target in (50, 70)]
    inside = hair.matte > 0.95
    lightness = []
    for change in changes:
        assert change is not None
        after = hair.view[inside] / 255 + change[inside]
        lightness.append(float(luma(after).mean()))
    assert 0.17 < lightness[0] < lightness[1] < 0.62
    saturation = np.ptp(hair.view[inside] / 255, axis=1).mean()
    assert np.ptp(hair.view[inside] / 255 + changes[1][inside], axis=1).mean() < saturation


def test_lighter_strands_go_grey_first() -> None:
    hair = fine(paint(), strands=12)
    change = recolour_hair(hair, 30, 55)
    assert change is not None
    inside = hair.matte > 0.95
    light, gain = luma(hair.view)[inside], luma(change)[inside]
    lighter = light > np.median(light)
    assert gain[lighter].mean() > 1.5 * gain[~lighter].mean()


def test_grey_hair_goes_dark_when_its_head_gets_younger() -> None:
    hair = fine(paint((170, 170, 172)))
    change = recolour_hair(hair, 70, 25)
    assert change is not None
    inside = hair.matte > 0.95
    assert luma(hair.view[inside] / 255 + change[inside]).mean() < 0.35


@pytest.mark.parametrize(
    ("colour", "source", "target"),
    [(BROWN, 40, 40), (BROWN, 20, 25), (BROWN, 70, 25), ((215, 180, 110), 70, 25)],
    ids=["same age", "young", "no grey in it", "blond"],
)
def test_other_hair_keeps_its_colour(colour: tuple[int, int, int], source: float, target: float) -> None:
    assert recolour_hair(fine(paint(colour)), source, target) is None


# --- beards ---


def test_a_dark_beard_goes_grey() -> None:
    beard, mesh = fine_beard(paint(beard_colour=BROWN))
    change = change_beard(beard, mesh, 30, 70)
    assert change is not None
    assert change.shaved is None
    inside = beard.matte > 0.95
    assert luma(beard.view[inside] / 255 + change.delta[inside]).mean() > 0.4


def test_what_greys_of_a_beard_is_darker_than_skin_and_beside_the_face_surely_a_beard() -> None:
    """Skin that shows between strands keeps its light, and so does the shade on a neck that is hardly taken for a beard."""
    beard, mesh = fine_beard(paint(beard_colour=BROWN))
    depth = depth_in_face(mesh, HAIR_SIZE)
    shown = (beard.matte > 0.95) & (np.arange(HAIR_SIZE)[None, :] % 8 < 4)
    neck = (depth < -4) & (np.arange(HAIR_SIZE)[:, None] > mesh[OUTLINE][9, 1])
    view = beard.view.copy()
    view[shown] = SKIN
    view[neck] = BROWN
    change = change_beard(Hair(view, np.where(neck, np.float32(0.35), beard.matte)), mesh, 30, 70)
    assert change is not None
    strands = (beard.matte > 0.95) & ~shown
    assert np.abs(change.delta[shown]).mean() < 0.1 * change.delta[strands].mean()
    assert np.abs(change.delta[neck]).max() == 0
    sure = change_beard(Hair(view, np.where(neck, np.float32(1), beard.matte)), mesh, 30, 70)
    assert sure is not None
    assert sure.delta[neck].mean() > 0.1


@pytest.mark.parametrize("share", [1.0, 0.6], ids=["beard", "stubble"])
@pytest.mark.parametrize("colour", [BROWN, (170, 170, 172)], ids=["dark", "grey"])
def test_children_have_no_beard(colour: tuple[int, int, int], share: float) -> None:
    head = paint(beard_colour=colour)
    beard, mesh = fine_beard(head)
    change = change_beard(Hair(beard.view, share * beard.matte), mesh, 40, 8)
    assert change is not None
    assert change.shaved is not None
    after = np.clip(beard.view / 255 + change.shaved[..., None] * change.delta, 0, 1)
    deep = (depth_in_face(mesh, HAIR_SIZE) > 12) & (beard.matte > 0.95)
    assert np.abs(after[deep] - np.array(SKIN) / 255).max(axis=1).mean() < 0.12
    assert np.abs(beard.view[deep] / 255 - np.array(SKIN) / 255).max(axis=1).mean() > 0.13


def test_of_a_long_beard_what_lies_beyond_the_chin_is_left_and_so_are_lips() -> None:
    beard, mesh = fine_beard(paint(beard_colour=BROWN))
    matte = beard.matte.copy()
    matte[round(mesh[OUTLINE][9, 1]) :, 80:240] = 1
    change = change_beard(Hair(beard.view, matte), mesh, 40, 8)
    assert change is not None
    assert change.shaved is not None
    depth, unit = depth_in_face(mesh, HAIR_SIZE), eye_distance(mesh)
    assert not change.shaved[depth < -0.2 * unit].any()
    assert change.shaved[(depth > 0.05 * unit) & (matte > 0.95)].min() > 0.9
    lips = cv2.erode(mouth_mask(mesh, HAIR_SIZE), np.ones((5, 5), np.uint8)) > 0.9
    assert lips.any()
    assert not change.shaved[lips].any()


def test_only_adults_made_children_are_shaved() -> None:
    shares = [shaved_share(40, target) for target in (20, 17, 15, 13, 5)]
    assert shares == [0, 0, 0.5, 1, 1]
    assert shaved_share(12, 5) == 0
    assert not keeps_hair(30, 10)
    assert keeps_hair(30, 25)


# --- brows ---


@pytest.mark.parametrize("colour", [SKIN, (90, 60, 45)], ids=["light skin", "dark skin"])
def test_dark_brows_go_grey_and_skin_does_not(colour: tuple[int, int, int]) -> None:
    mesh = mean_mesh(wide_template(DEFAULT_TEMPLATE).points(HAIR_SIZE))
    brows = part_mask(mesh, HAIR_SIZE, "brows") > 0.5
    view = np.full((HAIR_SIZE, HAIR_SIZE, 3), colour, np.uint8)
    view[brows] = (30, 22, 18)
    found = recolour_brows(view, mesh, 30, 75)
    assert found is not None
    delta, matte = found
    inner = cv2.erode(brows.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    change = luma(matte[..., None] * delta)
    assert 0.06 < change[inner].mean() < luma(view / 255)[~brows].max()
    assert np.abs(change[~brows]).max() < 0.05


def test_brows_keep_their_colour_on_younger_faces() -> None:
    mesh = mean_mesh(wide_template(DEFAULT_TEMPLATE).points(HAIR_SIZE))
    assert recolour_brows(np.full((HAIR_SIZE, HAIR_SIZE, 3), SKIN, np.uint8), mesh, 70, 30) is None
