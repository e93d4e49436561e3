"""How much fine structure skin has at each age: a table in closed form, of the energies of real faces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.skin_detail import CUTOFFS, SkinDetail, split_bands
from dorian_bundle.tensors import luma
from dorian_training.data.crops import Crops
from dorian_training.methods.age_tables import KNOTS, REFERENCE, archive_shares, fit_age_table
from dorian_training.methods.skin_lines import LINE_BANDS, fit_skin_lines

CELLS = 12  # along a side
_FLOOR = 0.01  # squared grey levels

Floats = NDArray[np.float64]


def fit_skin_detail(crops: Crops) -> SkinDetail:
    """Fit the table to real faces of known age.

    Each archive has its own sharpness: of the logarithm of an energy an archive has a part and an age has a part, which
    least squares tell apart. Sharp archives count more, by the square of their energy in the finest band. Left and right
    count alike.

    Args:
        crops: Aligned faces of known age.
    """
    energies = np.log(np.stack([_energies(pixels) for pixels in crops.pixels]) + _FLOOR)  # (faces, bands, cells, cells)
    energies = (energies + energies[..., ::-1]) / 2
    weight = _sharpness(energies, archive_shares(crops.records))
    table = _growing(fit_age_table(energies, crops.records, weight))
    lines = fit_skin_lines(crops, weight, np.exp(table[:, :LINE_BANDS]).mean(axis=(1, 2, 3)))
    return SkinDetail(np.asarray(KNOTS, dtype=np.float32), table.astype(np.float32), *lines)


def _energies(pixels: NDArray[np.uint8]) -> Floats:
    """The energies (bands, cells, cells) of a crop."""
    squares = [np.square(band) for band in split_bands(luma(pixels))]
    cells = [cv2.resize(square, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for square in squares]
    return np.asarray(cells, dtype=np.float64).reshape(len(CUTOFFS), CELLS, CELLS)


def _sharpness(energies: Floats, of_archive: Floats) -> Floats:
    """The weight (faces,) of each face: that of its archive, 1 for the sharpest."""
    finest = np.exp(energies[:, -1].mean(axis=(1, 2)))
    means = (of_archive.T @ finest) / of_archive.sum(axis=0)
    return np.asarray(of_archive @ np.square(means / means.max()))


def _growing(table: Floats) -> Floats:
    """``table`` (knots, ...) without what falls with age, from the reference on and up to it: what a smile or a beard of the faces at hand brought in."""
    older = np.maximum.accumulate(table[REFERENCE:].clip(min=0), axis=0)
    younger = np.minimum.accumulate(table[: REFERENCE + 1][::-1].clip(max=0), axis=0)[::-1]
    return np.concatenate([younger[:-1], older])
