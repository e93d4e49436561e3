"""Reshaping: points go where they should, pixels with them, and nothing tears, folds or moves far from the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_shape import load_face_shape
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.mesh import MEAN_FACE, POINTS
from dorian_server.pipeline import reshaping
from dorian_server.pipeline.reshaping import Move, reshape_faces, shift_grid

CHIN = 9
WHOLE = (slice(0, 401), slice(0, 401))


def face(size: float = 80.0, middle: tuple[float, float] = (200.0, 200.0)) -> NDArray[np.float64]:
    """The mean face with ``size`` pixels between the eyes."""
    return MEAN_FACE[:, :2] * size + middle


def moves(**points: tuple[float, float]) -> NDArray[np.float64]:
    moved = np.zeros((POINTS, 2))
    for name, move in points.items():
        moved[int(name.removeprefix("p"))] = move
    return moved


def origins(mesh: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float32]:
    """Where each pixel of 401 × 401 comes from."""
    places = np.linspace(0, 24, 401, dtype=np.float32)
    shifts = cv2.remap(shift_grid(mesh, moved, WHOLE), *np.meshgrid(places, places), cv2.INTER_CUBIC)
    return shifts + np.stack(np.meshgrid(np.arange(401), np.arange(401)), axis=2)


def test_a_point_comes_from_where_it_was_and_far_pixels_stay() -> None:
    mesh, down = face(), (0.0, 6.0)
    found = origins(mesh, moves(**{f"p{point}": down for point in range(7, 12)}))  # the chin and what is beside it
    x, y = np.rint(mesh[CHIN] + down).astype(int)
    assert found[y, x] == pytest.approx((x, y - 6), abs=0.4)
    own = np.stack(np.meshgrid(np.arange(401), np.arange(401)), axis=2)
    still = np.abs(found - own).max(axis=2)
    assert max(still[:60].max(), still[:, :60].max(), still[365:].max()) < 1e-3
    left_eye = np.rint(mesh[72]).astype(int)
    assert still[left_eye[1], left_eye[0]] < 0.6


@pytest.mark.parametrize("ages", [(1, 40), (40, 1), (20, 85), (85, 20)])
@pytest.mark.parametrize("squeeze", [1.0, 0.6])
def test_the_embedded_table_folds_no_face(default_bundle: Bundle, ages: tuple[float, float], squeeze: float) -> None:
    method = next(entry for entry in default_bundle.manifest.methods if isinstance(entry, AgeTranslatorMethod))
    assert method.shape is not None
    table = load_face_shape(default_bundle.file_path(method.shape))
    mesh = (face() - (200, 200)) * (squeeze, 1) + (200, 200)
    found = origins(mesh, 1.5 * table.moves(mesh, *ages))  # the strongest that a request may ask for
    (down_x, down_y), (across_x, across_y) = (np.gradient(found, axis=axis).transpose(2, 0, 1) for axis in (0, 1))
    area = across_x * down_y - across_y * down_x
    assert 0.2 < area.min() < 0.99
    assert area.max() < 2.5


def test_pixels_move_with_the_points_and_by_the_strength() -> None:
    photo = np.full((401, 401, 3), 90, np.uint8)
    x, y = np.rint(face()[CHIN]).astype(int)
    photo[y - 2 : y + 3, x - 2 : x + 3] = 250
    for strength, row in ((1.0, y + 8), (0.5, y + 4)):
        pixels = photo.copy()
        reshape_faces(pixels, [Move(face(), moves(p8=(0, 8), p9=(0, 8), p10=(0, 8)))], strength)
        rows, columns = np.nonzero(pixels[..., 0] > 170)
        assert (rows.mean(), columns.mean()) == (pytest.approx(row, abs=1.0), pytest.approx(x, abs=0.5))


@pytest.mark.parametrize(("strength", "size"), [(0.0, 8.0), (1.0, 0.0)])
def test_without_strength_or_moves_every_pixel_stays(strength: float, size: float) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (401, 401, 3), dtype=np.uint8)
    pixels = photo.copy()
    reshape_faces(pixels, [Move(face(), moves(p9=(0, size)))], strength)
    assert (pixels == photo).all()


def test_strips_make_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (401, 401, 3), dtype=np.uint8), (0, 0), 2)
    move = Move(face(), moves(p9=(3, 7), p0=(0, -5)))
    whole, parts = photo.copy(), photo.copy()
    reshape_faces(whole, [move], 1.0)
    monkeypatch.setattr(reshaping, "_STRIP", 17)
    reshape_faces(parts, [move], 1.0)
    assert (whole != photo).any()
    assert (whole == parts).all()


@pytest.mark.parametrize("middle", [(0.0, 200.0), (395.0, 395.0), (-300.0, 200.0), (200.0, 1000.0)])
def test_a_face_partly_or_wholly_outside_of_the_photo(middle: tuple[float, float]) -> None:
    photo = np.full((401, 401, 3), 90, np.uint8)
    reshape_faces(photo, [Move(face(middle=middle), moves(p9=(0, 8), p4=(5, 0)))], 1.0)
    assert (photo == 90).all()


@pytest.mark.parametrize("squeeze", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_mesh_that_is_a_line_or_a_point_moves_nothing(squeeze: tuple[float, float]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (401, 401, 3), dtype=np.uint8)
    pixels = photo.copy()
    reshape_faces(pixels, [Move((face() - 200) * squeeze + 200, moves(p9=(0, 8)))], 1.0)
    assert (pixels == photo).all()
