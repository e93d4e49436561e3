"""The report of ``dorian-evaluate faces``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.faces.detectors import YUNET_SCORE
from dorian_evaluation.faces.identities import FALSE_ACCEPT_RATE, PAIRS
from dorian_evaluation.faces.matching import MIN_HIT_IOU, MIN_IGNORED_IOU
from dorian_evaluation.rendering import render

_LABELS = {
    "bundle": "bundle",
    "unrefined": "bundle, unrefined",
    "yunet": "YuNet",
    "cascade": "OpenCV cascade",
    "judge": "judge",
}


def render_faces(metrics: Mapping[str, Any]) -> str:
    """Return the parts that ``metrics`` has as Markdown."""
    return render(
        "faces",
        metrics=metrics,
        labels=_LABELS,
        yunet_score=YUNET_SCORE,
        min_hit_iou=MIN_HIT_IOU,
        min_ignored_iou=MIN_IGNORED_IOU,
        pairs=PAIRS,
        rate=FALSE_ACCEPT_RATE,
    )
