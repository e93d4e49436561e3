"""Errors of the landmark refiner's points against a face mesh, as faces are served: detected, then refined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.boxes import iou
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.mesh import LEFT_IRIS, OUTLINE, POINTS, RIGHT_IRIS, alignment_landmarks
from dorian_training.data.mesh import load_mesh
from dorian_training.data.records import FaceRecord, PictureReader

Detect = Callable[[NDArray[np.uint8]], list[DetectedFace]]
Refine = Callable[[NDArray[np.uint8], list[DetectedFace]], list[DetectedFace]]

_PADDING = 0.25  # of the picture's longer side: crops of public sets are too tight for a detector
_MIN_IOU = 0.3  # with the face's points, of the detection that is taken for it
# Indices among the five alignment landmarks, and slices of the mesh.
_LANDMARKS: Mapping[str, slice] = {"eyes": slice(0, 2), "nose": slice(2, 3), "mouth": slice(3, 5)}
_POINTS: Mapping[str, slice] = {"all": slice(0, POINTS), "outline": OUTLINE}


def landmark_metrics(records: Sequence[FaceRecord], detect: Detect, refine: Refine) -> dict[str, Any]:
    """Return mean distances of points from the mesh's, in % of the distance between the eyes, by data set.

    Args:
        records: Faces of archives with a mesh; those without points are left out.
        detect: Finds the faces of RGB pixels, with five landmarks.
        refine: Refines the landmarks of detected faces.

    Returns:
        By data set: the number of ``faces`` and how many were ``missed``; the errors of the detector's ``unrefined`` five
        landmarks; of the refined ``eyes``, ``nose`` and ``mouth``, of ``all`` 73 points and of those on the ``outline``.
    """
    groups: dict[str, list[dict[str, float] | None]] = {}
    with PictureReader() as reader:
        for record, mesh in zip(records, load_mesh(records), strict=True):
            if not np.isnan(mesh).any():
                errors = _face_errors(reader.read(record), mesh, detect, refine)
                groups.setdefault(record.source, []).append(errors)
    return {source: _summarise(errors) for source, errors in sorted(groups.items())}


def _face_errors(
    pixels: NDArray[np.uint8], mesh: NDArray[np.float64], detect: Detect, refine: Refine
) -> dict[str, float] | None:
    """Return a face's errors by part, or ``None`` if it was not detected."""
    padding = round(_PADDING * max(pixels.shape[:2]))
    padded = np.asarray(
        cv2.copyMakeBorder(pixels, padding, padding, padding, padding, cv2.BORDER_REFLECT_101), dtype=np.uint8
    )
    true = mesh + padding
    low, high = true.min(axis=0), true.max(axis=0)
    faces = detect(padded)
    overlaps = iou(np.concatenate([low, high - low]), np.asarray([face.box for face in faces]))[0] if faces else []
    if not len(overlaps) or max(overlaps) < _MIN_IOU:
        return None
    (refined,) = refine(padded, [faces[int(np.argmax(overlaps))]])
    if refined.mesh is None:
        return None
    percent = 100 / float(np.linalg.norm(true[LEFT_IRIS] - true[RIGHT_IRIS]))
    unrefined = faces[int(np.argmax(overlaps))].landmarks
    five = np.linalg.norm(refined.landmarks - alignment_landmarks(true), axis=1) * percent
    points = np.linalg.norm(refined.mesh - true, axis=1) * percent
    return {
        "unrefined": float(np.linalg.norm(unrefined - alignment_landmarks(true), axis=1).mean() * percent),
        **{name: float(five[part].mean()) for name, part in _LANDMARKS.items()},
        **{name: float(points[part].mean()) for name, part in _POINTS.items()},
    }


def _summarise(errors: Sequence[dict[str, float] | None]) -> dict[str, Any]:
    found = [error for error in errors if error is not None]
    means = {name: round(float(np.mean([error[name] for error in found])), 2) for name in found[0]} if found else {}
    return {"faces": len(errors), "missed": len(errors) - len(found), **means}
