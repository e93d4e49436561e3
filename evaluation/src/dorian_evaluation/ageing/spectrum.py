"""The spectrum of skin: how much fine structure aged faces have, against real faces of the target's age."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.tensors import luma
from dorian_evaluation.ageing.aligned_faces import CROP_SIZE
from dorian_evaluation.ageing.regions import Luma, region
from dorian_evaluation.images import Pixels

BANDS = ((12, 24), (24, 48), (48, 96))  # cycles per side of the crop
_FADE = 0.1  # of the side, at each border: there a window falls to nothing, so that opposite borders do not meet

Floats = NDArray[np.float64]


def band_energies(levels: Luma) -> Floats:
    """Return the mean square of each band's part of a crop over its skin, in squared grey levels, (bands,).

    A sinusoid of amplitude a within a band has the energy a² / 2.

    Args:
        levels: Luma in grey levels, (CROP_SIZE, CROP_SIZE).
    """
    skin = region(CROP_SIZE, "skin")
    spectrum = np.fft.rfft2((levels - levels.mean()) * _window())
    parts = [np.fft.irfft2(spectrum * ring, s=levels.shape) for ring in _rings()]
    return np.asarray([np.square(part[skin]).mean() for part in parts])


def crop_energies(crops: Pixels) -> Floats:
    """Return the energies (crops, bands) of crops, RGB uint8 (crops, CROP_SIZE, CROP_SIZE, 3)."""
    return np.stack([band_energies(levels) for levels in luma(crops)])


def spectrum_metrics(young: Floats, aged: Floats, real_old: Floats, old: Floats, rejuvenated: Floats) -> dict[str, Any]:
    """Return, by band, how much of what sets old skin apart from young an ageing draws, and a rejuvenation takes away.

    All energies are compared by their geometric means over faces. ``real`` is how much more energy real old faces have than the
    young ones, as a share of the latter's; ``aged`` the same of the young faces made old; ``drawn`` the ratio of both.
    ``taken`` is the share of the old faces' extra energy over the young that making them young took away.

    Args:
        young: Of the young faces as they are, (faces, bands).
        aged: Of the same at the old target.
        real_old: Of real faces of that target's age, (real faces, bands).
        old: Of the old faces as they are, (old faces, bands).
        rejuvenated: Of the same at the young target.
    """
    means = [_geometric_mean(energies) for energies in (young, aged, real_old, old, rejuvenated)]
    metrics = {}
    for band, (at_young, at_aged, at_real, at_old, at_new) in zip(BANDS, zip(*means, strict=True), strict=True):
        real, drawn = at_real / at_young - 1, at_aged / at_young - 1
        extra = at_old - at_young
        metrics[f"{band[0]}-{band[1]}"] = {
            "young": round(float(at_young), 2),
            "real": round(float(real), 3),
            "aged": round(float(drawn), 3),
            "drawn": _share(drawn, real),
            "old": round(float(at_old / at_young - 1), 3),
            "taken": _share(at_old - at_new, extra),
        }
    return metrics


def _geometric_mean(energies: Floats) -> Floats:
    return np.asarray(np.exp(np.log(np.maximum(energies, 1e-6)).mean(axis=0)))


def _share(part: float, whole: float) -> float | None:
    """Return ``part`` of ``whole``; None where real faces have no extra energy to compare with."""
    return round(float(part / whole), 3) if whole > 0 else None


@lru_cache(maxsize=1)
def _window() -> Floats:
    depth = (np.minimum(np.arange(CROP_SIZE), np.arange(CROP_SIZE)[::-1]) + 0.5) / (_FADE * CROP_SIZE)
    side = 0.5 - 0.5 * np.cos(np.pi * np.clip(depth, 0, 1))
    return np.asarray(side[:, None] * side)


@lru_cache(maxsize=1)
def _rings() -> tuple[NDArray[np.bool_], ...]:
    rows = np.fft.fftfreq(CROP_SIZE, 1 / CROP_SIZE)[:, None]
    radius = np.hypot(rows, np.fft.rfftfreq(CROP_SIZE, 1 / CROP_SIZE))  # (CROP_SIZE, CROP_SIZE / 2 + 1)
    return tuple((radius >= low) & (radius < high) for low, high in BANDS)
