"""Mesh labels: they belong to the rows of faces.csv, in pixels, and faces without them are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dorian_bundle.mesh import POINTS
from dorian_training.data.archives import load_archives
from dorian_training.data.mesh import MESH_FILE, load_mesh
from dorian_training.errors import DataError

WriteArchives = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, write_archives: WriteArchives) -> Path:
    return write_archives(tmp_path, [{"archive": f"set{index % 2}.zip"} for index in range(4)])


def write(folder: Path, rows: list[int], points: np.ndarray) -> None:
    np.savez(folder / MESH_FILE, row=np.array(rows), points=points.astype(np.int16))


def test_points_are_those_of_their_face_in_pixels(folder: Path) -> None:
    points = np.arange(3 * POINTS * 2).reshape(3, POINTS, 2) - 50
    write(folder, [2, 0, 3], points)
    records = load_archives(folder)
    mesh = load_mesh(records)
    assert mesh.shape == (4, POINTS, 2)
    assert np.array_equal(mesh[[2, 0, 3]], points / 32)
    assert np.isnan(mesh[1]).all()
    assert np.array_equal(load_mesh(records[::-1])[0], mesh[3])
    assert load_mesh([]).shape == (0, POINTS, 2)


def test_what_is_no_mesh_is_refused(folder: Path) -> None:
    records = load_archives(folder)
    with pytest.raises(DataError, match=r"has no mesh\.npz beside a faces\.csv"):
        load_mesh(records)
    write(folder, [0], np.zeros((1, 68, 2)))
    with pytest.raises(DataError, match=r"must be of shape \(1, 73, 2\), got \(1, 68, 2\)"):
        load_mesh(records)
    write(folder, [9], np.zeros((1, POINTS, 2)))
    with pytest.raises(DataError, match=r"points of row 9, but .* has 4 rows"):
        load_mesh(records)
