"""Mesh labels: ``mesh.npz`` beside ``faces.csv``, with 73 points (see ``dorian_bundle.mesh``) of the faces that have them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.mesh import POINTS
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

MESH_FILE = "mesh.npz"
_UNITS = 32  # of a pixel, that positions are stored in


def load_mesh(records: Sequence[FaceRecord]) -> NDArray[np.float64]:
    """Load the mesh points of faces from archives.

    Args:
        records: Faces, each of an archive beside whose ``faces.csv`` there is a ``mesh.npz``: ``row`` (n,), the rows of
            ``faces.csv`` from 0, and ``points`` int16 (n, 73, 2), x and y in 1/32 pixel.

    Returns:
        Points (faces, 73, 2) in pixels of the stored pictures, counted as ``FaceRecord.points``; NaN for faces without.

    Raises:
        DataError: If there is no mesh, or it is not of that form.
    """
    folders = sorted({record.container.parent for record in records})
    points_by_name = {folder: _load_folder(folder) for folder in folders}
    missing = np.full((POINTS, 2), np.nan)
    found = [
        points_by_name[record.container.parent].get((record.container.name, record.name), missing) for record in records
    ]
    return np.stack(found) if found else np.empty((0, POINTS, 2))


def _load_folder(folder: Path) -> dict[tuple[str, str], NDArray[np.float64]]:
    path, table = folder / MESH_FILE, folder / "faces.csv"
    if not (path.is_file() and table.is_file()):
        raise DataError(f"{folder} has no {MESH_FILE} beside a faces.csv, so its faces have no mesh points")
    with np.load(path) as stored:
        rows, points = stored["row"], stored["points"]
    if points.shape != (len(rows), POINTS, 2):
        raise DataError(f"{path}: points must be of shape ({len(rows)}, {POINTS}, 2), got {points.shape}")
    with table.open(newline="") as lines:
        names = [(row["archive"], row["file"]) for row in csv.DictReader(lines)]
    if len(rows) and int(rows.max()) >= len(names):
        raise DataError(f"{path} has points of row {int(rows.max())}, but {table} has {len(names)} rows")
    return {names[row]: face / _UNITS for row, face in zip(rows.tolist(), points.astype(np.float64), strict=True)}
