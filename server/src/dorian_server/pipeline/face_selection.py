"""Which of a photo's faces a request means, and what is to become of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.boxes import iou
from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age, FaceSelector, FaceTarget

MIN_OVERLAP = 0.3  # of the union, at which a box names a face


@dataclass(frozen=True)
class Wish:
    """What is to become of the face ``index``: ``target`` (none: the age that is asked of all), ``source`` if it was given."""

    index: int
    target: Age | None
    source: Age | None


@dataclass(frozen=True)
class Missing:
    """A selector that named no face, the field that it came in, and the age asked for it alone."""

    field: str
    selector: FaceSelector
    target: Age | None
    found: int

    def error(self) -> RequestError:
        words = f"no face is at {self.selector}; {self.found} {'face was' if self.found == 1 else 'faces were'} found"
        return RequestError(Reason.FACE_NOT_FOUND, self.field, words)


def find(selector: FaceSelector, faces: Sequence[DetectedFace]) -> int | None:
    """Index of the face of ``faces``, largest first, that ``selector`` names; ``None`` if there is none."""
    if selector.box is not None:
        overlaps = iou([selector.box], [face.box for face in faces])[0]  # (faces,)
        best = int(np.argmax(overlaps)) if faces else 0
        return best if faces and overlaps[best] >= MIN_OVERLAP else None
    index = selector.index or 0
    return index if 0 <= index < len(faces) else None


def wishes(
    faces: Sequence[DetectedFace],
    common: bool,
    source: Age | None,
    selectors: Sequence[FaceSelector],
    face_targets: Sequence[FaceTarget],
    most: int,
) -> tuple[list[Wish], list[Missing]]:
    """What to do with ``faces``, by index, and the selectors that named none.

    With ``common``, faces change to the ages asked of all: those of ``selectors``, or the ``most`` largest. Those of
    ``face_targets`` have their own.
    """
    chosen: dict[int, Wish] = {}
    missing: list[Missing] = []
    if common and not selectors:
        chosen = {index: Wish(index, None, source) for index in range(min(len(faces), most))}
    for place, selector in enumerate(selectors if common else ()):
        index = find(selector, faces)
        if index is None:
            missing.append(Missing(f"faces[{place}]", selector, None, len(faces)))
        else:
            chosen[index] = Wish(index, None, source)
    for place, own in enumerate(face_targets):
        index = find(own.face, faces)
        if index is None:
            missing.append(Missing(f"face_targets[{place}].face", own.face, own.target, len(faces)))
        else:
            chosen[index] = Wish(index, own.target, own.source or source)
    return [chosen[index] for index in sorted(chosen)], missing
