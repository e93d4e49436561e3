"""Alignment: how a face is cut out of its photo for the networks, shared by data preparation and the server.

A similarity transform (rotation, uniform scale, shift) takes five landmarks as near as it can to a template. Landmarks are
in the order right eye, left eye, nose, right mouth corner, left mouth corner (the person's right), in pixels, with (0, 0) at
the centre of the top-left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dorian_bundle.errors import AlignmentError

FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]


class AlignmentTemplate(BaseModel):
    """Where the five landmarks lie in the crop, as fractions (x, y) of its side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    landmarks: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)

    def points(self, size: int) -> FloatArray:
        """Return the landmarks in pixels of a ``size`` × ``size`` crop, (5, 2)."""
        return np.asarray(self.landmarks, dtype=np.float64) * size - 0.5

    def zoomed(self, factor: float) -> AlignmentTemplate:
        """Return the template of crops in which the face appears ``factor`` times as large, about the crop's centre."""
        return AlignmentTemplate(
            landmarks=tuple((0.5 + (x - 0.5) * factor, 0.5 + (y - 0.5) * factor) for x, y in self.landmarks)
        )


# The mean landmarks of a face mesh (irises, tip of the nose, corners of the mouth) in the crops that the earlier template cut
# by a detector's landmarks, made symmetric: crops stay where they were, and networks trained on those stay valid. A bundle
# keeps the template that it was exported with in its manifest.
DEFAULT_TEMPLATE = AlignmentTemplate(
    landmarks=((0.316, 0.310), (0.684, 0.310), (0.5, 0.547), (0.345, 0.686), (0.655, 0.686)),
)


def fit_similarity(source: Sequence[Sequence[float]] | FloatArray, target: FloatArray) -> FloatArray:
    """Fit the least-squares similarity transform: closed form of Umeyama 1991, in two dimensions and without reflection.

    Args:
        source: Points (points, 2).
        target: Where they should go, (points, 2).

    Returns:
        A matrix (2, 3).

    Raises:
        AlignmentError: If the source points coincide, are not finite, or have another shape than the target's.
    """
    a = np.asarray(source, dtype=np.float64)
    b = np.asarray(target, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or not np.isfinite(a).all():
        raise AlignmentError(f"landmarks must be finite and of shape {b.shape}, got {a.shape}")
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    a0, b0 = a - a_mean, b - b_mean
    spread = float((a0**2).sum())
    if spread < 1e-6:
        raise AlignmentError("landmarks coincide; no alignment follows from them")
    cosine = float((a0 * b0).sum()) / spread
    sine = float((a0[:, 0] * b0[:, 1] - a0[:, 1] * b0[:, 0]).sum()) / spread
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([rotation, (b_mean - rotation @ a_mean)[:, None]])


def crop_matrix(
    landmarks: Sequence[Sequence[float]] | FloatArray, template: AlignmentTemplate, size: int
) -> FloatArray:
    """Return the matrix (2, 3) from pixels of the photo to pixels of a ``size`` × ``size`` aligned crop."""
    return fit_similarity(landmarks, template.points(size))


def finer_matrix(matrix: FloatArray, factor: float) -> FloatArray:
    """Return the matrix (2, 3) to the crop of ``matrix`` with ``factor`` times as many pixels along a side."""
    fine = matrix * factor
    fine[:, 2] += (factor - 1) / 2  # (0, 0) is the centre of a pixel
    return fine


def warp_crop(image: ImageArray, matrix: FloatArray, size: int) -> ImageArray:
    """Cut a crop out of a photo; what lies outside the photo is reflected.

    Where the crop is much smaller than the face, the photo is first shrunk by area averaging, so that nothing aliases.

    Args:
        image: uint8 (height, width, 3).
        matrix: See ``crop_matrix``.
        size: Side of the crop in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    corners = cv2.transform(
        np.array([[[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]]]),
        cv2.invertAffineTransform(matrix),
    )[0]
    # Only the neighbourhood of the crop is read: a large photo costs no more than its face.
    margin = 2.0 / max(scale, 1e-6)
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0) - margin), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0) + margin), (left + 1, top + 1), (width, height)).astype(int)
    region = image[top:bottom, left:right]
    shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    local = np.vstack([matrix, [0.0, 0.0, 1.0]]) @ shift
    factor = 1.0 / scale
    if factor > 1.5:
        small = (max(1, round(region.shape[1] / factor)), max(1, round(region.shape[0] / factor)))
        fx, fy = region.shape[1] / small[0], region.shape[0] / small[1]
        region = np.asarray(cv2.resize(region, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        local = local @ np.array([[fx, 0.0, (fx - 1) / 2], [0.0, fy, (fy - 1) / 2], [0.0, 0.0, 1.0]])
    crop = cv2.warpAffine(region, local[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(crop, dtype=np.uint8)
