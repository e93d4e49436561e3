"""How sure age estimates are: the bounds of ``AgeIntervals``, measured on faces whose age is known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.age_interval import AgeIntervals
from dorian_export.errors import ExportError
from dorian_training.data.batches import run_on_centres
from dorian_training.data.crops import Crops
from dorian_training.networks.age_estimator import age_spread, expected_age, load_age_estimator

COVERAGE = 0.8
_AGES = (1.0, 3.0, 6.0, 10.0, 14.0, 18.0, *np.arange(22.0, 93.0, 5.0).tolist())  # at which bounds are measured
_NEIGHBOURS = 120  # faces of about that age, by which they are; all, where there are fewer
_MIN_FACES = 8
_MIN_SPREAD = 1.0  # years


def measure_age_intervals(checkpoint: Path, faces: Crops) -> AgeIntervals:
    """Measure the bounds of the age estimator's intervals.

    Args:
        checkpoint: Of the age estimator.
        faces: Of no training split, with exactly known ages, cut with a margin about the side that the network takes.

    Raises:
        ExportError: If there are too few faces.
    """
    if len(faces) < _MIN_FACES:
        raise ExportError(
            f"the age estimator's intervals need {_MIN_FACES} validation faces of exactly known age; there are {len(faces)}"
        )
    network = load_age_estimator(checkpoint)
    logits = run_on_centres(network, faces, network.size).double()  # (faces, years)
    estimates, spreads = expected_age(logits).numpy(), age_spread(logits).numpy()
    ages = np.asarray([record.age for record in faces.records], dtype=np.float64)
    errors = (estimates - ages) / np.maximum(spreads, _MIN_SPREAD)
    tail = (1 - COVERAGE) / 2
    bounds = [np.quantile(errors[_nearest(ages, age)], (tail, 1 - tail)) for age in _AGES]
    return AgeIntervals(
        coverage=COVERAGE,
        ages=_AGES,
        lower=tuple(round(float(low), 3) for low, _ in bounds),
        upper=tuple(round(float(high), 3) for _, high in bounds),
        min_spread=_MIN_SPREAD,
        faces=len(faces),
    )


def _nearest(ages: NDArray[np.float64], age: float) -> NDArray[np.int64]:
    """Return the indices of the faces whose ``ages`` (faces,) are nearest to ``age``, with all that are as near as the last."""
    distance = np.abs(ages - age)
    last = min(_NEIGHBOURS, len(distance)) - 1
    return np.flatnonzero(distance <= np.partition(distance, last)[last])
