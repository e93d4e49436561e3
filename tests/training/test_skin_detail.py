"""The table of skin's fine structure: what was planted in faces is found again, whatever archive they are of; and its command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dorian_bundle.skin_detail import DETAIL_SIZE
from dorian_training.checkpoint import load_weights
from dorian_training.cli.train import main
from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord
from dorian_training.methods.skin_detail import KNOTS, fit_skin_detail

GROWTH = 0.02  # of the logarithm of energy, per year from 25 on


def planted(years: range, blurred: float) -> Crops:
    """Noise whose energy grows from 25 on; old faces come mostly from an archive where all of it is less."""
    rng, pixels, records = np.random.default_rng(0), [], []
    for age in years:
        for archive, share in (("sharp", 1.0), ("blurred", blurred)):
            if archive == "sharp" and age % 3:
                continue
            amplitude = 8 * share * np.exp(GROWTH * max(age - 25, 0) / 2)
            noise = np.repeat(rng.normal(128, amplitude, (128, 128, 1)), 3, axis=2)
            pixels.append(np.clip(np.rint(noise), 0, 255).astype(np.uint8))
            records.append(FaceRecord("set", Path("set.zip"), f"{archive}/{age}", "train", age_low=age, age_high=age))
    return Crops(np.stack(pixels), tuple(records))


def test_what_an_age_adds_is_told_from_what_an_archive_lacks() -> None:
    table = fit_skin_detail(planted(range(16, 80), 0.3))
    assert tuple(table.ages) == KNOTS
    finest = table.log_energy[:, -1].mean(axis=(1, 2))
    assert finest[KNOTS.index(25.0)] == 0
    assert finest[KNOTS.index(65.0)] == pytest.approx(GROWTH * 40, abs=0.25)
    assert finest[KNOTS.index(15.0)] == pytest.approx(0, abs=0.25)


def test_energies_never_fall_with_age_and_are_the_same_left_and_right() -> None:
    table = fit_skin_detail(planted(range(16, 80), 1.0))
    assert (np.diff(table.log_energy, axis=0) >= 0).all()
    assert np.allclose(table.log_energy, table.log_energy[..., ::-1], atol=1e-5)


@pytest.fixture
def archives(write_archives: Callable[..., Path], tmp_path: Path) -> Path:
    """Faces of 20 to 79, a year each."""
    return write_archives(tmp_path / "faces", [{"age": age, "age_low": age, "age_high": age} for age in range(20, 80)])


def test_the_command_writes_a_checkpoint_once(archives: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["skin-detail", "--data", str(archives), "--out", str(out), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(out)
    assert weights["skin_detail"]["log_energy"].shape[:2] == (len(KNOTS), 3)
    assert about["family"] == "skin_detail"
    assert sum(about["data"].values()) > 0
    assert len(list((tmp_path / "cache").glob(f"crops-{DETAIL_SIZE}px-*.npz"))) == 1
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "holds a checkpoint, which would be lost" in again.output


def test_a_set_without_faces_is_refused(archives: Path, tmp_path: Path) -> None:
    arguments = ["skin-detail", "--data", str(archives), "--only", "portraits", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "no face to fit on" in result.output
