"""Where an aged photo differs from the original: what changed outside of the faces, and whether the change shows a seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Seam:
    """Mean gradients along the outline of what changed, in levels of 255 a pixel: of the ``change``, and of the ``photo``."""

    change: float
    photo: float


def changed_pixels(original: Pixels, aged: Pixels) -> NDArray[np.bool_]:
    """Where any channel differs, (height, width); both are RGB uint8 of one size."""
    return np.asarray((original != aged).any(axis=2))


def changed_outside(
    changed: NDArray[np.bool_], faces: Sequence[NDArray[np.float64]], template: AlignmentTemplate
) -> int:
    """How many ``changed`` pixels lie outside of the aligned crops of all ``faces``, landmarks (5, 2) each."""
    rows, columns = np.nonzero(changed)
    points = np.stack([columns, rows, np.ones(len(rows))])
    outside = np.ones(len(rows), dtype=np.bool_)
    for landmarks in faces:
        # A crop of one pixel reaches from -0.5 to 0.5: the same square at every size.
        place = crop_matrix(landmarks, template, 1) @ points
        outside &= (np.abs(place) > 0.5).any(axis=0)
    return int(outside.sum())


def seam(original: Pixels, aged: Pixels) -> Seam | None:
    """The gradients along the outer outline of what changed; ``None`` if nothing did.

    A gradient is the length of central differences, averaged over channels. A change that ends in a step of h levels has h / 2
    along a straight outline, since one of the two pixels beside it is unchanged; one that fades out has next to nothing.
    """
    changed = changed_pixels(original, aged)
    outlines, _ = cv2.findContours(changed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    columns, rows = np.concatenate(outlines)[:, 0].T
    difference = aged.astype(np.float32) - original
    return Seam(_mean_gradient(difference, rows, columns), _mean_gradient(original.astype(np.float32), rows, columns))


def _mean_gradient(values: NDArray[np.float32], rows: NDArray[np.int32], columns: NDArray[np.int32]) -> float:
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = (padded[rows + 1, columns + 2] - padded[rows + 1, columns]) / 2
    down = (padded[rows + 2, columns + 1] - padded[rows, columns + 1]) / 2
    return float(np.hypot(across, down).mean())
