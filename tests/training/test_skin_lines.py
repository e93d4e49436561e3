"""The table of skin's lines: lines that were planted in old faces are found where they are, as strong as they are, and as they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord
from dorian_training.methods.age_tables import KNOTS
from dorian_training.methods.skin_lines import LINE_CELLS, fit_skin_lines

SIZE, CYCLES, AMPLITUDE = 256, 20, 6.0
CHEEKS = np.s_[19:22, [*range(7, 10), *range(22, 25)]]
UNDER_THE_NOSE_AND_FAR_OUT = np.s_[28:, :4]


def lined(degrees: float, blurred: float = 0.1) -> tuple[Crops, np.ndarray]:
    """Faces with lines at an angle to the rows on the left cheek, as mirror images on the right one, if they are older than 60."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    left = np.minimum(columns, SIZE - 1 - columns)  # so that one half is the mirror image of the other
    angle = np.deg2rad(degrees)
    waves = AMPLITUDE * np.sin(2 * np.pi * CYCLES / SIZE * (np.cos(angle) * rows - np.sin(angle) * left))
    waves *= (abs(rows - 164) < 40) & (left > 30) & (left < 100)
    rng, pixels, records, weight = np.random.default_rng(0), [], [], []
    for age in range(16, 80, 2):
        for archive, share in (("sharp", 1.0), ("blurred", blurred)):
            face = 150 + rng.normal(0, 1, (SIZE, SIZE)) + waves * (age > 60 and archive == "sharp")
            pixels.append(np.repeat(np.clip(np.rint(face), 0, 255).astype(np.uint8)[..., None], 3, axis=2))
            records.append(FaceRecord("set", Path("set.zip"), f"{archive}/{age}", "train", age_low=age, age_high=age))
            weight.append(share)
    return Crops(np.stack(pixels), tuple(records)), np.asarray(weight)


def energies(growth: float) -> np.ndarray:
    return np.asarray([np.exp(growth * (age - 25)) for age in KNOTS])


@pytest.mark.parametrize("degrees", [0, 40, 90])
def test_planted_lines_are_found_and_run_as_they_do(degrees: float) -> None:
    crops, weight = lined(degrees)
    energy, direction = fit_skin_lines(crops, weight, energies(0.01))
    assert energy.shape == (len(KNOTS), LINE_CELLS, LINE_CELLS)
    assert direction.shape == (2, LINE_CELLS, LINE_CELLS)
    old = energy[KNOTS.index(65.0) :].mean(axis=0)
    # Less than the energy of the waves, of which bands and smoothing take a part.
    assert 0.3 * AMPLITUDE**2 / 2 < old[CHEEKS].mean() < AMPLITUDE**2 / 2
    assert old[UNDER_THE_NOSE_AND_FAR_OUT].mean() < 0.1 * old[CHEEKS].mean()
    left = direction[:, 19:22, 7:10].mean(axis=(1, 2))
    gradient = 2 * np.deg2rad(degrees + 90)
    assert left / np.hypot(*left) == pytest.approx([np.cos(gradient), np.sin(gradient)], abs=0.15)
    assert np.allclose(energy, energy[..., ::-1], atol=1e-4)
    assert np.allclose(direction[0], direction[0, :, ::-1], atol=1e-4)
    assert np.allclose(direction[1], -direction[1, :, ::-1], atol=1e-4)


def test_lines_come_as_all_fine_structure_does_and_children_have_none() -> None:
    crops, weight = lined(0)
    energy, _ = fit_skin_lines(crops, weight, energies(0.01))
    by_age = energy[:, CHEEKS[0], CHEEKS[1]].mean(axis=(1, 2))
    assert by_age[: KNOTS.index(25.0) + 1].tolist() == [0] * (KNOTS.index(25.0) + 1)
    grown = energies(0.01)[KNOTS.index(35.0) :] - 1
    assert by_age[KNOTS.index(35.0) :] / by_age[-1] == pytest.approx(grown / grown[-1], rel=1e-4)


def test_blurred_archives_say_nothing_of_lines() -> None:
    crops, weight = lined(0)
    sharp = Crops(crops.pixels[::2], crops.records[::2])
    alone, _ = fit_skin_lines(sharp, weight[::2], energies(0.01))
    together, _ = fit_skin_lines(crops, weight, energies(0.01))
    assert np.array_equal(alone, together)
