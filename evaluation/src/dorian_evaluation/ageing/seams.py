"""Where an aged photo differs from the original: changes outside of the faces, and seams along what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_evaluation.images import Pixels


@dataclass(frozen=True)
class Seam:
    """Mean gradients along the outline of what changed, in levels of 255 per pixel.

    Attributes:
        change: Of the change.
        photo: Of the photo, in the same places.
    """

    change: float
    photo: float


def changed_pixels(original: Pixels, aged: Pixels) -> NDArray[np.bool_]:
    """Return where any channel differs, (height, width), in two RGB images of one size."""
    return np.asarray((original != aged).any(axis=2))


def count_outside(changed: NDArray[np.bool_], faces: Sequence[NDArray[np.float64]], template: AlignmentTemplate) -> int:
    """Count changed pixels outside of the aligned crops of all faces.

    Args:
        changed: Which pixels changed, (height, width).
        faces: Landmarks (5, 2) of each face.
        template: What the crops are aligned to.
    """
    rows, columns = np.nonzero(changed)
    points = np.stack([columns, rows, np.ones(len(rows))])  # (3, pixels)
    is_outside = np.ones(len(rows), dtype=np.bool_)
    for landmarks in faces:
        # A crop of one pixel reaches from -0.5 to 0.5: the same square at every size.
        position = crop_matrix(landmarks, template, 1) @ points  # (2, pixels)
        is_outside &= (np.abs(position) > 0.5).any(axis=0)
    return int(is_outside.sum())


def measure_seam(original: Pixels, aged: Pixels) -> Seam | None:
    """Return the gradients along the outer outline of what changed; None if nothing did.

    A gradient is the length of central differences, averaged over channels. A change that ends in a step of h levels has h / 2
    along a straight outline, since one of the two pixels beside it is unchanged; one that fades out has almost none.
    """
    changed = changed_pixels(original, aged)
    outlines, _ = cv2.findContours(changed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    columns, rows = np.concatenate(outlines)[:, 0].T
    delta = aged.astype(np.float32) - original
    return Seam(_mean_gradient(delta, rows, columns), _mean_gradient(original.astype(np.float32), rows, columns))


def _mean_gradient(values: NDArray[np.float32], rows: NDArray[np.int32], columns: NDArray[np.int32]) -> float:
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    horizontal = (padded[rows + 1, columns + 2] - padded[rows + 1, columns]) / 2  # (pixels, 3)
    vertical = (padded[rows + 2, columns + 1] - padded[rows, columns + 1]) / 2
    return float(np.hypot(horizontal, vertical).mean())
