"""Tables by age in closed form: least squares that tell what an age adds from what an archive of pictures brings in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_training.data.records import FaceRecord

KNOTS = (1.0, 7.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)  # years between which a table is a straight line
REFERENCE = KNOTS.index(25.0)  # the age that tables are relative to
_OLDEST = 82  # years, that an open bracket counts to
_STIFFNESS = 50.0  # of the line over the ages, in faces

Floats = NDArray[np.float64]


def archive_shares(records: Sequence[FaceRecord]) -> Floats:
    """Return 1 for the archive that each face is of and 0 for the others, (faces, archives)."""
    archives = [
        f"{record.source}/{record.name.split('/')[0]}" if "/" in record.name else record.source for record in records
    ]
    return np.stack([[archive == name for name in sorted(set(archives))] for archive in archives]).astype(np.float64)


def fit_age_table(
    values: Floats, records: Sequence[FaceRecord], weight: Floats, of_archive: Floats | None = None
) -> Floats:
    """Fit what each age adds to ``values``, which have a part of their face's archive and one of its age.

    An age bracket counts as equally likely years. The line over the ages is held straight as if by 50 faces of mean weight.

    Args:
        values: Of each face, (faces, ...).
        records: The faces, of known age.
        weight: How much each counts, (faces,).
        of_archive: The share of each archive in each face, (faces, archives), unless they are those of ``archive_shares``.

    Returns:
        Relative to ``REFERENCE``, (knots, ...).
    """
    of_archive = archive_shares(records) if of_archive is None else of_archive
    of_age = np.stack(
        [_hats(record.age_low or 0, min(record.age_high or 0, _OLDEST)) for record in records]
    )  # (faces, knots)
    others = np.delete(np.arange(len(KNOTS)), REFERENCE)
    design = np.hstack([of_archive, of_age[:, others]])
    bends = np.zeros((len(KNOTS) - 2, design.shape[1]))
    bends[:, of_archive.shape[1] :] = np.diff(np.eye(len(KNOTS)), n=2, axis=0)[:, others]
    system = (design.T * weight) @ design + _STIFFNESS * weight.mean() * bends.T @ bends
    system += 1e-6 * np.eye(len(system)) * np.trace(system)
    flat = values.reshape(len(values), -1)
    fitted = np.linalg.solve(system, (design.T * weight) @ flat)[of_archive.shape[1] :]
    table = np.zeros((len(KNOTS), *values.shape[1:]))
    table[others] = fitted.reshape(len(others), *values.shape[1:])
    return table


def _hats(low: int, high: int) -> Floats:
    """The mean share of each knot over the whole years from ``low`` to ``high``, (knots,)."""
    years = np.arange(low, max(low, high) + 1)
    return np.asarray([np.interp(years, KNOTS, unit).mean() for unit in np.eye(len(KNOTS))])
