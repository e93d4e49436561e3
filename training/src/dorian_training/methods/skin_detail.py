"""How much fine structure skin has at each age: a table in closed form, of the energies of real faces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.skin_detail import CUTOFFS, SkinDetail, split_bands
from dorian_bundle.tensors import luma
from dorian_training.data.crops import Crops

KNOTS = (1.0, 7.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)  # years between which energies are a straight line
CELLS = 12  # along a side
_REFERENCE = KNOTS.index(25.0)  # the age that energies are relative to: from it on they only grow
_OLDEST = 82  # years, that an open bracket counts to
_FLOOR = 0.01  # squared grey levels
_STIFFNESS = 50.0  # of the line over the ages, in faces

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
    archives = [_archive(record.source, record.name) for record in crops.records]
    names = sorted(set(archives))
    of_archive = np.stack([[archive == name for name in names] for archive in archives]).astype(np.float64)
    of_age = np.stack(
        [_hats(record.age_low or 0, min(record.age_high or 0, _OLDEST)) for record in crops.records]
    )  # (faces, knots)
    others = np.delete(np.arange(len(KNOTS)), _REFERENCE)
    design = np.hstack([of_archive, of_age[:, others]])
    bends = np.zeros((len(KNOTS) - 2, design.shape[1]))
    bends[:, len(names) :] = _second_differences(len(KNOTS))[:, others]
    weight = _sharpness(energies, of_archive)
    system = (design.T * weight) @ design + _STIFFNESS * weight.mean() * bends.T @ bends
    system += 1e-6 * np.eye(len(system)) * np.trace(system)
    flat = energies.reshape(len(energies), -1)
    fitted = np.linalg.solve(system, (design.T * weight) @ flat)[len(names) :]
    table = np.zeros((len(KNOTS), *energies.shape[1:]))
    table[others] = fitted.reshape(len(others), *energies.shape[1:])
    return SkinDetail(np.asarray(KNOTS, dtype=np.float32), _growing(table).astype(np.float32))


def _energies(pixels: NDArray[np.uint8]) -> Floats:
    """The energies (bands, cells, cells) of a crop."""
    squares = [np.square(band) for band in split_bands(luma(pixels))]
    cells = [cv2.resize(square, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for square in squares]
    return np.asarray(cells, dtype=np.float64).reshape(len(CUTOFFS), CELLS, CELLS)


def _archive(source: str, name: str) -> str:
    return f"{source}/{name.split('/')[0]}" if "/" in name else source


def _hats(low: int, high: int) -> Floats:
    """The mean share of each knot over the whole years from ``low`` to ``high``, (knots,)."""
    years = np.arange(low, max(low, high) + 1)
    return np.asarray([np.interp(years, KNOTS, unit).mean() for unit in np.eye(len(KNOTS))])


def _second_differences(count: int) -> Floats:
    return np.diff(np.eye(count), n=2, axis=0)


def _sharpness(energies: Floats, of_archive: Floats) -> Floats:
    """The weight (faces,) of each face: that of its archive, 1 for the sharpest."""
    finest = np.exp(energies[:, -1].mean(axis=(1, 2)))
    means = (of_archive.T @ finest) / of_archive.sum(axis=0)
    return np.asarray(of_archive @ np.square(means / means.max()))


def _growing(table: Floats) -> Floats:
    """``table`` (knots, ...) without what falls with age: what a smile or a beard of the faces at hand brought in."""
    older = np.maximum.accumulate(table[_REFERENCE:].clip(min=0), axis=0)
    younger = np.minimum.accumulate(table[: _REFERENCE + 1][::-1].clip(max=0), axis=0)[::-1]
    return np.concatenate([younger[:-1], older])
