"""How CelebA's attributes go together: the correlation of each with every other, over all faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dorian_training.errors import DataError

# Correlations with the attribute "Young" on the whole set, as the report on face ageing by GANs prints them in its text.
REPORTED = {"Attractive": 0.39, "Wearing_Lipstick": 0.25, "Gray_Hair": -0.36, "Double_Chin": -0.31, "Chubby": -0.29}
REPORTED_OF = "Young"
_DPI = 100
Floats = NDArray[np.float64]


def correlate_attributes(values: NDArray[np.int8]) -> Floats:
    """Return Pearson's correlation of all pairs of attributes.

    Args:
        values: 1 or -1 for each attribute of each face, (faces, attributes).

    Returns:
        (attributes, attributes); NaN where all faces have an attribute, or none has it.

    Raises:
        DataError: There are fewer than two faces.
    """
    if len(values) < 2:
        raise DataError(f"a correlation needs two faces or more; there are {len(values)}")
    centred = values - values.mean(axis=0)
    spread = np.sqrt(np.square(centred).mean(axis=0))
    scaled = centred / np.where(spread > 0, spread, np.nan)
    return np.asarray(scaled.T @ scaled / len(values))


def attribute_metrics(names: tuple[str, ...], values: NDArray[np.int8], attribute: str) -> dict[str, Any]:
    """Return the correlations of all attributes, and those of one in order.

    Args:
        names: Of the attributes.
        values: See ``correlate_attributes``.
        attribute: The one whose row is returned by itself.

    Returns:
        ``faces``; ``share`` of the faces that have each attribute; ``row``: of ``attribute`` with every other, from the highest
        to the lowest, those without one last; ``matrix``: all, by name. ``None``: there is none.

    Raises:
        DataError: There is no such attribute, or there are fewer than two faces.
    """
    if attribute not in names:
        raise DataError(f"there is no attribute {attribute!r}; there are {', '.join(names)}")
    matrix = correlate_attributes(values)
    of_one = dict(zip(names, matrix[names.index(attribute)], strict=True))
    others = [name for name in names if name != attribute]
    others.sort(key=lambda name: -np.inf if np.isnan(of_one[name]) else of_one[name], reverse=True)
    return {
        "faces": len(values),
        "attribute": attribute,
        "share": {name: round(float(share), 4) for name, share in zip(names, (values > 0).mean(axis=0), strict=True)},
        "row": {name: _rounded(of_one[name]) for name in others},
        "matrix": {
            name: {other: _rounded(value) for other, value in zip(names, row, strict=True)}
            for name, row in zip(names, matrix, strict=True)
        },
    }


def draw_attributes(path: Path, metrics: dict[str, Any]) -> None:
    """Draw the matrix, and the row of one attribute as bars.

    Raises:
        DataError: The suffix of ``path`` stands for no image format.
    """
    names = list(metrics["matrix"])
    values = [[_or_nan(metrics["matrix"][name][other]) for other in names] for name in names]
    figure = Figure(figsize=(16, 9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    image = left.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [name.replace("_", " ") for name in names]
    left.set_xticks(range(len(names)), labels, rotation=90, fontsize=7)
    left.set_yticks(range(len(names)), labels, fontsize=7)
    figure.colorbar(image, ax=left, label="correlation")
    row = metrics["row"]
    right.barh([name.replace("_", " ") for name in reversed(row)], [_or_nan(row[name]) for name in reversed(row)])
    right.tick_params(axis="y", labelsize=7)
    right.set_title(f"correlation with {metrics['attribute'].replace('_', ' ')}")
    try:
        figure.savefig(path, dpi=_DPI)
    except ValueError as error:  # an unknown suffix
        raise DataError(f"{path} cannot be drawn: {error}") from error


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
