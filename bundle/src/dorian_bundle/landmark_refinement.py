"""Landmark refinement: 73 points of a detected face, its pose, and how much of it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.errors import AlignmentError
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import RunGraph
from dorian_bundle.mesh import alignment_landmarks
from dorian_bundle.pose import estimate_pose
from dorian_bundle.tensors import crops_to_images

_REFINED_AT_ONCE = 32  # faces


def refine_landmarks(
    run: RunGraph, pixels: NDArray[np.uint8], faces: Sequence[DetectedFace], template: AlignmentTemplate, size: int
) -> list[DetectedFace]:
    """Return ``faces`` with the mesh that a refiner places in a view aligned by the landmarks that they have.

    Their landmarks are then those of the mesh. What lies outside of the photo, where views show its reflection, is not visible.

    Args:
        run: The refiner's graph (see ``landmark_refiner_signature``).
        pixels: The photo, uint8 RGB (height, width, 3).
        faces: Faces of the photo. Those whose landmarks allow no view stay as they are.
        template: Where landmarks lie in a view.
        size: Side of a view in pixels.
    """
    refined = list(faces)
    views: list[tuple[int, NDArray[np.float64]]] = []
    for index, face in enumerate(faces):
        with suppress(AlignmentError):
            views.append((index, crop_matrix(face.landmarks, template, size)))
    for start in range(0, len(views), _REFINED_AT_ONCE):
        chunk = views[start : start + _REFINED_AT_ONCE]
        outputs = run({"image": crops_to_images([warp_crop(pixels, matrix, size) for _, matrix in chunk])})
        for (index, matrix), fractions, visibility in zip(
            chunk, outputs["landmarks"], outputs["visibility"], strict=True
        ):
            points = fractions[None].astype(np.float64) * size - 0.5  # (1, 73, 2), pixels of the view
            mesh = np.asarray(cv2.transform(points, cv2.invertAffineTransform(matrix))[0])  # (73, 2)
            inside = np.all((mesh > -0.5) & (mesh < (pixels.shape[1] - 0.5, pixels.shape[0] - 0.5)), axis=1)  # (73,)
            refined[index] = _with_mesh(faces[index], mesh, float(visibility * inside.mean()))
    return refined


def _with_mesh(face: DetectedFace, mesh: NDArray[np.float64], visibility: float) -> DetectedFace:
    pose = None
    with suppress(AlignmentError):
        pose = estimate_pose(mesh)
    return replace(face, landmarks=alignment_landmarks(mesh), mesh=mesh, visibility=visibility, pose=pose)
