"""Fine structure of skin by age: how much of it a face of one age has more than one of another, and a photo's own changed by that.

A network that draws at the resolution of its crop can neither remove a wrinkle of a large face nor deepen one. What the
photo has itself is changed here: its luma is split into bands, each of which gets a gain, on skin alone. The gains follow from
how much energy each band has at each place of real faces of every age. What gains cannot bring, as young skin has none, is drawn:
lines (``dorian_bundle.skin_lines``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.age_tables import check_ages, value_at_age
from dorian_bundle.errors import GraphFileError
from dorian_bundle.gaussian import blurred, broadly_blurred
from dorian_bundle.masks import skin_mask
from dorian_bundle.skin_lines import draw_lines, skin_grain
from dorian_bundle.stored_arrays import load_arrays
from dorian_bundle.tensors import luma

DETAIL_FILE = "skin_detail.npz"
DETAIL_SIZE = 256  # side of the crops that are changed, in pixels
CUTOFFS = (
    12.0,
    24.0,
    48.0,
)  # cycles per side of the crop, from which each band reaches to the next, the last to all that is finer

_HALF = float(np.sqrt(np.log(2) / 2) / np.pi)  # cycles · sigma at which a Gaussian lets half of an amplitude through
# Wrinkles hold most of the energy that age adds, on few of the pixels. So a gain's exponent grows with a pixel's amplitude over
# the mean around it: what is calm keeps more of its texture.
_SMOOTHING = (12.0, 20.0, 14.0)  # exponents of amplitude ratios where they fall, by band
_DEEPENING = 2.0  # the same where they rise
_LEAST_SHARE, _MOST_SHARE = 0.6, 4.0  # of an exponent, of calm and of strong pixels
_LEAST_GAIN, _MOST_GAIN = 0.1, 1.6
_LINES, _STRONGEST_LINE = 2.2, 15.0  # factor of lines' amplitude, and grey levels at most
_LIGHT_SKIN, _BROAD = 150.0, 0.04  # grey levels, and of the crop's side: sigma over which a skin's light is averaged
_AROUND = 0.1  # of the crop's side: sigma of the mean around a pixel
_LINE = 0.006  # of the crop's side: about half the width of a wrinkle
_FLOOR = 1.0  # grey levels, below which an amplitude is noise
_EDGE = 65.0  # grey levels from which a structure is no wrinkle: rims of spectacles, strands of hair
_MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class SkinStructure:
    """Fine structure of the skin of one crop, read once for all changes of it; all float32 (size, size).

    Attributes:
        bands: Of the luma in grey levels, one for each of ``CUTOFFS``.
        shares: Of an exponent for each pixel of each band: more where it stands out from what is around.
        grain: Texture that lines begin in; see ``skin_grain``.
        light: How light the skin is, over the light skin that tables of lines are of: shadows of lines are shares of it.
        weight: 1 where skin is calm, 0 on features and at edges.
        edges: 1 where there are edges off the features, 0 where there are none: rims of spectacles, strands of hair.
    """

    bands: tuple[NDArray[np.float32], ...]
    shares: tuple[NDArray[np.float32], ...]
    grain: NDArray[np.float32]
    light: NDArray[np.float32]
    weight: NDArray[np.float32]
    edges: NDArray[np.float32]
    _lines: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def lines(self, direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the lines that run in a ``direction`` out of the grain, the same for all ages, drawn once; see ``draw_lines``."""
        key = direction.tobytes()
        if key not in self._lines:
            self._lines[key] = draw_lines(self.grain, direction)
        return self._lines[key]


