"""Face selection: which of a photo's faces a request selects, and what each is to become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.boxes import iou
from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age, FaceSelector, FaceTarget

MIN_OVERLAP = 0.3  # intersection over union, from which a box selects a face


@dataclass(frozen=True)
class SelectedFace:
    """A face that is to change.

    Args:
        index: Its place among the photo's faces, the largest first.
        target: What this face is to become; ``None`` for each of the request's targets in turn.
        source: Its source age, if the caller gave one.
    """

    index: int
    target: Age | None
    source: Age | None


@dataclass(frozen=True)
class UnmatchedSelector:
    """A selector that matched no face.

    Args:
        field: The field of the request that it was in.
        selector: The selector.
        target: The target of this face alone, if it has one.
        face_count: How many faces the photo has.
    """

    field: str
    selector: FaceSelector
    target: Age | None
    face_count: int

    def error(self) -> RequestError:
        """Return the error to report for it."""
        faces = f"{self.face_count} {'face was' if self.face_count == 1 else 'faces were'} found"
        return RequestError(Reason.FACE_NOT_FOUND, self.field, f"no face is at {self.selector}; {faces}")


def find_face(selector: FaceSelector, faces: Sequence[DetectedFace]) -> int | None:
    """Return the index of the face that ``selector`` names; ``None`` if there is none.

    Args:
        selector: Names a face.
        faces: The photo's faces, largest first.
    """
    if selector.box is not None:
        overlaps = iou([selector.box], [face.box for face in faces])[0]  # (faces,)
        best = int(np.argmax(overlaps)) if len(faces) else 0
        return best if len(faces) and overlaps[best] >= MIN_OVERLAP else None
    index = selector.index or 0
    return index if 0 <= index < len(faces) else None


def select_faces(
    faces: Sequence[DetectedFace],
    has_targets: bool,
    source: Age | None,
    selectors: Sequence[FaceSelector],
    face_targets: Sequence[FaceTarget],
    max_faces: int,
) -> tuple[list[SelectedFace], list[UnmatchedSelector]]:
    """Select the faces that are to change.

    Args:
        faces: The photo's faces, largest first.
        has_targets: Whether the request has targets for all ``selectors``, or else for the largest faces.
        source: The source age of all faces, if the caller gave one.
        selectors: Name the faces for the request's targets.
        face_targets: Name faces that have a target, and perhaps a source age, of their own.
        max_faces: How many of the largest faces change where there are no ``selectors``.

    Returns:
        The selected faces by index, and the selectors that matched none.
    """
    selected: dict[int, SelectedFace] = {}
    unmatched: list[UnmatchedSelector] = []
    if has_targets and not selectors:
        selected = {index: SelectedFace(index, None, source) for index in range(min(len(faces), max_faces))}
    for position, selector in enumerate(selectors if has_targets else ()):
        index = find_face(selector, faces)
        if index is None:
            unmatched.append(UnmatchedSelector(f"faces[{position}]", selector, None, len(faces)))
        else:
            selected[index] = SelectedFace(index, None, source)
    for position, entry in enumerate(face_targets):
        index = find_face(entry.face, faces)
        if index is None:
            field = f"face_targets[{position}].face"
            unmatched.append(UnmatchedSelector(field, entry.face, entry.target, len(faces)))
        else:
            selected[index] = SelectedFace(index, entry.target, entry.source or source)
    return [selected[index] for index in sorted(selected)], unmatched
