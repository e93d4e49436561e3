"""The table of faces' shapes: what was planted in meshes is found again, of faces seen from the front; and its command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dorian_bundle.mesh import LEFT_EYE, LEFT_IRIS, MEAN_FACE, MIRRORED_POINTS, POINTS
from dorian_training.checkpoint import load_weights
from dorian_training.cli.train import main
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError
from dorian_training.methods.age_tables import KNOTS
from dorian_training.methods.face_shape import fit_face_shape, frontal_meshes

CHIN, BROW = 9, 41
YEARS = range(2, 76)


def mesh(age: float, gender: str = "Male") -> np.ndarray:
    """The mean face, whose chin falls by .002 distances between the eyes a year; women's lies .2 higher."""
    points = MEAN_FACE[:, :2].copy()
    points[CHIN, 1] += 0.002 * (age - 25) - (0.2 if gender == "Female" else 0.0)
    return points


def faces(genders: Callable[[int], str]) -> tuple[np.ndarray, list[FaceRecord]]:
    people = [(age, genders(index)) for age in YEARS for index in range(4)]
    records = [
        FaceRecord("set", Path("set.zip"), f"{index}", "train", age, age, gender)
        for index, (age, gender) in enumerate(people)
    ]
    return np.stack([mesh(*person) for person in people]), records


def test_what_an_age_moves_is_found_and_eyes_stay_round() -> None:
    meshes, records = faces(lambda _: "Male")
    for points, record in zip(meshes, records, strict=True):
        points[LEFT_EYE, 1] *= 1 - 0.004 * (record.age - 25)  # type: ignore[operator]  # only higher, no wider
    table = fit_face_shape(meshes, records)
    assert tuple(table.ages) == KNOTS
    assert table.offsets[:, CHIN, 1] == pytest.approx([0.002 * (age - 25) for age in KNOTS], abs=0.006)
    eye = [*range(LEFT_EYE.start, LEFT_EYE.stop), LEFT_IRIS]
    before = MEAN_FACE[eye, :2] - MEAN_FACE[eye, :2].mean(axis=0)
    after = MEAN_FACE[eye, :2] + table.offsets[-1, eye]
    ratio = (after - after.mean(axis=0)) / before
    assert ratio == pytest.approx(ratio.mean(), abs=1e-3)


def test_genders_count_alike_however_many_there_are() -> None:
    """Otherwise a data set whose old people are men would let chins grow."""
    meshes, records = faces(lambda index: "Male" if index else "Female")
    few_women = [
        i for i, record in enumerate(records) if (record.age or 0) < 40 or record.gender == "Male" or i % 8 == 0
    ]
    table = fit_face_shape(meshes[few_women], [records[i] for i in few_women])
    assert table.offsets[KNOTS.index(65.0), CHIN, 1] == pytest.approx(0.08, abs=0.02)


def test_left_and_right_count_alike() -> None:
    meshes, records = faces(lambda _: "Male")
    for points, record in zip(meshes, records, strict=True):
        points[BROW, 1] += 0.002 * ((record.age or 0) - 25)
    offsets = fit_face_shape(meshes, records).offsets
    assert offsets == pytest.approx(offsets[:, list(MIRRORED_POINTS)] * (-1, 1), abs=1e-6)
    assert offsets[-1, BROW, 1] == pytest.approx(0.05, abs=0.005)


def test_turned_faces_and_those_without_points_are_left_out() -> None:
    turned = MEAN_FACE @ np.array([[0.9, 0], [0, 1], [0.4, 0]])
    stacked = np.stack([MEAN_FACE[:, :2] * 40 + 100, turned * 40, np.full((POINTS, 2), np.nan)])
    laid, is_frontal = frontal_meshes(stacked)
    assert is_frontal.tolist() == [True, False, False]
    assert laid[0] == pytest.approx(MEAN_FACE[:, :2], abs=0.02)
    with pytest.raises(DataError, match="none of those with mesh points is seen from the front"):
        frontal_meshes(stacked[1:])


def test_the_command_writes_a_checkpoint_once(write_archives: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_archives(
        tmp_path / "faces", [{"age": age, "age_low": age, "age_high": age} for age in range(20, 80)]
    )
    stored = np.rint((MEAN_FACE[:, :2] * 20 + 40) * 32).astype(np.int16)
    np.savez(folder / "mesh.npz", row=np.arange(60), points=np.repeat(stored[None], 60, axis=0))
    out = tmp_path / "out"
    arguments = ["face-shape", "--data", str(folder), "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(out)
    assert weights["face_shape"]["offsets"].shape == (len(KNOTS), POINTS, 2)
    assert np.abs(weights["face_shape"]["offsets"].numpy()).max() < 1e-3  # all of one shape
    assert about["family"] == "face_shape"
    assert sum(about["data"].values()) == sum(record.split == "train" for record in load_sources([str(folder)]))
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "holds a checkpoint, which would be lost" in again.output
