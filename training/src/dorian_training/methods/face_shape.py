"""How the shape of faces changes with age: a table in closed form, of the mesh points of real faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import fit_similarity
from dorian_bundle.face_shape import FaceShape
from dorian_bundle.mesh import (
    LEFT_EYE,
    LEFT_IRIS,
    MEAN_FACE,
    MIRRORED_POINTS,
    RIGHT_EYE,
    RIGHT_IRIS,
    alignment_landmarks,
)
from dorian_training.data.records import FaceRecord
from dorian_training.data.sampling import kind_weights
from dorian_training.errors import DataError
from dorian_training.methods.age_tables import KNOTS, fit_age_table

# Distances between the eyes, by which the tip of the nose is off the middle of a face seen from the front.
_MAX_TURN = 0.1
_DECADE = 10  # years, in each of which the genders count alike
_NOSE_TIP = 67
_EYES = ((RIGHT_EYE, RIGHT_IRIS), (LEFT_EYE, LEFT_IRIS))

Floats = NDArray[np.float64]


def frontal_meshes(meshes: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Lay faces on the mean face by the five landmarks that faces are aligned by, and leave out those that are turned.

    Args:
        meshes: Points (faces, 73, 2) in pixels; NaN for faces without.

    Returns:
        Points (frontal, 73, 2) in distances between the eyes, and which faces these are, (faces,).

    Raises:
        DataError: If no face is seen from the front.
    """
    laid = np.stack([_laid_on(mesh, MEAN_FACE[:, :2]) for mesh in meshes])
    is_frontal = np.abs(laid[:, _NOSE_TIP, 0]) < _MAX_TURN  # false for NaN
    if not is_frontal.any():
        raise DataError("no face to fit on: none of those with mesh points is seen from the front")
    return laid[is_frontal], is_frontal


def fit_face_shape(meshes: Floats, records: Sequence[FaceRecord]) -> FaceShape:
    """Fit the table to real faces of known age.

    Women count as much as men at every age, left as much as right. Eyes only move and scale, so that irises stay round.

    Args:
        meshes: Of faces seen from the front, (faces, 73, 2); see ``frontal_meshes``.
        records: The faces.
    """
    even = (meshes + meshes[:, list(MIRRORED_POINTS)] * (-1, 1)) / 2
    genders = [record.gender or "" for record in records]
    table = fit_age_table(even, records, kind_weights(records, genders, _DECADE, 1.0))
    for knot in table:
        _keep_eyes_round(knot, MEAN_FACE[:, :2])
    return FaceShape(np.asarray(KNOTS, dtype=np.float32), table.astype(np.float32))


def _laid_on(mesh: Floats, front: Floats) -> Floats:
    if not np.isfinite(mesh).all():
        return np.full_like(front, np.nan)
    matrix = fit_similarity(alignment_landmarks(mesh), alignment_landmarks(front))
    return np.asarray(mesh @ matrix[:, :2].T + matrix[:, 2])


def _keep_eyes_round(offsets: Floats, front: Floats) -> None:
    """Replace the offsets (73, 2) of each eye's points by the nearest that move and scale it, in place."""
    for rim, iris in _EYES:
        points = [*range(rim.start, rim.stop), iris]
        before, after = front[points], front[points] + offsets[points]
        centred = before - before.mean(axis=0)
        scale = (centred * (after - after.mean(axis=0))).sum() / np.square(centred).sum()
        offsets[points] = after.mean(axis=0) + scale * centred - before
