"""Warnings of faces that are hard to age well: of unsure age, mostly covered, or in a photo that is turned."""

from __future__ import annotations

from dorian_server.domain.results import Face, FaceWarning, WarningCode

UNCERTAIN_YEARS = 20.0  # span of an age's interval from which on it is uncertain
MIN_VISIBILITY = 0.5  # share of a face below which it counts as covered
MAX_ROLL = 45.0  # degrees of tilt beyond which the photo, not the head, seems to be turned


def warn_of_face(face: Face, source_given: bool) -> tuple[FaceWarning, ...]:
    """Return the warnings of a ``face`` that is changed; ``source_given``: whether the caller said how old it is."""
    warnings = (None if source_given else _warn_of_age(face), _warn_of_cover(face), _warn_of_turn(face))
    return tuple(warning for warning in warnings if warning is not None)


def _warn_of_age(face: Face) -> FaceWarning | None:
    interval = face.reading.age_interval if face.reading else None
    if interval is None or interval[1] - interval[0] < UNCERTAIN_YEARS:
        return None
    low, high = interval
    message = f"the face may be anything from {low:.0f} to {high:.0f} years old; give its age as source, if it is known"
    return FaceWarning(WarningCode.AGE_UNCERTAIN, message)


def _warn_of_cover(face: Face) -> FaceWarning | None:
    visibility = face.detected.visibility
    if visibility is None or visibility >= MIN_VISIBILITY:
        return None
    message = f"about {visibility:.0%} of the face can be seen; what is covered is not aged well"
    return FaceWarning(WarningCode.FACE_COVERED, message)


def _warn_of_turn(face: Face) -> FaceWarning | None:
    pose = face.detected.pose
    if pose is None or abs(pose.roll) <= MAX_ROLL:
        return None
    side = "clockwise" if pose.roll > 0 else "anticlockwise"
    message = f"the face is tilted by {abs(pose.roll):.0f} degrees {side}; the photo seems to be turned"
    return FaceWarning(WarningCode.FACE_TURNED, message)