@dataclass(frozen=True)
class SkinDetail:
    """Energy of skin's fine structure by age, relative to one age.

    Between ages it is a straight line, and beyond them that of the nearest. Cells are those of an aligned crop, rows from the top.

    Attributes:
        ages: Ascending years, float32 (ages,).
        log_energy: Logarithm of the energy (mean square of luma) of each band of ``CUTOFFS`` in each cell, float32 (ages, bands,
            cells, cells).
        line_energy: Energy of lines in squared grey levels, float32 (ages, line cells, line cells); ``None``: no lines are drawn.
        line_direction: How they run, float32 (2, line cells, line cells); see ``draw_lines``.
    """

    ages: NDArray[np.float32]
    log_energy: NDArray[np.float32]
    line_energy: NDArray[np.float32] | None = None
    line_direction: NDArray[np.float32] | None = None

    def at(self, age: float) -> NDArray[np.float32]:
        """Return the logarithm of the energies (bands, cells, cells) at ``age`` in years."""
        return value_at_age(self.ages, self.log_energy, age)

    def change(self, skin: SkinStructure, source: float, target: float) -> NDArray[np.float32]:
        """Return what is added to a crop's luma, so that its ``skin`` has the fine structure of ``target``.

        Args:
            skin: Of the crop.
            source: The face's age in years.
            target: The age that it is to have.

        Returns:
            float32 (size, size), in parts of the range from black to white. Zero on the features, and
            everywhere if ``target`` is ``source``; beyond the face's outline it means nothing.
        """
        size = len(skin.weight)
        ratios = (self.at(target) - self.at(source)) / 2  # logarithms of ratios of amplitudes
        change = np.zeros((size, size), np.float32)
        for band, share, ratio, smoothing in zip(skin.bands, skin.shares, ratios, _SMOOTHING, strict=True):
            fine = cv2.resize(ratio, (size, size), interpolation=cv2.INTER_CUBIC)
            exponent = np.where(fine < 0, smoothing * share, _DEEPENING)
            gain = np.clip(np.exp(fine * exponent), _LEAST_GAIN, _MOST_GAIN)
            change += (gain - 1) * band
        if target > source:
            change += self._lines(skin, source, target)
        return np.asarray(change * skin.weight / 255, dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the table to ``path``."""
        arrays = {name: values for name, values in asdict(self).items() if values is not None}
        np.savez_compressed(path, allow_pickle=False, **arrays)

    def _lines(self, skin: SkinStructure, source: float, target: float) -> NDArray[np.float32]:
        """The lines (size, size) in grey levels that ``target`` has more than ``source``."""
        size = len(skin.weight)
        if self.line_energy is None or self.line_direction is None:
            return np.zeros((size, size), np.float32)
        added = value_at_age(self.ages, self.line_energy, target) - value_at_age(self.ages, self.line_energy, source)
        amplitude = np.sqrt(np.maximum(cv2.resize(added, (size, size), interpolation=cv2.INTER_LINEAR), 0))
        lines = skin.lines(self.line_direction)
        return np.asarray(np.minimum(_LINES * amplitude, _STRONGEST_LINE) * skin.light * lines, dtype=np.float32)


def read_skin(crop: NDArray[np.uint8], mesh: NDArray[np.float64]) -> SkinStructure:
    """Return the fine structure of the skin in a crop.

    Args:
        crop: Aligned face, RGB uint8 (size, size, 3).
        mesh: Its points (73, 2) in pixels of the crop; see ``dorian_bundle.mesh``.
    """
    size, levels = len(crop), luma(crop)
    bands = split_bands(levels)
    skin = skin_mask((mesh + 0.5) / 2 - 0.5, size // 2)  # soft, so that half the size says as much
    skin = np.asarray(cv2.resize(skin, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    calm = _calm(bands)
    return SkinStructure(
        bands=tuple(bands),
        shares=tuple(map(_shares, bands)),
        grain=skin_grain(levels),
        light=np.minimum(broadly_blurred(levels, _BROAD) / _LIGHT_SKIN, 1),
        weight=skin * calm,
        edges=skin * (1 - calm),
    )


def split_bands(levels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the bands of a luma ``levels`` (size, size) that begin at ``CUTOFFS``, each (size, size); without what is coarser."""
    lows = [blurred(levels, _HALF / cutoff) for cutoff in CUTOFFS]
    return [finer - coarser for coarser, finer in zip(lows, [*lows[1:], levels], strict=True)]


def load_skin_detail(path: Path) -> SkinDetail:
    """Read the table in ``path``.

    Raises:
        GraphFileError: If the file holds something else.
    """
    detail = load_arrays(path, SkinDetail, "table of skin detail", "skin detail", _MAX_BYTES)
    ages, energy = detail.ages, detail.log_energy
    check_ages(path, ages)
    if energy.ndim != 4 or energy.shape[:2] != (len(ages), len(CUTOFFS)) or energy.shape[2] != energy.shape[3]:
        needed = f"({len(ages)}, {len(CUTOFFS)}, cells, cells)"
        raise GraphFileError(f"{path} has log_energy of shape {energy.shape}; {needed} is needed")
    lines = [values for values in (detail.line_energy, detail.line_direction) if values is not None]
    if lines and [values.shape for values in lines] != [(count, *lines[0].shape[1:2] * 2) for count in (len(ages), 2)]:
        shapes = " and ".join(str(values.shape) for values in lines)
        needed = f"({len(ages)}, cells, cells) and (2, cells, cells)"
        raise GraphFileError(f"{path} has line_energy and line_direction of shape {shapes}; {needed} are needed")
    if not all(np.isfinite(values).all() for values in (energy, *lines)):
        raise GraphFileError(f"{path} holds numbers that are not finite")
    return detail


def _shares(band: NDArray[np.float32]) -> NDArray[np.float32]:
    around = np.sqrt(broadly_blurred(np.square(band), _AROUND)) + _FLOOR
    shares = np.clip((1.3 * blurred(np.abs(band), _LINE) / around) ** 1.5, _LEAST_SHARE, _MOST_SHARE)
    return np.asarray(shares, dtype=np.float32)


def _calm(bands: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return 1 where nothing near is as strong as an edge, falling to 0 where it is, (size, size)."""
    strength = np.abs(np.sum(bands, axis=0))
    reach = max(3, round(0.02 * len(strength)))
    strongest = np.asarray(cv2.dilate(strength, np.ones((reach, reach), np.uint8)), dtype=np.float32)
    near = blurred(strongest, 0.01)
    return np.asarray(np.exp(-((near / _EDGE) ** 4)), dtype=np.float32)
