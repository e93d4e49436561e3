"""A face detector's figures: recall, false faces, landmarks and time, beside other detectors on the same pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dorian_evaluation.faces.detectors import Finder
from dorian_evaluation.faces.face_sets import COMPOSITES, PictureSet
from dorian_evaluation.faces.matching import SIZES, Found, Outcome, Truth, compared, summarised, within
from dorian_training.data.scene_sources import PHOTO_SOURCE
from dorian_training.errors import DataError

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_ALL_FACES_KNOWN = (PHOTO_SOURCE, COMPOSITES)  # elsewhere a face that nobody listed would count as false


def detector_figures(finders: Mapping[str, Finder], pictures: PictureSet) -> dict[str, Any]:
    """By set of ``pictures``: how many pictures and faces it has, and what each of ``finders`` makes of them.

    Of a finder called ``yunet`` false faces in photographs are not counted where it is also the set's teacher.
    """
    figures = {}
    for name in pictures.names:
        outcomes: dict[str, list[Outcome]] = {finder: [] for finder in finders}
        for known in tqdm(pictures.pictures(name), desc=f"faces of {name}", unit="picture", mininterval=2):
            for finder, find in finders.items():
                outcomes[finder].append(compared(find(known.pixels), known.truth))
        own = {"yunet"} if name == PHOTO_SOURCE and pictures.teacher else set()
        counted = set(finders) - own if name in _ALL_FACES_KNOWN else set()
        figures[name] = _counts(name, next(iter(outcomes.values()))) | {
            "detectors": {finder: _figures(outcomes[finder], finder in counted) for finder in finders}
        }
    return figures


def threshold_figures(find: Finder, pictures: PictureSet) -> dict[str, Any]:
    """By set of ``pictures``: its counts, and recall and false faces at each of ``THRESHOLDS``.

    ``find`` finds faces from the lowest of them on. A finder that suppresses overlaps, best first, finds at a higher one
    just those of a higher score.
    """
    figures = {}
    for name in pictures.names:
        findings: list[tuple[Found, Truth]] = [
            (find(known.pixels), known.truth)
            for known in tqdm(pictures.pictures(name), desc=f"thresholds on {name}", unit="picture", mininterval=2)
        ]
        by_threshold = {
            threshold: [compared(found.from_score(threshold), truth) for found, truth in findings]
            for threshold in THRESHOLDS
        }
        figures[name] = _counts(name, by_threshold[THRESHOLDS[0]]) | {
            "thresholds": {
                str(threshold): _figures(outcomes, name in _ALL_FACES_KNOWN)
                for threshold, outcomes in by_threshold.items()
            }
        }
    return figures


def refiner_figures(test: Mapping[str, Any]) -> dict[str, Any]:
    """By set, the landmark error ``before`` and ``after`` refining, out of what ``detector_figures`` gives."""
    return {
        name: {
            when: found["detectors"][finder]["landmark_error"]
            for when, finder in (("before", "unrefined"), ("after", "bundle"))
        }
        for name, found in test.items()
    }


def time_figures(finders: Mapping[str, Finder], photo: NDArray[np.uint8], repeats: int) -> dict[str, Any]:
    """Median milliseconds that each of ``finders`` takes for ``photo``, in turns, after one turn to warm up.

    Also how many times as long as the first one each takes, and the processor's cores.
    """
    seconds: dict[str, list[float]] = {name: [] for name in finders}
    for turn in range(repeats + 1):
        for name, find in finders.items():
            start = time.perf_counter()
            find(photo)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: 1000 * float(np.median(taken)) for name, taken in seconds.items()}
    first = next(iter(medians.values()))
    return {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "repeats": repeats,
        "cores": os.cpu_count(),
        "opencv_threads": cv2.getNumThreads(),
        "milliseconds": {name: round(median, 1) for name, median in medians.items()},
        "ratio": {name: round(median / first, 2) for name, median in medians.items()},
    }


def _counts(name: str, outcomes: list[Outcome]) -> dict[str, Any]:
    if not outcomes:
        raise DataError(f"none of the pictures of {name} could be read")
    sides = np.concatenate([outcome.sides for outcome in outcomes])
    return {"pictures": len(outcomes), "faces": {size: int(within(sides, size).sum()) for size in SIZES}}


def _figures(outcomes: list[Outcome], counts_false: bool) -> dict[str, Any]:
    figures = summarised(outcomes)
    return figures if counts_false else figures | {"false_per_100": None}
