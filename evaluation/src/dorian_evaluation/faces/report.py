"""The report of ``dorian-evaluate faces``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.faces.identities import FALSE_ACCEPT_RATES
from dorian_evaluation.faces.matching import MIN_HIT_IOU, MIN_LISTED_IOU
from dorian_evaluation.rendering import render

_LABELS = {
    "bundle": "bundle",
    "unrefined": "bundle, unrefined",
    "yunet": "OpenCV's YuNet",
    "judge": "judge",
}


def render_faces(metrics: Mapping[str, Any]) -> str:
    """Return the parts that ``metrics`` has as Markdown."""
    return render(
        "faces",
        metrics=metrics,
        labels=_LABELS,
        min_hit_iou=MIN_HIT_IOU,
        min_listed_iou=MIN_LISTED_IOU,
        rates=FALSE_ACCEPT_RATES,
    )
