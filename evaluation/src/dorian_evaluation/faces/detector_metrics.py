"""Metrics of a face detector, beside other detectors on the same images: recall, false detections, landmarks and time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dorian_evaluation.faces.detectors import Detector
from dorian_evaluation.faces.image_sets import COMPOSITES, ImageSet
from dorian_evaluation.faces.matching import (
    SIZES,
    Annotations,
    Detections,
    MatchResult,
    has_size,
    match_detections,
    summarise_matches,
)
from dorian_training.data.scene_sources import PHOTO_SOURCE
from dorian_training.errors import DataError

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_FULLY_ANNOTATED = (PHOTO_SOURCE, COMPOSITES)  # elsewhere, a face without annotation would count as a false detection


def detector_metrics(detectors: Mapping[str, Detector], images: ImageSet) -> dict[str, Any]:
    """Return, by source, the number of images and faces, and the metrics of each detector.

    False detections of a detector called ``yunet`` are not counted in photos if YuNet is also the set's teacher.
    """
    metrics = {}
    for name in images.names:
        results: dict[str, list[MatchResult]] = {detector: [] for detector in detectors}
        for image in tqdm(images.images(name), desc=f"faces of {name}", unit="image", mininterval=2):
            for detector, detect in detectors.items():
                results[detector].append(match_detections(detect(image.pixels), image.annotations))
        teachers = {"yunet"} if name == PHOTO_SOURCE and images.teacher else set()
        counted = set(detectors) - teachers if name in _FULLY_ANNOTATED else set()
        metrics[name] = _counts(name, next(iter(results.values()))) | {
            "detectors": {detector: _summary(results[detector], detector in counted) for detector in detectors}
        }
    return metrics


def threshold_metrics(detect: Detector, images: ImageSet) -> dict[str, Any]:
    """Return, by source, the number of images and faces, and recall and false detections at each of ``THRESHOLDS``.

    Args:
        detect: A detector with the lowest threshold. A detector that suppresses overlaps, best first, detects at a higher
            threshold exactly those of its detections that have a higher score.
        images: What it runs on.
    """
    metrics = {}
    for name in images.names:
        pairs: list[tuple[Detections, Annotations]] = [
            (detect(image.pixels), image.annotations)
            for image in tqdm(images.images(name), desc=f"thresholds on {name}", unit="image", mininterval=2)
        ]
        by_threshold = {
            threshold: [
                match_detections(detections.from_score(threshold), annotations) for detections, annotations in pairs
            ]
            for threshold in THRESHOLDS
        }
        metrics[name] = _counts(name, by_threshold[THRESHOLDS[0]]) | {
            "thresholds": {
                str(threshold): _summary(results, name in _FULLY_ANNOTATED)
                for threshold, results in by_threshold.items()
            }
        }
    return metrics


def refiner_metrics(test: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by source, the landmark error ``before`` and ``after`` refining, from what ``detector_metrics`` returns."""
    return {
        name: {
            when: metrics["detectors"][detector]["landmark_error"]
            for when, detector in (("before", "unrefined"), ("after", "bundle"))
        }
        for name, metrics in test.items()
    }


def time_metrics(detectors: Mapping[str, Detector], photo: NDArray[np.uint8], repeats: int) -> dict[str, Any]:
    """Return how long detectors take for a photo, in turn, after one turn as warm-up.

    Returns:
        Median milliseconds by detector, their ratio to those of the first detector, and the conditions.
    """
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for turn in range(repeats + 1):
        for name, detect in detectors.items():
            start = time.perf_counter()
            detect(photo)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: 1000 * float(np.median(values)) for name, values in seconds.items()}
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


def _counts(name: str, results: list[MatchResult]) -> dict[str, Any]:
    if not results:
        raise DataError(f"none of the images of {name} could be read")
    sides = np.concatenate([result.sides for result in results])
    return {"pictures": len(results), "faces": {size: int(has_size(sides, size).sum()) for size in SIZES}}


def _summary(results: list[MatchResult], counts_false: bool) -> dict[str, Any]:
    metrics = summarise_matches(results)
    return metrics if counts_false else metrics | {"false_per_100": None}
