"""The grid that upsampling leaves: found where there is one, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix
from dorian_evaluation.ageing.grid_energy import crop_delta, grid_ratios, power_spectrum

SIZE = 96
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def smooth(seed: int, coarse: int = 12) -> np.ndarray:
    """A difference without a grid, some ten grey levels strong."""
    noise = np.random.default_rng(seed).normal(0, 10, (coarse, coarse)).astype(np.float32)
    return cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def mean_power(deltas: list[np.ndarray]) -> np.ndarray:
    return np.mean([power_spectrum(delta.astype(np.float32)) for delta in deltas], axis=0)


def test_a_flat_spectrum_has_no_grid() -> None:
    assert grid_ratios(np.ones((SIZE, SIZE))) == {"every_2": 1.0, "every_4": 1.0}
    point = np.zeros((SIZE, SIZE), dtype=np.float32)
    point[SIZE // 2, SIZE // 2] = 7
    assert grid_ratios(power_spectrum(point)) == pytest.approx({"every_2": 1.0, "every_4": 1.0})
    assert grid_ratios(np.zeros((SIZE, SIZE))) == {"every_2": None, "every_4": None}


def test_noise_has_no_grid() -> None:
    random = np.random.default_rng(0)
    ratios = grid_ratios(mean_power([random.normal(size=(SIZE, SIZE)) for _ in range(200)]))
    assert ratios == pytest.approx({"every_2": 1.0, "every_4": 1.0}, abs=0.05)


def test_power_on_the_lines_alone() -> None:
    power = np.ones((SIZE, SIZE))
    power[SIZE // 2, 1:6] += 192  # 5 × 192 more on a line of 96, of the two
    assert grid_ratios(power)["every_2"] == pytest.approx((2 * SIZE + 5 * 192) / (2 * SIZE))
    assert grid_ratios(power)["every_4"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (np.where(COLUMNS % 2, 1.0, -1.0), "every_2"),
        (np.where((ROWS + COLUMNS) % 2, 1.0, -1.0), "every_2"),
        (np.cos(np.pi / 2 * ROWS), "every_4"),
    ],
)
def test_a_pattern_shows_at_its_period(pattern: np.ndarray, name: str) -> None:
    without = grid_ratios(mean_power([smooth(seed) for seed in range(8)]))
    assert without[name] is not None
    assert without[name] < 1.05
    withit = grid_ratios(mean_power([smooth(seed) + pattern for seed in range(8)]))
    assert withit[name] is not None
    assert withit[name] > 2
    (other,) = set(withit) - {name}
    assert withit[other] == pytest.approx(without[other], rel=0.05)


def test_a_pure_pattern_leaves_nothing_beside_it() -> None:
    power = power_spectrum(np.where(COLUMNS % 2, 1.0, -1.0).astype(np.float32))
    assert power[0, SIZE // 2] == pytest.approx((SIZE / 2) ** 4)  # the window's mean is 1/2 each way
    assert power[0, SIZE // 2 - 2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("side", [160, 300])
def test_what_was_put_into_a_photo_comes_back(side: int) -> None:
    """Through a turned photo of ``side`` pixels and whole grey levels, as the server puts it there."""
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 12, 1.0)
    landmarks = cv2.transform(DEFAULT_TEMPLATE.points(side)[None], turn)[0]
    back = cv2.invertAffineTransform(crop_matrix(landmarks, DEFAULT_TEMPLATE, SIZE))
    photo = np.full((side, side, 3), 128, dtype=np.uint8)
    rim = np.minimum.reduce([ROWS, COLUMNS, SIZE - 1 - ROWS, SIZE - 1 - COLUMNS])
    mask = np.clip((rim - 12) / 12, 0, 1)

    def came_back(delta: np.ndarray) -> np.ndarray:
        added = cv2.warpAffine((delta * mask).astype(np.float32), back, (side, side), flags=cv2.INTER_CUBIC)
        aged = np.rint(photo + added[:, :, None]).clip(0, 255).astype(np.uint8)
        return crop_delta(photo, aged, landmarks, DEFAULT_TEMPLATE, SIZE)

    plain = [came_back(smooth(seed)) for seed in range(12)]
    assert np.abs(plain[0] - smooth(0) * mask).mean() < 0.5
    without = grid_ratios(mean_power(plain))["every_2"]
    pattern = np.where((ROWS + COLUMNS) % 2, 1.5, -1.5)
    withit = grid_ratios(mean_power([came_back(smooth(seed) + pattern) for seed in range(12)]))["every_2"]
    assert without is not None
    assert withit is not None
    assert without < 1.1
    assert withit > 3
