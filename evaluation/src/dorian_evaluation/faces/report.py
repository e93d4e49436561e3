"""The figures of a bundle's networks that see faces, as Markdown tables that say how each was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dorian_evaluation.faces.detectors import YUNET_SCORE
from dorian_evaluation.faces.identities import PAIRS, RATE
from dorian_evaluation.faces.matching import EXCUSED, HIT
from dorian_evaluation.tables import number, share, table

_NAMES = {
    "bundle": "bundle",
    "unrefined": "bundle, unrefined",
    "yunet": "YuNet",
    "cascade": "OpenCV cascade",
    "judge": "judge",
}


def markdown(figures: dict[str, Any]) -> str:
    """The tables of all parts that ``figures`` has, as ``dorian-evaluate faces`` writes them."""
    writers: dict[str, Callable[[dict[str, Any]], str]] = {
        "detector": _detector,
        "age_estimator": _age_estimator,
        "facenet": _facenet,
        "ageing": _ageing,
    }
    return "\n".join(write(figures[part]) for part, write in writers.items() if part in figures)


def _detector(figures: dict[str, Any]) -> str:
    return "\n".join([_detector_sets(figures), _detector_thresholds(figures), _detector_time(figures["time"])])


def _detector_sets(figures: dict[str, Any]) -> str:
    rows = []
    for name, found in figures["test"].items():
        for detector, its in found["detectors"].items():
            cells = [share(its["recall"][size]) for size in ("40+", "20-40")]
            cells += [number(its["false_per_100"], 1), number(its["landmark_error"], 1)]
            rows.append([f"{name} ({found['pictures']:,})", _NAMES[detector], *cells])
    counts = "; ".join(
        f"{name} {found['faces']['40+']:,} and {found['faces']['20-40']:,}" for name, found in figures["test"].items()
    )
    yunet = figures["yunet"]
    excuse = ", and in photographs every face that YuNet sees from a score of 0.3 on, at once or twice the size"
    head = ["set (pictures)", "detector", "recall, 40 px on", "recall, 20–40 px", "false per 100", "landmarks"]
    return f"""## Face detector

Faces of the test split, in the sets' pictures as they are and in composites. Recall: share of listed faces, by the longer side of
what shows of them, that a finding overlaps by {HIT:g} of the union, boxes cut to the picture. The bundle's detector counts from a score of
{figures["min_score"]:g}, small faces from up to {figures["min_small_score"]:g}; YuNet from {YUNET_SCORE:g}. False: findings per 100 pictures, unless something excused
overlaps them by {EXCUSED:g} of the union and holds their centre: every listed face, every face too small or too hidden to be
listed{excuse if yunet else ""}. Landmarks: mean error in % of the distance between the eyes, on faces of 40 px that are found;
unrefined: as the detector gives them, without the landmark refiner's second look.

Boxes and landmarks of the archives are earlier predictions of YuNet. That favours its rows; how far a new run of it lies from them
shows how far these points can be trusted, and its own false faces in photographs cannot be told. The cascade's boxes
are squares drawn otherwise than the sets', which costs it recall at {HIT:g}; it gives no landmarks.

{table(head, rows)}
Faces from 40 px on, and from 20 to 40: {counts}.
"""


def _detector_thresholds(figures: dict[str, Any]) -> str:
    sets = figures["val"]
    head = ["score from"]
    for name, found in sets.items():
        head += [f"{name} ({found['pictures']:,})"]
    rows = []
    for threshold in next(iter(sets.values()))["thresholds"]:
        cells = []
        for found in sets.values():
            its = found["thresholds"][threshold]
            parts = [share(its["recall"]["40+"]), share(its["recall"]["20-40"]), number(its["false_per_100"], 1)]
            cells.append(" / ".join(parts))
        rows.append([threshold, *cells])
    return f"""The bundle's detector on the validation split, by one score for small and large faces: recall from 40 px on / recall from 20 to 40 px / false faces per 100
