"""Metrics of a face detector, beside other detectors on the same images: recall, unlisted detections, landmarks and time."""

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
from dorian_evaluation.faces.image_sets import PHOTO_SOURCE, ImageSet
from dorian_evaluation.faces.matching import (
    SIZES,
    Annotations,
    Detections,
    MatchResult,
    are_equal,
    has_size,
    match_detections,
    summarise_matches,
)
from dorian_training.errors import DataError

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)


def detector_metrics(detectors: Mapping[str, Detector], images: ImageSet) -> dict[str, Any]:
    """Return, by source, the number of images and faces, and the metrics of each detector.

    ``equal`` is the share of images in which the detectors called ``unrefined`` and ``yunet`` return the same. What a detector finds
    beyond the annotations is counted in photos alone: elsewhere, only one face of an image is annotated.
    """
    metrics = {}
    for name in images.names:
        results: dict[str, list[MatchResult]] = {detector: [] for detector in detectors}
        equal = []
        for image in tqdm(images.images(name), desc=f"faces of {name}", unit="image", mininterval=2):
            found = {detector: detect(image.pixels) for detector, detect in detectors.items()}
            for detector, detections in found.items():
                results[detector].append(match_detections(detections, image.annotations))
            if "yunet" in found:
                size = image.annotations.width, image.annotations.height
                equal.append(are_equal(found["unrefined"], found["yunet"], *size))
        metrics[name] = _counts(name, next(iter(results.values()))) | {
            "equal": round(float(np.mean(equal)), 4) if equal else None,
            "detectors": {detector: _summary(results[detector], name == PHOTO_SOURCE) for detector in detectors},
        }
    return metrics


def threshold_metrics(detect: Detector, images: ImageSet) -> dict[str, Any]:
    """Return, by source, the number of images and faces, and recall and unlisted detections at each of ``THRESHOLDS``.

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
                str(threshold): _summary(results, name == PHOTO_SOURCE) for threshold, results in by_threshold.items()
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
    """Return how much processor time detectors take for a photo, in turn, after one turn as warm-up.

    Returns:
        Median milliseconds by detector, of all threads together, and the conditions.
    """
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for turn in range(repeats + 1):
        for name, detect in detectors.items():
            start = time.process_time()
            detect(photo)
            if turn:
                seconds[name].append(time.process_time() - start)
    medians = {name: 1000 * float(np.median(values)) for name, values in seconds.items()}
    return {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "repeats": repeats,
        "cores": len(os.sched_getaffinity(0)),
        "opencv_threads": cv2.getNumThreads(),
        "milliseconds": {name: round(median, 1) for name, median in medians.items()},
    }


def _counts(name: str, results: list[MatchResult]) -> dict[str, Any]:
    if not results:
        raise DataError(f"none of the images of {name} could be read")
    sides = np.concatenate([result.sides for result in results])
    return {"pictures": len(results), "faces": {size: int(has_size(sides, size).sum()) for size in SIZES}}


def _summary(results: list[MatchResult], counts_unlisted: bool) -> dict[str, Any]:
    metrics = summarise_matches(results)
    return metrics if counts_unlisted else metrics | {"unlisted_per_100": None}
