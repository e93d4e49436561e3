"""Spots, spectra and eyes against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.tensors import luma
from dorian_evaluation.ageing.aligned_faces import CROP_SIZE
from dorian_evaluation.ageing.children import AgedChild, child_metrics, eye_contrast
from dorian_evaluation.ageing.regions import region
from dorian_evaluation.ageing.spectrum import BANDS, band_energies, crop_energies, spectrum_metrics
from dorian_evaluation.ageing.spots import SPOT_LEVELS, SPOT_SIGMA, SPOT_SIZE, count_spots, moved_back, spot_metrics
from dorian_evaluation.ageing.targets import age_targets

CHEEK, EYE, CORNER = (74, 38), tuple(DEFAULT_TEMPLATE.points(SPOT_SIZE)[0][::-1].round().astype(int)), (2, 2)
BLOB = 2.0  # pixels, the blob's own Gaussian


def blob(peak: float, *places: tuple[int, int]) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:SPOT_SIZE, :SPOT_SIZE]
    blobs = [np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * BLOB**2)) for row, column in places]
    return np.asarray(peak * np.sum(blobs, axis=0), dtype=np.float32)


def test_a_blob_is_a_spot_from_its_contrast_on() -> None:
    # A Gaussian blurred by another: its peak falls by the ratio of the variances; what is left is its contrast.
    contrast = 1 - BLOB**2 / (BLOB**2 + SPOT_SIGMA**2)
    enough = SPOT_LEVELS / contrast * 1.25  # four pixels and more, and not one alone, lie above the threshold
    assert count_spots(blob(-enough, CHEEK)) == (1, 0)
    assert count_spots(blob(enough, CHEEK)) == (0, 1)
    assert count_spots(blob(-SPOT_LEVELS / contrast, CHEEK)) == (0, 0)
    assert count_spots(blob(-60, CHEEK, (74, 90))) == (2, 0)


def test_features_and_what_no_method_changes_have_no_spots() -> None:
    assert count_spots(blob(-90, EYE, CORNER)) == (0, 0)  # type: ignore[arg-type]


def test_broad_shadows_and_single_pixels_are_no_spots() -> None:
    rows = np.linspace(-90, 90, SPOT_SIZE, dtype=np.float32)[:, None].repeat(SPOT_SIZE, axis=1)
    assert count_spots(rows) == (0, 0)
    single = np.zeros((SPOT_SIZE, SPOT_SIZE), dtype=np.float32)
    single[CHEEK] = -200
    assert count_spots(single) == (0, 0)


def test_shares_of_faces_with_spots() -> None:
    counts = [np.array([[0, 0], [2, 1]]), np.array([[1, 0], [0, 0]])]
    assert spot_metrics(counts, age_targets([25, 70])) == {
        "25": {"dark": 0.5, "bright": 0.0, "any": 0.5, "spots": 0.5},
        "70": {"dark": 0.5, "bright": 0.5, "any": 0.5, "spots": 1.5},
    }


@pytest.mark.parametrize(("cycles", "band"), [(16, 0), (32, 1), (64, 2)])
@pytest.mark.parametrize("is_upright", [False, True])
def test_a_sinusoid_has_half_of_its_squared_amplitude(cycles: int, band: int, is_upright: bool) -> None:
    wave = 10 * np.sin(2 * np.pi * cycles * np.arange(CROP_SIZE) / CROP_SIZE).astype(np.float32)
    levels = np.broadcast_to(wave, (CROP_SIZE, CROP_SIZE)) + 100
    energies = band_energies(np.asarray(levels if is_upright else levels.T, dtype=np.float32))
    assert energies[band] == pytest.approx(50, rel=0.03)
    assert np.delete(energies, band).max() < 0.5


def test_flat_skin_has_no_energy_and_a_gradient_hardly_any() -> None:
    assert band_energies(np.full((CROP_SIZE, CROP_SIZE), 90, dtype=np.float32)).max() < 1e-9
    slope = np.linspace(0, 200, CROP_SIZE, dtype=np.float32)[:, None].repeat(CROP_SIZE, axis=1)
    assert band_energies(slope).max() < 0.3  # of a slope over 200 levels


def test_what_is_drawn_and_taken() -> None:
    def energies(value: float) -> NDArray[np.float64]:
        return np.asarray([[value / 2] * 3, [value * 2] * 3])  # of a geometric mean of ``value``

    bands = spectrum_metrics(energies(10), energies(13), energies(15), energies(20), energies(12.5))
    assert list(bands) == [f"{low}-{high}" for low, high in BANDS]
    assert bands["12-24"] == {"young": 10, "real": 0.5, "aged": 0.3, "drawn": 0.6, "old": 1.0, "taken": 0.75}
    none = spectrum_metrics(energies(10), energies(13), energies(9), energies(8), energies(7))["24-48"]
    assert (none["drawn"], none["taken"]) == (None, None)


def test_energies_are_of_luma() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (2, CROP_SIZE, CROP_SIZE, 3)).astype(np.uint8)
    assert crop_energies(crops).shape == (2, 3)
    grey = luma(np.full((1, 1, 1, 3), 77, dtype=np.uint8))
    assert float(grey[0, 0, 0]) == pytest.approx(77, rel=1e-5)


def test_eyes_lose_contrast_with_their_levels() -> None:
    noise = np.random.default_rng(0).integers(0, 100, (CROP_SIZE, CROP_SIZE, 3))
    crops = np.stack([noise * 2, noise]).astype(np.uint8)
    before, after = eye_contrast(crops)
    assert after == pytest.approx(before / 2)
    crops[:, region(CROP_SIZE, "eyes")] = 80
    assert eye_contrast(crops).tolist() == pytest.approx([0, 0], abs=1e-3)


def test_children_are_averaged_by_target() -> None:
    def child(similarity: float, dark: int) -> AgedChild:
        one = np.array([similarity])
        return AgedChild(one, 40 + 10 * one, np.array([dark]), one)

    metrics = child_metrics([child(0.5, 0), child(0.25, 3)], age_targets([40]), 0.36)
    assert metrics == {"40": {"judged": 43.8, "similarity": 0.375, "accepted": 0.5, "clean": 0.5, "eyes": 0.375}}
    assert child_metrics([child(0.5, 0)], age_targets([40]), None)["40"]["accepted"] is None


def test_regions_lie_within_one_another() -> None:
    changed, skin, eyes = (region(CROP_SIZE, name) for name in ("changed", "skin", "eyes"))
    assert (skin <= changed).all()
    assert not (eyes & changed).any()
    assert 0.15 < skin.mean() < changed.mean() < 0.8


def textured() -> NDArray[np.float32]:
    """Light and dark patches of a few pixels, as a face has them."""
    noise = np.random.default_rng(0).normal(0, 1, (SPOT_SIZE, SPOT_SIZE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(128 + 30 * smooth / smooth.std(), dtype=np.float32)


def test_a_face_that_moved_has_no_spots_for_it() -> None:
    before = textured()
    rows, columns = np.mgrid[:SPOT_SIZE, :SPOT_SIZE].astype(np.float32)
    grown = cv2.remap(before, 64 + (columns - 64) / 1.05, 64 + (rows - 64) / 1.05, cv2.INTER_CUBIC)
    assert sum(count_spots(grown - before)) > 10
    assert count_spots(moved_back(before, grown) - before) == (0, 0)


def test_a_spot_is_there_whether_what_moved_is_moved_back_or_not() -> None:
    spot = blob(-60, CHEEK)
    beside = np.roll(spot, 1, axis=1)
    assert count_spots(spot, spot) == count_spots(spot, beside) == (1, 0)
    assert count_spots(spot, np.zeros_like(spot)) == count_spots(np.zeros_like(spot), spot) == (0, 0)
    assert count_spots(spot, -spot) == (0, 0)


@pytest.mark.parametrize("radius", [1.5, 2.5, 4.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_spot_is_no_movement(radius: float, sign: int) -> None:
    before = textured()
    rows, columns = np.mgrid[:SPOT_SIZE, :SPOT_SIZE]
    distance = np.hypot(rows - CHEEK[0], columns - CHEEK[1])
    spotted = before + np.float32(sign * 70) * np.exp(-((distance / radius) ** 4)).astype(np.float32)
    change = spotted - before
    plain, undone = count_spots(change), count_spots(moved_back(before, spotted) - before, change)
    assert plain == undone == ((1, 0) if sign < 0 else (0, 1))