pictures.

{table(head, rows)}"""


def _detector_time(time: dict[str, Any]) -> str:
    rows = [[_NAMES[name], f"{time['milliseconds'][name]:.0f}", f"{time['ratio'][name]:.2f}"] for name in time["ratio"]]
    return f"""Time for one photo of {time["width"]} × {time["height"]}, in turns in one process; median of {time["repeats"]}, on {time["cores"]} cores.

{table(["detector", "ms", "times the bundle's"], rows)}"""


def _age_estimator(figures: dict[str, Any]) -> str:
    readers = [name for name in _NAMES if name in next(iter(figures.values()))["all"]]
    words = {
        "exact": "Mean absolute error in years on faces of the test split whose age is exact.",
        "bracket": "Distance in years from the bracket on faces of the test split of which only a bracket is known, by its middle.",
    }
    parts = ["## Age estimator\n"]
    for kind, found in figures.items():
        rows = [["all", *_errors(found["all"], readers)]]
        for group in ("decade", "gender", "ethnicity"):
            rows += [[label, *_errors(row, readers)] for label, row in found[group].items()]
        head = ["faces of", "number", *(_NAMES[reader] for reader in readers)]
        parts.append(f"{words[kind]}\n\n{table(head, rows)}")
    return "\n".join(parts)


def _errors(row: dict[str, Any], readers: Sequence[str]) -> list[str]:
    return [f"{row['faces']:,}", *(f"{row[reader]:.1f}" for reader in readers)]


def _facenet(figures: dict[str, Any]) -> str:
    rows = []
    for name in ("bundle", "judge"):
        if name in figures:
            at_rate = figures[name][f"at_{RATE:g}_of"]
            chosen = [f"{share(at['true_accepts'])} ({share(at['false_accepts'], 2)})" for at in at_rate.values()]
            rows.append([_NAMES[name], share(figures[name]["accuracy"]), *chosen])
    stated = [
        [f"{at['stated']:g}", f"{at['threshold']:.3f}", share(at["false_accepts"], 3), share(at["true_accepts"])]
        for at in figures["thresholds"]
    ]
    head = ["recogniser", "accuracy", f"true accepts, {RATE:g} of val", f"true accepts, {RATE:g} of test"]
    return f"""## FaceNet

{figures["people"]:,} people of the test split ({figures["faces"]:,} faces). Accuracy: {PAIRS:,} pairs, half of one person,
at the threshold that is best on as many pairs of the validation split. True accepts (false ones in parentheses) among all pairs, at
the threshold that takes {RATE:g} of the pairs of different people for one person's, in the validation split and in the test split itself.

{table(head, rows)}
What the thresholds that the bundle states give in the test split:

{table(["stated false accepts", "similarity", "false accepts", "true accepts"], stated)}"""


def _ageing(figures: dict[str, Any]) -> str:
    summary = figures["summary"]
    head = [
        "to",
        "faces",
        "failed",
        "pixels changed outside",
        "seam",
        "photo there",
        "estimated age after",
        "similarity",
    ]
    rows = [
        [
            age,
            str(its["faces"]),
            str(its["failed_faces"]),
            str(its["changed_outside"]),
            number(its["seam_of_change"], 2),
            number(its["seam_of_photo"], 2),
            number(its["age_after"], 1),
            number(its["similarity"], 3),
        ]
        for age, its in summary.items()
        if age.isdigit()
    ]
    return f"""## Ageing end to end

{summary["photos"]} photos through a server, {summary["refused"]} refused; sent and fetched without loss. Outside: further out than the
aligned squares of the faces. Seam: mean gradient of the change along the outline of all that changed, in levels of 255 a pixel,
beside the photo's own gradient in the same places; as a change is a level or more, half a level is the least. Estimated age and similarity are the bundle's own readings.

{table(head, rows)}"""
