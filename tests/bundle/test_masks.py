"""Masks of a face and of its parts: where they are whole, how they fall, and what they follow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import FEATHER, Part, change_mask, face_mask, learned_mask, part_mask
from dorian_bundle.mesh import INNER_LIPS, LEFT_BROW, LEFT_EYE, OUTER_LIPS, OUTLINE, POINTS, RIGHT_EYE, mean_mesh

SIZE = 256
MESH = mean_mesh(DEFAULT_TEMPLATE.points(SIZE))
EYES = float(np.linalg.norm(MESH[72] - MESH[71]))
PARTS: list[Part] = ["eyes", "brows", "lips", "teeth"]


def at(mask: NDArray[np.float32], points: NDArray[np.float64]) -> list[float]:
    columns, rows = np.rint(points).astype(int).T
    return [float(value) for value in mask[rows, columns]]


@pytest.mark.parametrize("size", [48, 64, 65, 256])
def test_the_mask_of_an_aligned_face_is_symmetric_and_fades_to_nothing_at_the_crops_border(size: int) -> None:
    mask = face_mask(mean_mesh(DEFAULT_TEMPLATE.points(size)), size)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    assert (mask.min(), mask.max()) == (0, pytest.approx(1))
    assert np.allclose(mask, mask[:, ::-1], atol=0.05)
    assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
    assert np.abs(np.diff(mask, axis=0)).max() < 20 / size, "it must fade smoothly"
    assert 0.3 < mask.mean() < 0.6


def test_the_mask_is_whole_on_the_features_and_nothing_outside_of_the_jaw() -> None:
    mask = face_mask(MESH, SIZE)
    features = np.concatenate([MESH[18:34], MESH[OUTER_LIPS], MESH[64:71]])
    assert min(at(mask, features)) > 0.98
    jaw = MESH[OUTLINE][4:15]  # from ear to ear
    outwards = (jaw - MESH.mean(axis=0)) / np.linalg.norm(jaw - MESH.mean(axis=0), axis=1, keepdims=True)
    assert max(at(mask, np.clip(jaw + 3 * outwards, 0, SIZE - 1))) == 0


def test_the_mask_grows_from_the_outline_inwards() -> None:
    mask, chin = face_mask(MESH, SIZE), MESH[OUTLINE][9]
    for share in (0.25, 0.5, 0.75, 1.0):
        expected = share**2 * (3 - 2 * share)
        (actual,) = at(mask, (chin - (0, share * FEATHER * EYES))[None])
        assert actual == pytest.approx(expected, abs=0.08)


def test_the_mask_follows_the_mesh() -> None:
    small = MESH * 0.5 + 60
    mask = face_mask(small, SIZE)
    moved = face_mask(np.add(small, (7, -5)), SIZE)
    assert np.allclose(moved[25:-25, 25:-25], mask[30:-20, 18:-32], atol=0.02)
    turned = face_mask(np.stack([small[:, 1], SIZE - 1 - small[:, 0]], axis=1), SIZE)
    assert np.allclose(turned, np.rot90(mask), atol=0.05)


def test_a_face_seen_from_the_side_fades_as_one_from_the_front() -> None:
    """Its eyes are near each other in the picture; its length says how large it is."""
    aside = MESH.copy()
    aside[:, 0] = 128 + (aside[:, 0] - 128) * 0.2
    mask = face_mask(aside, SIZE)
    assert np.abs(np.diff(mask, axis=1)).max() < 0.1


@pytest.mark.parametrize(
    "mesh", [np.full((POINTS, 2), 30.0), MESH * 0.01, MESH * 5000], ids=["one point", "a speck", "beyond the crop"]
)
def test_the_mask_of_points_that_are_no_face_is_finite(mesh: NDArray[np.float64]) -> None:
    mask = face_mask(mesh, 64)
    assert np.isfinite(mask).all()
    assert not mask[0].any()


def test_a_change_stays_near_where_methods_learned_to_draw() -> None:
    """A face that reaches further to one side than the mean face changes less there than it might."""
    aside = np.add(MESH, (0.3 * EYES, 0))
    mask, own = change_mask(aside, DEFAULT_TEMPLATE, SIZE), face_mask(aside, SIZE)
    learned = learned_mask(DEFAULT_TEMPLATE, SIZE)
    assert (mask <= own).all()
    assert np.array_equal(learned, face_mask(MESH, SIZE))
    assert (own[:, -SIZE // 4 :] > mask[:, -SIZE // 4 :]).any()
    reach = np.rint(np.add(MESH[OUTLINE][4:6], (0.15 * EYES, 0))).astype(int)  # beside the left ear
    assert mask[reach[:, 1], reach[:, 0]].max() == 0
    assert np.allclose(change_mask(MESH, DEFAULT_TEMPLATE, SIZE), learned, atol=0.02), "the mean face is not cut"
    with pytest.raises(ValueError, match="read-only"):
        learned[0, 0] = 1


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_inside_of_the_face_and_symmetric(part: Part) -> None:
    mask = part_mask(MESH, SIZE, part)
    assert (mask.shape, mask.dtype, mask.max()) == ((SIZE, SIZE), np.float32, 1)
    assert (mask[face_mask(MESH, SIZE) == 0] == 0).all()
    assert np.allclose(cv2.blur(mask, (3, 3)), cv2.blur(mask[:, ::-1], (3, 3)), atol=0.5)


def test_parts_are_where_their_points_are() -> None:
    eyes, lips, teeth, brows = (part_mask(MESH, SIZE, part) for part in ("eyes", "lips", "teeth", "brows"))
    centres = np.stack([MESH[RIGHT_EYE].mean(axis=0), MESH[LEFT_EYE].mean(axis=0)])
    assert at(eyes, centres) == [1, 1]
    mouth = MESH[INNER_LIPS].mean(axis=0)
    assert at(teeth, mouth[None]) == [1]
    assert at(lips, mouth[None]) == [0], "the mouth's opening is not its lips"
    lower = (MESH[OUTER_LIPS][9] + MESH[INNER_LIPS][6]) / 2
    assert at(lips, lower[None]) == [1]
    assert at(brows, MESH[LEFT_BROW][2:3]) == [1]
    polygon = float(cv2.contourArea(MESH[RIGHT_EYE].astype(np.float32)))
    assert float(eyes[:, : SIZE // 2].sum()) == pytest.approx(polygon, rel=0.1)
