"""Wrinkles: lines along a direction, out of a photo's own texture, as strong as the table says, on skin that gets older."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.errors import GraphFileError
from dorian_bundle.masks import part_mask
from dorian_bundle.mesh import mean_mesh
from dorian_bundle.skin_detail import CUTOFFS, SkinDetail, load_skin_detail, read_skin
from dorian_bundle.skin_lines import draw_lines, skin_grain

SIZE, CELLS = 256, 8
MESH = mean_mesh(DEFAULT_TEMPLATE.points(SIZE))
CHEEK = np.s_[150:176, 58:84]
AGES = np.array([20, 80], np.float32)


def texture(spread: float = 3, seed: int = 0) -> NDArray[np.float32]:
    return (150 + np.random.default_rng(seed).normal(0, spread, (SIZE, SIZE))).astype(np.float32)


def running(degrees: float) -> NDArray[np.float32]:
    """The direction of lines that run at an angle to the rows, the same everywhere."""
    double = 2 * np.deg2rad(degrees + 90)  # of the gradient, which lies across
    return np.tile(np.float32([np.cos(double), np.sin(double)])[:, None, None], (1, CELLS, CELLS))


def across(lines: NDArray[np.float32]) -> float:
    """Degrees from the rows, from 0 to 180, in which lines run: at a right angle to the mean direction of their gradient."""
    x, y = (cv2.Sobel(lines, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    double = np.arctan2((2 * x * y).mean(), (x**2 - y**2).mean())
    return float(np.rad2deg(double / 2) + 90) % 180


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_lines_run_in_their_direction(degrees: float) -> None:
    lines = draw_lines(skin_grain(texture()), running(degrees))
    middle = lines[40:-40, 40:-40]
    assert (across(middle) - degrees + 90) % 180 == pytest.approx(90, abs=4)
    x, y = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    along, aside = (
        np.corrcoef(middle.ravel(), np.roll(lines, (round(rows), round(columns)), (0, 1))[40:-40, 40:-40].ravel())[0, 1]
        for rows, columns in ((6 * y, 6 * x), (6 * x, -6 * y))
    )
    assert along > 0.5
    assert aside < 0.1


def test_lines_begin_where_the_skin_has_texture_of_its_own() -> None:
    direction = running(0)
    first, again, other = (draw_lines(skin_grain(texture(seed=seed)), direction) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1
    weaker = draw_lines(skin_grain((texture() - 150) / 2 + 150), direction)
    assert np.corrcoef(first.ravel(), weaker.ravel())[0, 1] > 0.95
    assert weaker.std() == pytest.approx(first.std(), rel=0.1)


def test_lines_are_darker_than_their_banks_are_light() -> None:
    lines = draw_lines(skin_grain(texture()), running(0))
    assert abs(lines.mean()) < 0.05
    assert -lines.min() > 1.8 * lines.max() > 0
    assert 0.3 < lines.std() < 1


def grown(energy: float, direction: NDArray[np.float32] | None = None) -> SkinDetail:
    """A table whose faces have lines of ``energy`` at 80 and none at 20, and else do not change."""
    lines = np.zeros((2, CELLS, CELLS), np.float32)
    lines[1] = energy
    return SkinDetail(
        AGES, np.zeros((2, len(CUTOFFS), 4, 4), np.float32), lines, running(0) if direction is None else direction
    )


def photo(level: float = 0) -> NDArray[np.uint8]:
    return np.repeat(np.clip(np.rint(texture() + level), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def strength(table: SkinDetail, source: float, target: float, level: float = 0) -> float:
    return float(table.change(read_skin(photo(level), MESH), source, target)[CHEEK].std()) * 255


def test_lines_come_with_the_years_and_not_back() -> None:
    half, whole = strength(grown(4), 20, 50), strength(grown(4), 20, 80)
    assert whole > 1
    assert half / whole == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert strength(grown(4), 50, 80) == pytest.approx(half, rel=0.01)
    assert strength(grown(4), 80, 20) == 0
    assert strength(grown(4), 80, 80) == 0
    assert strength(grown(1), 20, 80) / whole == pytest.approx(0.5, rel=0.01)


def test_lines_are_bounded() -> None:
    assert strength(grown(1e4), 20, 80) == strength(grown(100), 20, 80)


def test_shadows_on_dark_skin_are_less_deep() -> None:
    assert strength(grown(4), 20, 80, level=-75) / strength(grown(4), 20, 80) == pytest.approx(0.5, rel=0.05)
    assert strength(grown(4), 20, 80, level=40) / strength(grown(4), 20, 80) == pytest.approx(1, rel=0.05)


def test_features_get_no_lines() -> None:
    change = grown(9).change(read_skin(photo(), MESH), 20, 80)
    assert np.abs(change[CHEEK]).mean() > 0.002
    for part in ("eyes", "brows", "lips", "teeth"):
        assert np.abs(change[part_mask(MESH, SIZE, part) == 1]).mean() < 0.001, part


def test_a_table_with_lines_is_read_as_it_was_written(tmp_path: Path) -> None:
    grown(4, running(30)).save(tmp_path / "table.npz")
    read = load_skin_detail(tmp_path / "table.npz")
    assert read.line_energy is not None
    assert read.line_direction is not None
    assert np.array_equal(read.line_energy, np.stack([np.zeros((CELLS, CELLS)), np.full((CELLS, CELLS), 4)]))
    assert np.array_equal(read.line_direction, running(30))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"line_energy": np.zeros((2, 8, 8))},
            r"of shape \(2, 8, 8\); \(2, cells, cells\) and \(2, cells, cells\) are",
        ),
        ({"line_direction": np.zeros((2, 8, 8))}, "are needed"),
        ({"line_energy": np.zeros((3, 8, 8)), "line_direction": np.zeros((2, 8, 8))}, r"\(3, 8, 8\) and \(2, 8, 8\);"),
        ({"line_energy": np.zeros((2, 8, 8)), "line_direction": np.zeros((2, 4, 4))}, "are needed"),
        (
            {"line_energy": np.zeros((2, 8, 8)), "line_direction": np.full((2, 8, 8), np.inf)},
            "numbers that are not finite",
        ),
    ],
)
def test_lines_of_another_shape_are_refused(
    tmp_path: Path, parts: dict[str, NDArray[np.float64]], message: str
) -> None:
    np.savez(tmp_path / "table.npz", ages=AGES, log_energy=np.zeros((2, len(CUTOFFS), 4, 4)), **parts)
    with pytest.raises(GraphFileError, match=message):
        load_skin_detail(tmp_path / "table.npz")
