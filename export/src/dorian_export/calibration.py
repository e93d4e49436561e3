"""Calibration of an age translator: measured on faces that it was not trained on, with an age estimator that did not train it.

The estimator has a bias of its own, so a drawn face is compared with the estimated ages of real faces of the target age, not
with the target itself (see ``wanted_estimate``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import MIN_AGE
from dorian_bundle.calibration import Calibration, CalibrationPoint, EstimatePoint, SourceCurve
from dorian_export.errors import ExportError

TARGETS = (5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0, 85.0)  # years of the curve's points
# Factors of the delta that are tried, the one that changes the person least first; beyond them folds and shadows become patches.
STRENGTHS = (1.0, 1.1, 1.2, 1.35, 1.5, 1.7)
CHILD_STRENGTHS = STRENGTHS[:3]  # where children get older, whose skin is smoother
_CHILD = 13.0  # years, below which a source is one
_OLD = 60.0  # years, from which on estimators read real faces too young, as they have seen few, and drawn ones all the more
_MARGIN = 0.05  # share of the error that a stronger delta has to save
_MAX_OFFSET = 12.0  # years that a target may be moved: an estimator may judge drawn faces otherwise than photos
_WINDOW = 4.0  # years around an age from which its real faces are taken
_MIN_FACES = 5  # that a mean is taken of
ADULT = 18.0  # years
SOURCE_SPANS = ((3.0, 13.0), (13.0, 30.0), (30.0, 50.0), (50.0, 80.0))  # years
_MIN_SPAN = 12  # faces

Ages = NDArray[np.floating]
# Age in years to draw and factor of the delta → estimated ages of the faces drawn so, (faces,).
EstimateDrawn = Callable[[float, float], Ages]
# Asked age in years → by how many years the photos' own detail, changed to that age, makes the faces look older, (faces,).
DetailEffect = Callable[[float], Ages]


def _no_effect(asked: float) -> Ages:
    return np.zeros(1)


def calibrate(
    estimate_drawn: EstimateDrawn,
    ages: Ages,
    estimates: Ages,
    youngest: float,
    oldest: float,
    source: float | None = None,
    detail_effect: DetailEffect = _no_effect,
) -> Calibration:
    """Return the curve by which drawn faces are estimated as ``wanted_estimate`` says.

    Each strength gets the age to draw at which its faces are estimated right on average. Of these pairs, the one is taken
    whose faces are right one by one, or a weaker one that comes within a twentieth of its error. The further a target lies from the
    source, the stronger its delta at least, so that who asks for more change gets more.

    Args:
        estimate_drawn: Draws faces and estimates their ages.
        ages: True ages of real faces in years, (faces,).
        estimates: Their estimated ages, (faces,).
        youngest: Youngest age in years that can be drawn.
        oldest: Oldest age in years that can be drawn.
        source: Mean age of the faces that are drawn, in years; if it is a child's, weaker deltas are tried for older targets. None: any.
        detail_effect: What is not drawn, and changes how old the faces look all the same.

    Raises:
        ExportError: If there are too few real faces.
    """
    drawn_ages = np.linspace(youngest, oldest, 10)
    means = np.array([[estimate_drawn(float(age), strength).mean() for strength in STRENGTHS] for age in drawn_ages])
    # Where noise makes the curve fall, it stays level.
    curves = dict(zip(STRENGTHS, np.maximum.accumulate(means).T, strict=True))
    chosen: dict[float, tuple[float, float]] = {}  # by target: the age to draw, and the strength
    start = 0.0 if source is None else source
    for target, nearer in _outwards([target for target in TARGETS if youngest <= target <= oldest], start):
        effect = detail_effect(target)
        read = wanted_estimate(target, source, ages, estimates)
        wanted = read - float(effect.mean())  # of what is drawn alone
        tried = CHILD_STRENGTHS if source is not None and source < _CHILD and target >= source else STRENGTHS
        strengths = [s for s in tried if nearer is None or s >= chosen[nearer][1]]
        lowest, highest = max(youngest, target - _MAX_OFFSET), min(oldest, target + _MAX_OFFSET)
        years = {s: float(np.clip(np.interp(wanted, curves[s], drawn_ages), lowest, highest)) for s in strengths}
        errors = {s: float(np.abs(estimate_drawn(years[s], s) + effect - read).mean()) for s in strengths}
        allowed = min(errors.values()) * (1 + _MARGIN)
        best = next(s for s in strengths if errors[s] <= allowed)
        chosen[target] = (years[best], best)
    targets = sorted(chosen)
    # Who asks for more years gets no fewer, whatever strengths were chosen.
    drawn_at = np.maximum.accumulate([chosen[target][0] for target in targets]).tolist()
    points = tuple(
        CalibrationPoint(asked=target, offset=round(age - target, 1), strength=chosen[target][1])
        for target, age in zip(targets, drawn_at, strict=True)
    )
    return Calibration(points=points)


def _outwards(targets: Sequence[float], source: float) -> list[tuple[float, float | None]]:
    """Return ``targets`` beginning with those nearest to ``source`` on either side, each with the one before it on its side."""
    older = [target for target in targets if target >= source]
    younger = [target for target in reversed(targets) if target < source]
    return [pair for side in (older, younger) for pair in zip(side, [None, *side], strict=False)]


def calibrate_by_source(
    estimate_drawn: EstimateDrawn,
    sources: Ages,
    ages: Ages,
    estimates: Ages,
    youngest: float,
    oldest: float,
    detail_effect: DetailEffect | None = None,
) -> Calibration:
    """Return the curve of all adults, and one for each span of source ages of which there are faces enough.

    How far a face changes depends on where it comes from: a child's needs more than an old one's. Spans share drawings: at
    other ages than a few a face's estimate is taken to lie on a straight line.

    Args:
        estimate_drawn: See ``calibrate``.
        sources: Ages of the faces that it draws, (faces,).
        ages: See ``calibrate``.
        estimates: See ``calibrate``.
        youngest: See ``calibrate``.
        oldest: See ``calibrate``.
        detail_effect: See ``calibrate``.
    """
    grid = np.linspace(youngest, oldest, 10)
    # By strength, (10, faces) each.
    drawn = {s: np.stack([estimate_drawn(float(age), s) for age in grid]) for s in STRENGTHS}
    effects = {t: np.broadcast_to((detail_effect or _no_effect)(t), sources.shape) for t in TARGETS}

    def of_span(low: float, high: float) -> Calibration:
        selected = np.flatnonzero((sources >= low) & (sources < high))

        def estimate(age: float, strength: float) -> Ages:
            above = int(np.clip(np.searchsorted(grid, age), 1, len(grid) - 1))
            share = (age - grid[above - 1]) / (grid[above] - grid[above - 1])
            below, beyond = drawn[strength][above - 1, selected], drawn[strength][above, selected]
            return np.asarray(below * (1 - share) + beyond * share)

        source = float(sources[selected].mean())
        return calibrate(estimate, ages, estimates, youngest, oldest, source, lambda asked: effects[asked][selected])

    curves = []
    for low, high in SOURCE_SPANS:
        inside = sources[(sources >= low) & (sources < high)]
        if len(inside) >= _MIN_SPAN:
            curves.append(SourceCurve(source=round(float(inside.mean()), 1), points=of_span(low, high).points))
    wanted = tuple(
        EstimatePoint(
            asked=target,
            younger=round(wanted_estimate(target, np.inf, ages, estimates), 1),
            older=round(wanted_estimate(target, MIN_AGE, ages, estimates), 1),
        )
        for target in TARGETS
    )
    return Calibration(points=of_span(ADULT, np.inf).points, by_source=tuple(curves), estimates=wanted)


def wanted_estimate(target: float, source: float | None, ages: Ages, estimates: Ages) -> float:
    """Return at what age drawn faces are to be estimated: as real ones of ``target`` years.

    Faces that get younger, from a ``source`` above the target, at ``target`` if that is less: they look older than they are estimated, by an
    estimator that taught those in the loss. From 60 on at ``target`` if that is more: the estimator has seen few old faces.
    """
    real = max(MIN_AGE, estimate_real(target, ages, estimates))
    if target >= _OLD:
        return max(real, target)
    return min(real, target) if source is not None and target < source else real


def estimate_real(age: float, ages: Ages, estimates: Ages) -> float:
    """Return what real faces of ``age`` years are estimated at: a straight line through those nearby, at ``age``.

    Nearby is 4 years or, where that holds fewer than 5 faces, as far as it takes.

    Raises:
        ExportError: If there are fewer than 5 faces in all.
    """
    if len(ages) < _MIN_FACES:
        raise ExportError(f"calibration needs at least {_MIN_FACES} faces whose age is known; there are {len(ages)}")
    distance = np.abs(ages - age)
    near = distance <= max(_WINDOW, float(np.sort(distance)[_MIN_FACES - 1]))
    x, y = ages[near] - age, estimates[near]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    # A line through few faces must not lead far from them.
    return float(y.mean() - np.clip(slope, 0.0, 1.5) * x.mean())
