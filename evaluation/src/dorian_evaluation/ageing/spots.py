"""Spots: small dark or bright blobs that a change makes where a face has no features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.tensors import luma
from dorian_evaluation.ageing.aligned_faces import AlignedFace
from dorian_evaluation.ageing.regions import Luma, region
from dorian_evaluation.ageing.targets import Target

SPOT_SIZE = 128  # pixels, side of the crops that are looked at
SPOT_LEVELS = 30.0  # grey levels by which a spot differs from the change around it
SPOT_SIGMA = SPOT_SIZE / 16  # pixels, of the Gaussian whose mean is the change around
SPOT_AREA = 4  # pixels; smaller blobs are no spots
_FLOW_SIGMA = 2.0  # pixels, of the Gaussian that smooths how a face moved


def count_spots(change: Luma, in_place: Luma | None = None) -> tuple[int, int]:
    """Return the numbers of dark and bright spots that a change makes off the features.

    A spot is a connected area of ``SPOT_AREA`` pixels or more in which the change lies more than ``SPOT_LEVELS`` below, or above,
    its Gaussian mean.

    Args:
        change: Luma after less luma before in grey levels, (SPOT_SIZE, SPOT_SIZE).
        in_place: The same without what moved being moved back; spots are then those pixels that are one in both, or lie beside one.
    """
    seen = region(SPOT_SIZE, "changed")
    dark, bright = (_stands_out(change, sign) & seen for sign in (-1, 1))
    if in_place is not None:
        dark, bright = dark & _near(_stands_out(in_place, -1)), bright & _near(_stands_out(in_place, 1))
    return _count_blobs(dark), _count_blobs(bright)


def spot_counts(face: AlignedFace) -> NDArray[np.int64]:
    """Return the dark and bright spots of a face, (targets, 2)."""
    before, *afters = luma(_resized(face))
    counts = [count_spots(moved_back(before, after) - before, after - before) for after in afters]
    return np.asarray(counts, dtype=np.int64)


def moved_back(before: Luma, after: Luma) -> Luma:
    """Return ``after`` with its pixels where they were ``before``: a brow that moved is no spot.

    How it moved is dense optical flow (Kroeger et al. 2016), smoothed: a spot, which was nowhere before, stays.

    Args:
        before: Luma in grey levels, (SPOT_SIZE, SPOT_SIZE).
        after: The same of the changed face.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    first, second = (np.clip(levels, 0, 255).astype(np.uint8) for levels in (before, after))
    across, down = cv2.split(cv2.GaussianBlur(flow.calc(first, second, None), (0, 0), _FLOW_SIGMA))
    rows, columns = np.mgrid[: len(before), : len(before)].astype(np.float32)
    moved = cv2.remap(after, columns + across, rows + down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def spot_metrics(counts: Sequence[NDArray[np.int64]], targets: Sequence[Target]) -> dict[str, Any]:
    """Return, by target, the shares of faces with a ``dark`` spot, a ``bright`` one and ``any``, and the mean number of ``spots``.

    Args:
        counts: Of each face, see ``spot_counts``.
        targets: The targets.
    """
    table = np.stack(counts)  # (faces, targets, 2)
    metrics = {}
    for target, faces in zip(targets, table.transpose(1, 0, 2), strict=True):
        dark, bright = (faces > 0).T
        shares = {"dark": dark.mean(), "bright": bright.mean(), "any": (dark | bright).mean()}
        metrics[target.label] = {name: round(float(share), 4) for name, share in shares.items()} | {
            "spots": round(float(faces.sum(axis=1).mean()), 3)
        }
    return metrics


def _stands_out(change: Luma, sign: int) -> NDArray[np.bool_]:
    around = cv2.GaussianBlur(change, (0, 0), SPOT_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(sign * (change - around) > SPOT_LEVELS)


def _near(selected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(selected.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _count_blobs(selected: NDArray[np.bool_]) -> int:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(selected.astype(np.uint8), connectivity=8)
    return int((statistics[1:, cv2.CC_STAT_AREA] >= SPOT_AREA).sum())


def _resized(face: AlignedFace) -> NDArray[np.uint8]:
    side = (SPOT_SIZE, SPOT_SIZE)
    return np.stack([cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in face.crops]).astype(np.uint8)
