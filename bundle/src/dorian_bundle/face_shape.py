"""The shape of faces by age: how far the points of a face of one age lie from those of another.

From child to adult the jaw grows and the eyes take up less of the face; later lips grow thin. What is drawn into a photo cannot
show that, so the photo's own pixels are moved.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.age_tables import check_ages, value_at_age
from dorian_bundle.errors import GraphFileError
from dorian_bundle.mesh import MEAN_FACE, OUTLINE, POINTS
from dorian_bundle.stored_arrays import load_arrays

SHAPE_FILE = "face_shape.npz"
MAX_OFFSET = 0.3  # distances between the eyes, beyond which no age moves a point

# A young child's outline stays much where it is when it gets older: what lies beside it in the photo would move with it.
_HELD_OUTLINE = 0.2  # share of its moves that is left
_YOUNG, _GROWN = 6.0, 12.0  # years of the source, up to which, and from which on no more

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class FaceShape:
    """Mean places of a face's points by age, relative to those at one age.

    ``ages`` float32 (ages,), ascending years; ``offsets`` float32 (ages, 73, 2): x to the viewer's right and y down, in
    distances between the eyes of a face seen from the front. Between ages they are a straight line, and beyond them those of the
    nearest.
    """

    ages: NDArray[np.float32]
    offsets: NDArray[np.float32]

    def at(self, age: float) -> NDArray[np.float32]:
        """Return the offsets (73, 2) at ``age`` in years."""
        return value_at_age(self.ages, self.offsets, age)

    def moves(self, mesh: NDArray[np.float64], source: float, target: float) -> NDArray[np.float64]:
        """Return how far each point of a face moves, so that its shape becomes that of another age.

        A turned face's points move as the turned mean face's would.

        Args:
            mesh: The face's points (73, 2); see ``dorian_bundle.mesh``.
            source: Its age in years.
            target: The age that it is to have.

        Returns:
            (73, 2), in the unit of ``mesh``; zero if ``target`` is ``source``.
        """
        model = MEAN_FACE - MEAN_FACE.mean(axis=0)
        projection, *_ = np.linalg.lstsq(model, mesh - mesh.mean(axis=0), rcond=None)  # (3, 2)
        offsets = (self.at(target) - self.at(source)).astype(np.float64)
        if target > source:
            offsets[OUTLINE] *= np.interp(source, (_YOUNG, _GROWN), (_HELD_OUTLINE, 1))
        return np.asarray(offsets @ projection[:2])

    def save(self, path: Path) -> None:
        """Write the table to ``path``."""
        np.savez_compressed(path, allow_pickle=False, **asdict(self))


def load_face_shape(path: Path) -> FaceShape:
    """Read the table in ``path``.

    Raises:
        GraphFileError: If the file holds something else.
    """
    shape = load_arrays(path, FaceShape, "table of face shapes", "face shapes", _MAX_BYTES)
    ages, offsets = shape.ages, shape.offsets
    check_ages(path, ages)
    if offsets.shape != (len(ages), POINTS, 2):
        raise GraphFileError(f"{path} has offsets of shape {offsets.shape}; ({len(ages)}, {POINTS}, 2) is needed")
    if not (np.abs(offsets) <= MAX_OFFSET).all():  # NaN is not
        raise GraphFileError(f"{path} holds offsets beyond {MAX_OFFSET:g} distances between the eyes, or no numbers")
    return shape
