"""What an age translator has to be asked for: measured on faces it never saw, with an age estimator that never led it.

The estimator has a bias of its own, so a translated face is held against real faces of the wished age as the estimator reads
them, not against the calendar.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.calibration import Calibration, CalibrationPoint
from dorian_export.errors import ExportError

ASKED = (5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0, 85.0)
STRONGER = (
    1.0,
    1.15,
    1.3,
)  # factors tried where the last age that can be drawn is not read old enough, or young enough
_FURTHEST = 20.0  # years that a request may be moved
_WINDOW = 4.0  # years around an age from which its real faces are taken
_LEAST = 5  # faces that a mean is taken of

Ages = NDArray[np.floating]
# Asked years and factor → mean age read from the faces drawn so.
Reader = Callable[[float, float], float]


def calibrate(read: Reader, ages: Ages, readings: Ages, youngest: float, oldest: float) -> Calibration:
    """The curve by which faces drawn by ``read`` get the readings of real faces, whose true ``ages`` and ``readings`` are given.

    ``youngest`` and ``oldest``: the ages in years that can be drawn. ``ExportError`` if there are too few real faces.
    """
    drawn = np.linspace(youngest, oldest, 10)
    found = np.maximum.accumulate([read(float(age), 1.0) for age in drawn])  # what noise makes fall stays level
    points = []
    for asked in ASKED:
        if not youngest <= asked <= oldest:
            continue
        wanted = reading_at(asked, ages, readings)
        least, most = max(youngest, asked - _FURTHEST), min(oldest, asked + _FURTHEST)
        given, factor = float(np.clip(np.interp(wanted, found, drawn), least, most)), 1.0
        if given in (least, most):  # as far as it goes
            factor = min(STRONGER, key=lambda strength: abs(read(given, strength) - wanted))
        points.append(CalibrationPoint(asked=asked, offset=round(given - asked, 1), strength=factor))
    return Calibration(points=tuple(points))


def reading_at(age: float, ages: Ages, readings: Ages) -> float:
    """What real faces of ``age`` years are read as: a straight line through those nearby, at ``age``.

    Nearby is 4 years or, where that holds fewer than 5 faces, as far as it takes. ``ExportError`` if there are fewer in all.
    """
    if len(ages) < _LEAST:
        raise ExportError(f"calibration needs at least {_LEAST} faces whose age is known; there are {len(ages)}")
    distance = np.abs(ages - age)
    near = distance <= max(_WINDOW, float(np.sort(distance)[_LEAST - 1]))
    x, y = ages[near] - age, readings[near]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    # A line through few faces must not lead far from them.
    return float(y.mean() - np.clip(slope, 0.0, 1.5) * x.mean())
