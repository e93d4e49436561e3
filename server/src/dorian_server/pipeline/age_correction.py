"""Correction: a face that is estimated younger or older than it is to be gets more or less of its change.

A method is calibrated for faces on average, and each face takes a change in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dorian_bundle.ages import MAX_AGE, AgeGroup
from dorian_bundle.calibration import Calibration
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.methods.method import Drawing, Method
from dorian_server.pipeline.identity_budget import DrawnFaces

_ADULT = 18.0  # years, from which on faces are corrected: children's get patchy
_LEAST_CHANGE = 5.0  # years between source and target, below which hardly anything is drawn
_LEAST_MISS = 1.0  # years that a face may be read off its target
_MOST = 10.0  # years by which the age that a face is changed to may lie below the one asked for
_MOST_CHILD = 4.0  # the same where adults become children: skin that is drawn ever younger gets shadows about the eyes
_MOST_OLDER = 5.0  # the same above: smooth skin that is drawn ever older gets patches before it gets older
_LEAST_CHANGED, _MOST_CHANGED = 0.4, 1.5  # times a change


def calibration_to_correct_by(request: AgeRequest, method: Method) -> Calibration | None:
    """Return what faces of ``request`` are corrected by; ``None`` if the method reads none, or if changes are scaled, bounded or replacements."""
    is_plain = request.strength == 1 and request.blend == "delta" and request.keep_identity is None
    return method.read_back if is_plain and not request.needs_latents else None


def correct_drawings(
    image: DrawnFaces,
    sources: Sequence[Age],
    groups: Sequence[AgeGroup],
    calibration: Calibration,
    read_ages: Callable[[Sequence[Drawing]], list[float]],
) -> DrawnFaces:
    """Return ``image`` with more or less of the change of those faces that are not estimated as ``calibration`` says.

    Args:
        image: Its faces, drawn for their targets.
        sources: The source age of each prepared face.
        groups: The method's age groups.
        calibration: Says at what age faces of a target are to be estimated.
        read_ages: How old each face of the image is read with its drawing in the photo, in years.
    """
    pairs = list(zip(sources, image.targets, strict=True))
    correctable = [face for face, pair in enumerate(pairs) if _is_correctable(*pair, groups)]
    if not correctable:
        return image
    read, drawings = read_ages(image.drawings), list(image.drawings)
    for face in correctable:
        source, target = (age.years_in(groups) for age in pairs[face])
        corrected = corrected_years(source, target, read[face] - calibration.wanted_estimate(source, target))
        if corrected is not None:
            share = np.clip((corrected - source) / (target - source), _LEAST_CHANGED, _MOST_CHANGED)
            drawings[face] = drawings[face].changed_by(float(share), corrected)
    return DrawnFaces(image.targets, drawings)


def corrected_years(source: float, target: float, miss: float) -> float | None:
    """Return the age to change a face of the age ``source`` to in place of ``target``, for which it was drawn and looked ``miss`` too old.

    All in years. It is on the same side of the source as the target. ``None`` if the face is read right.
    """
    if abs(miss) < _LEAST_MISS:
        return None
    most = _MOST if target >= _ADULT else _MOST_CHILD
    corrected = target - float(np.clip(miss, -_MOST_OLDER, most))
    corrected = max(corrected, source) if target > source else min(corrected, source)
    return min(max(corrected, 1.0), MAX_AGE)


def _is_correctable(source: Age, target: Age, groups: Sequence[AgeGroup]) -> bool:
    if target.filter is not None or source.filter is not None:
        return False
    first, last = source.years_in(groups), target.years_in(groups)
    return first >= _ADULT and abs(last - first) >= _LEAST_CHANGE
