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
STRENGTHS = (1.0, 1.15, 1.3)  # factors of the delta that are tried, the one that changes the person least first
_WORTH = 0.05  # share of the error that a stronger delta has to save
# What all factors are then multiplied by: on 120 adults of the validation split, judges that took no part in training read
# less of a change than any estimator that learned from the same faces.
_STRONGER = 1.12
_FURTHEST = 5.0  # years that a request may be moved: an estimator need not see drawn faces as it sees photographs
_WINDOW = 4.0  # years around an age from which its real faces are taken
_LEAST = 5  # faces that a mean is taken of

Ages = NDArray[np.floating]
# Asked years and factor → age read from each of the faces drawn so.
Reader = Callable[[float, float], Ages]


def calibrate(read: Reader, ages: Ages, readings: Ages, youngest: float, oldest: float) -> Calibration:
    """The curve by which faces drawn by ``read`` get the readings of real faces, whose true ``ages`` and ``readings`` are given.

    Each strength is asked for the years at which its faces are read right on average; of these pairs, the one is taken whose
    faces are read right one by one, or a weaker one that comes within a twentieth of it. ``youngest`` and ``oldest``: the ages in years that
    can be drawn. ``ExportError`` if there are too few real faces.
    """
    drawn = np.linspace(youngest, oldest, 10)
    # What noise makes fall stays level.
    means = np.array([[read(float(age), each).mean() for each in STRENGTHS] for age in drawn])
    found = dict(zip(STRENGTHS, np.maximum.accumulate(means).T, strict=True))
    points = []
    for asked in ASKED:
        if not youngest <= asked <= oldest:
            continue
        wanted = reading_at(asked, ages, readings)
        least, most = max(youngest, asked - _FURTHEST), min(oldest, asked + _FURTHEST)
        given = {each: float(np.clip(np.interp(wanted, found[each], drawn), least, most)) for each in STRENGTHS}
        errors = {each: float(np.abs(read(given[each], each) - wanted).mean()) for each in STRENGTHS}
        enough = min(errors.values()) * (1 + _WORTH)
        chosen = next(each for each in STRENGTHS if errors[each] <= enough)
        strength = round(chosen * _STRONGER, 3)
        points.append(CalibrationPoint(asked=asked, offset=round(given[chosen] - asked, 1), strength=strength))
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
