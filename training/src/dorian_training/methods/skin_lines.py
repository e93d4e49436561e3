"""How much lines skin has at each age, and how they run: tables in closed form, of the structure tensors of real faces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.gaussian import blurred
from dorian_bundle.mesh import crop_mesh
from dorian_bundle.skin_detail import read_skin
from dorian_training.data.crops import Crops
from dorian_training.methods.age_tables import KNOTS, fit_age_table

LINE_CELLS = 32  # along a side
LINE_BANDS = 2  # of the bands of skin detail, from the coarsest, that lines lie in
_SMOOTH, _AROUND = 0.004, 0.024  # of a crop's side: sigma of a line's own width, and of the mean of tensors around it
_STRONGEST = 400.0  # squared grey levels, that an outlier counts as at most
_SHARP = 0.3  # of the sharpest archive's weight, from which on faces are looked at
_LITTLE_SKIN = 0.02  # share of a place, below which it counts less
_OLD = KNOTS.index(65.0)  # from which on faces say how lines run

Floats = NDArray[np.float64]


def fit_skin_lines(crops: Crops, weight: Floats, energies: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit the energy of lines by age and their direction, as ``SkinDetail`` has them; left and right count alike.

    Where lines lie, and how they run, old faces say, held against young ones; how they come with the years, all of the structure's energy.

    Args:
        crops: Aligned faces of known age.
        weight: How much each counts, (faces,).
        energies: Of the skin's structure at each age, over that at the reference age, (knots,).

    Returns:
        Squared grey levels relative to the reference age, (knots, LINE_CELLS, LINE_CELLS), and direction (2, LINE_CELLS, LINE_CELLS).
    """
    sharp = np.flatnonzero(weight >= _SHARP * weight.max())
    records = [crops.records[index] for index in sharp]
    tensors = np.stack([_tensors(crops.pixels[index]) for index in sharp])  # (faces, 4, cells, cells)
    mirrored = tensors[..., ::-1] * np.asarray([1, 1, -1, 1])[:, None, None]
    # Archives of sharp portraits are of the young or of the old, so that what is theirs cannot be told from what is their ages'.
    together = np.ones((len(sharp), 1))
    table = fit_age_table((tensors + mirrored) / 2, records, weight[sharp], together)  # (knots, 4, cells, cells)
    old, along, across, trace = table[_OLD:].mean(axis=0)
    grown = (energies - 1).clip(min=0)  # children have no lines to lose
    energy = (grown / max(grown[_OLD:].mean(), 1e-6))[:, None, None] * old.clip(min=0)
    strength = np.hypot(along, across)
    coherence = (strength / np.maximum(trace, 1e-6)).clip(0, 1)
    direction = np.stack([along, across]) / np.maximum(strength, 1e-6) * coherence
    return energy.astype(np.float32), direction.astype(np.float32)


def _tensors(pixels: NDArray[np.uint8]) -> Floats:
    """Energy of a crop's lines, and their structure tensor as cosine and sine parts of twice its angle and its trace, (4, cells, cells)."""
    skin = read_skin(pixels, crop_mesh(len(pixels)))
    lines = blurred(np.sum(skin.bands[:LINE_BANDS], axis=0), _SMOOTH)
    across, down = (cv2.Sobel(lines, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    parts = (lines * lines, across**2 - down**2, 2 * across * down, across**2 + down**2)
    cells = [
        cv2.resize(_around(part, skin.weight), (LINE_CELLS, LINE_CELLS), interpolation=cv2.INTER_AREA) for part in parts
    ]
    return np.clip(np.asarray(cells, dtype=np.float64), -_STRONGEST, _STRONGEST)


def _around(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean around each pixel of ``values`` (size, size), by ``weight``."""
    return blurred(values * weight, _AROUND) / (blurred(weight, _AROUND) + np.float32(_LITTLE_SKIN))
