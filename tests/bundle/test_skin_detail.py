"""Fine structure of skin by age: bands against sinusoids, gains against closed forms, where they apply, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.errors import GraphFileError
from dorian_bundle.masks import part_mask, skin_mask
from dorian_bundle.mesh import mean_mesh
from dorian_bundle.skin_detail import CUTOFFS, SkinDetail, load_skin_detail, read_skin, split_bands

SIZE = 256
MESH = mean_mesh(DEFAULT_TEMPLATE.points(SIZE))
FOREHEAD = np.s_[52:62, 118:138]
AGES = np.array([20, 40, 80], dtype=np.float32)


def table(*logarithms: float) -> SkinDetail:
    """As much log energy at each of ``AGES`` in all bands and places."""
    energy = np.broadcast_to(np.float32(logarithms)[:, None, None, None], (3, len(CUTOFFS), 4, 4))
    return SkinDetail(AGES, energy.copy())


def waves(cycles: float, amplitude: float) -> NDArray[np.float32]:
    """Luma (SIZE, SIZE) about 128 that swings from left to right."""
    swing = np.sin(2 * np.pi * cycles * np.arange(SIZE) / SIZE)
    return np.broadcast_to(128 + amplitude * swing, (SIZE, SIZE)).astype(np.float32)


def grey(luma: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.repeat(luma[..., None], 3, axis=2)).astype(np.uint8)


def spread(values: NDArray[np.float32]) -> float:
    return float(values[FOREHEAD].std())


@pytest.mark.parametrize(("age", "expected"), [(10, 0.0), (20, 0.0), (30, 0.5), (40, 1.0), (60, 2.0), (90, 3.0)])
def test_between_ages_energies_are_a_straight_line_and_beyond_them_the_nearest(age: float, expected: float) -> None:
    energies = table(0, 1, 3).at(age)
    assert energies.shape == (3, 4, 4)
    assert energies == pytest.approx(expected)


def test_bands_and_what_is_coarser_make_up_the_luma() -> None:
    luma = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE)).astype(np.float32)
    coarse = luma - np.sum(split_bands(luma), axis=0)
    assert np.allclose(coarse, luma - np.sum(split_bands(luma), axis=0))
    assert coarse.std() < 0.1 * luma.std()


@pytest.mark.parametrize(("cycles", "band"), [(17, 0), (34, 1), (90, 2)])
def test_a_sinusoid_lies_mostly_in_its_band(cycles: float, band: int) -> None:
    spreads = [spread(part) for part in split_bands(waves(cycles, 20))]
    assert np.argmax(spreads) == band


@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_a_cutoff_halves_an_amplitude(cutoff: float) -> None:
    finer = np.sum(split_bands(waves(cutoff, 20))[CUTOFFS.index(cutoff) :], axis=0)
    assert spread(finer) / spread(waves(cutoff, 20)) == pytest.approx(0.5, abs=0.02)


def test_nothing_changes_where_the_age_does_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    assert not table(0, 1, 2).change(read_skin(noise, MESH), 33, 33).any()
    assert not table(0, 1, 1).change(read_skin(noise, MESH), 45, 77).any()


def test_skin_gains_what_the_table_says() -> None:
    """Amplitudes grow by the square root of energies, to the power of 2."""
    photo = waves(90, 12)
    change = table(0, 0.4, 0.4).change(read_skin(grey(photo), MESH), 20, 60) * 255
    assert spread(photo + change) / spread(photo) == pytest.approx(np.exp(0.2 * 2), rel=0.03)


def test_strong_lines_lose_more_than_calm_skin() -> None:
    texture = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE)).astype(np.float32)
    photo = 128 + texture
    photo[150] -= 24  # a wrinkle across the cheeks
    change = table(0, 0.2, 0.2).change(read_skin(grey(photo), MESH), 60, 20) * 255
    line = change[150, 62:82].mean() / 24
    beside = np.s_[158:172, 62:82]
    calm = (texture + change)[beside].std() / texture[beside].std()
    assert 0.7 < line < 0.9
    assert 1.5 * (1 - line) < calm < 0.6


def test_features_are_left_alone() -> None:
    noise = grey(128 + np.random.default_rng(0).normal(0, 6, (SIZE, SIZE)).astype(np.float32))
    change = table(0, 1, 1).change(read_skin(noise, MESH), 60, 20)
    assert np.abs(change[FOREHEAD]).mean() > 0.002
    for part in ("eyes", "brows", "lips", "teeth"):
        assert np.abs(change[part_mask(MESH, SIZE, part) == 1]).mean() < 0.001, part
    skin = skin_mask(MESH, SIZE)
    assert skin[FOREHEAD].min() > 0.99
    assert skin[np.rint(MESH[67][1]).astype(int), np.rint(MESH[67][0]).astype(int)] < 0.05  # the tip of the nose


def test_edges_are_no_wrinkles() -> None:
    """The rim of a pair of spectacles stays."""
    photo = np.full((SIZE, SIZE), 190, np.float32)
    photo[55:60] = 20
    change = table(0, 2, 2).change(read_skin(grey(photo), MESH), 60, 20) * 255
    assert np.abs(change[55:60, 118:138]).max() < 5


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table(0, 1, 2).save(tmp_path / "table.npz")
    read = load_skin_detail(tmp_path / "table.npz")
    assert (read.ages == AGES).all()
    assert (read.log_energy == table(0, 1, 2).log_energy).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ages", [20, 80, 40], r"has ages of shape \(3,\); two or more in ascending order are needed"),
        ("ages", [20], "two or more in ascending order"),
        ("log_energy", np.zeros((3, 2, 4, 4)), r"\(3, 3, cells, cells\) is needed"),
        ("log_energy", np.zeros((3, 3, 4, 5)), r"\(3, 3, cells, cells\) is needed"),
        ("log_energy", np.full((3, 3, 4, 4), np.nan), "holds numbers that are not finite"),
        ("more", [1], "is not a table of skin detail"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path: Path, name: str, values: object, message: str) -> None:
    parts = {"ages": AGES, "log_energy": table(0, 1, 2).log_energy, name: np.asarray(values, np.float32)}
    np.savez(tmp_path / "table.npz", **parts)
    with pytest.raises(GraphFileError, match=message):
        load_skin_detail(tmp_path / "table.npz")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.npz").write_bytes(b"not a zip")
    with pytest.raises(GraphFileError, match="is not a table of skin detail"):
        load_skin_detail(tmp_path / "table.npz")
