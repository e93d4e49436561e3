"""MATLAB files as data sets use them: one struct whose fields are vectors or cell vectors, a value per picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from dorian_training.errors import DataError


def read_struct(path: Path, name: str, fields: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the ``fields`` of the 1 × 1 struct ``name``, each as a vector (entries,); cells stay arrays inside of it.

    ``DataError`` if the file is not of version 5 to 7.2, lacks the struct or a field, or has fields of unequal length.
    """
    try:
        struct = loadmat(path, variable_names=[name]).get(name)
    except (OSError, ValueError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} is not a MATLAB file of version 5 to 7.2: {error}") from error
    if struct is None or struct.dtype.names is None or struct.size != 1:
        raise DataError(f"{path} has no struct {name}")
    missing = [field for field in fields if field not in struct.dtype.names]
    if missing:
        raise DataError(f"{path}: {name} has no field {', '.join(missing)}; it has {', '.join(struct.dtype.names)}")
    values = {field: np.asarray(struct.flat[0][field]).reshape(-1) for field in fields}
    if len({len(vector) for vector in values.values()}) > 1:
        lengths = ", ".join(f"{field} {len(vector)}" for field, vector in values.items())
        raise DataError(f"{path}: fields of {name} differ in length: {lengths}")
    return values


def text_of(cell: NDArray[Any]) -> str:
    """Return the text in a cell; empty for an empty cell."""
    return str(cell.flat[0]) if cell.size else ""
