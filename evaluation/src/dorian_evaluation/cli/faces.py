"""``dorian-evaluate faces``: a bundle's networks that read faces, measured beside independent ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.face_detection import find_faces
from dorian_client import DorianError
from dorian_evaluation.ageing.photos import list_photos, measure_photos
from dorian_evaluation.ageing.sheet import write_sheet
from dorian_evaluation.cli.options import INPUT_FILE, INPUT_FOLDER, OUTPUT_FILE, RenamingCommand, cache_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_evaluation.faces.age_errors import age_metrics
from dorian_evaluation.faces.detector_metrics import (
    THRESHOLDS,
    detector_metrics,
    refiner_metrics,
    threshold_metrics,
    time_metrics,
)
from dorian_evaluation.faces.detectors import bundle_refiner, network_detector, yunet_detector
from dorian_evaluation.faces.identities import (
    EmbeddedFaces,
    accept_metrics,
    group_metrics,
    number_identities,
    select_identified,
    verification_metrics,
)
from dorian_evaluation.faces.image_sets import make_image_set, spread
from dorian_evaluation.faces.landmarks import landmark_metrics
from dorian_evaluation.faces.people_bias import people_bias
from dorian_evaluation.faces.report import render_faces
from dorian_evaluation.faces.turned import measure_turned
from dorian_evaluation.graphs import open_graph, run_on_crops
from dorian_evaluation.judges.faceapi import FaceApiJudge
from dorian_evaluation.judges.reidentification import ReidentificationJudge
from dorian_evaluation.server_calls import connect
from dorian_training.cli.options import data_option
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.fairface import stranger_group
from dorian_training.data.mesh import MESH_FILE
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError

_TIMED_SIZES = ((640, 480), (1920, 1080))  # width and height of the photos that detectors are timed on


@dataclass(frozen=True, kw_only=True)
class FacesOptions:
    """The options of ``dorian-evaluate faces``."""

    bundle: Path
    sources: tuple[str, ...]
    yunet: Path | None
    age_judge: Path | None
    recogniser: Path | None
    server: str | None
    photos: Path | None
    sheet: Path | None
    parts: tuple[str, ...]
    close_ups: int
    repeats: int
    max_count: int | None
    cache: Path
    out: Path | None
    table: Path | None


@dataclass(frozen=True)
class Inputs:
    """What is measured: an opened bundle on the faces of data sets."""

    bundle: Bundle
    records: tuple[FaceRecord, ...]
    options: FacesOptions

    def split(self, name: str) -> list[FaceRecord]:
        """Return the faces of a split."""
        return [record for record in self.records if record.split == name]


def _measure_detector(inputs: Inputs) -> dict[str, Any]:
    entry, options = inputs.bundle.manifest.readers.detector, inputs.options
    run = open_graph(inputs.bundle, entry.graph)
    detectors = {
        "bundle": network_detector(run, entry.min_score, bundle_refiner(inputs.bundle)),
        "unrefined": network_detector(run, entry.min_score),
    }
    if options.yunet:
        detectors["yunet"] = yunet_detector(options.yunet, entry.min_score)
    else:
        click.echo("detector: without --yunet it is compared with nothing")
    val, test = (make_image_set(inputs.split(split), options.close_ups, options.max_count) for split in ("val", "test"))
    return {
        "min_score": entry.min_score,
        "test": detector_metrics(detectors, test),
        "val": threshold_metrics(network_detector(run, min(THRESHOLDS)), val),
        "time": [time_metrics(detectors, test.photo(*size), options.repeats) for size in _TIMED_SIZES],
    }


def _measure_age_estimator(inputs: Inputs) -> dict[str, Any] | None:
    manifest, options = inputs.bundle.manifest, inputs.options
    dated = [record for record in inputs.split("test") if record.age is not None]
    if not dated:
        click.echo("age estimator: skipped, no face of the test split has a known age")
        return None
    dated = spread(dated, options.max_count)
    entry = manifest.readers.age_estimator
    crops = cut_crops(dated, entry.crop_size, options.cache, manifest.alignment)
    run = open_graph(inputs.bundle, entry.graph)
    ages, spreads = (run_on_crops(run, output, crops.pixels) for output in ("age", "spread"))
    estimates: dict[str, Any] = {"bundle": ages}
    intervals = np.asarray([entry.intervals.interval(*face) for face in zip(ages, spreads, strict=True)])  # (faces, 2)
    if options.age_judge:
        judge = FaceApiJudge(options.age_judge)
        judge_crops = cut_crops(dated, judge.crop_size, options.cache, manifest.alignment)
        estimates["judge"] = judge.ages(judge_crops.pixels)
    else:
        click.echo("age estimator: without --age-judge it is compared with nothing")
    return age_metrics(estimates, crops.records, intervals) | {"people": people_bias(estimates, crops.records)}


def _measure_landmarks(inputs: Inputs) -> dict[str, Any] | None:
    records = [record for record in inputs.split("test") if (record.container.parent / MESH_FILE).is_file()]
    if not records:
        click.echo("landmarks: skipped, no face of the test split has mesh points")
        return None
    by_source: dict[str, list[FaceRecord]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record)
    limited = [record for faces in by_source.values() for record in spread(faces, inputs.options.max_count)]
    entry = inputs.bundle.manifest.readers.detector
    detect = partial(find_faces, open_graph(inputs.bundle, entry.graph), min_score=entry.min_score)
    return landmark_metrics(limited, detect, bundle_refiner(inputs.bundle))


def _measure_turned(inputs: Inputs) -> dict[str, Any] | None:
    options = inputs.options
    if options.server is None or options.photos is None:
        click.echo("turned photos: skipped, they need --server and --photos")
        return None
    try:
        with connect(options.server) as client:
            return measure_turned(client, spread(list_photos(options.photos), options.max_count))
    except DorianError as error:
        raise DataError(f"{options.server}: {error}") from error


def _measure_facenet(inputs: Inputs) -> dict[str, Any] | None:
    manifest, options = inputs.bundle.manifest, inputs.options
    splits = [select_identified(inputs.split(split), options.max_count) for split in ("val", "test")]
    if not all(splits):
        click.echo("FaceNet: skipped, there are no faces of known identity in val or in test")
        return None

    def embed_splits(embed: Callable[[Crops], Any], size: int, template: AlignmentTemplate) -> list[EmbeddedFaces]:
        crops = [cut_crops(records, size, options.cache, template) for records in splits]
        return [EmbeddedFaces(embed(faces), number_identities(faces.records)) for faces in crops]

    entry = manifest.readers.facenet
    run = open_graph(inputs.bundle, entry.graph)
    val, test = embed_splits(
        lambda crops: run_on_crops(run, "embedding", crops.pixels), entry.crop_size, manifest.alignment
    )
    metrics = {
        "people": int(test.identities.max()) + 1,
        "faces": len(test.identities),
        "bundle": verification_metrics(val, test),
        "thresholds": accept_metrics(test, entry.thresholds),
    }
    strangers = [(record, group) for record in inputs.split("test") if (group := stranger_group(record))]
    if strangers:
        crops = cut_crops([record for record, _ in strangers], entry.crop_size, options.cache, manifest.alignment)
        embeddings = run_on_crops(run, "embedding", crops.pixels)
        metrics["groups"] = group_metrics(embeddings, [group for _, group in strangers], entry.thresholds)
    if options.recogniser:
        judge = ReidentificationJudge(options.recogniser)
        val, test = embed_splits(lambda crops: judge.embeddings(crops.pixels), judge.crop_size, judge.template)
        metrics["judge"] = verification_metrics(val, test)
    else:
        click.echo("FaceNet: without --recogniser it is compared with nothing")
    return metrics


def _measure_ageing(inputs: Inputs) -> dict[str, Any] | None:
    options, template = inputs.options, inputs.bundle.manifest.alignment
    if options.server is None or options.photos is None:
        click.echo("ageing: skipped, it needs --server and --photos")
        return None
    try:
        with connect(options.server) as client:
            metrics, rows = measure_photos(client, list_photos(options.photos), template)
    except DorianError as error:
        raise DataError(f"{options.server}: {error}") from error
    if options.sheet:
        write_sheet(options.sheet, rows, template)
    return metrics


# None for a part that is skipped.
_PARTS: Mapping[str, Callable[[Inputs], dict[str, Any] | None]] = {
    "detector": _measure_detector,
    "landmarks": _measure_landmarks,
    "turned": _measure_turned,
    "age_estimator": _measure_age_estimator,
    "facenet": _measure_facenet,
    "ageing": _measure_ageing,
}


@click.command(
    "faces", cls=RenamingCommand, renamed={"--only": "--part", "--most": "--max-count", "--markdown": "--table"}
)
@click.argument("bundle", type=INPUT_FOLDER)
@data_option("Real faces of the val and test splits: with boxes and landmarks, ages or identities.")
@click.option("--yunet", type=INPUT_FILE, help="YuNet's ONNX file, to compare the detector with OpenCV's.")
@click.option(
    "--age-judge", type=INPUT_FILE, help="ONNX network of RGB images from 0 to 255, with an output age in years."
)
@click.option(
    "--recogniser", type=INPUT_FILE, help="OpenVINO network (.xml) of BGR images from 0 to 255, with an embedding."
)
@click.option("--server", metavar="HOST:PORT", help="A server of the bundle, to age --photos end to end.")
@click.option("--photos", type=INPUT_FOLDER, help="Folder of photos to age.")
@click.option("--sheet", type=OUTPUT_FILE, help="Show the aged photos in this JPEG file.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(list(_PARTS)),
    help="Part to measure; once per part. All unless given.",
)
@click.option("--close-ups", type=click.IntRange(1), default=300, help="Faces to cut for the detector, per split.")
@click.option("--repeats", type=click.IntRange(1), default=10, help="How often to time the detectors.")
@click.option("--max-count", type=click.IntRange(1), help="Images or faces of a set at most, for a quick look.")
@cache_option()
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
def evaluate_faces(**options: Any) -> None:
    """Measure a bundle's face detector with its landmark refiner, age estimator and FaceNet, and ageing through a server.

    \b
    Examples:
      dorian-evaluate faces models/default --data faces/ --yunet yunet.onnx --age-judge age.onnx \\
        --recogniser face-reid.xml --out faces.json --table faces.md
      dorian-evaluate faces models/default --data faces/ --part ageing --server localhost:50051 --photos photos/
    """
    config = FacesOptions(**options)
    if bool(config.server) != bool(config.photos) or (config.sheet and not config.server):
        raise click.UsageError("--server and --photos are given together, and --sheet only with them")
    with click_errors():
        metrics = _measure(config)
    write_report(render_faces(metrics), metrics, config.out, config.table)


def _measure(options: FacesOptions) -> dict[str, Any]:
    """Return the metrics of all parts, by the names that they have in the output."""
    inputs = Inputs(load_bundle(options.bundle), tuple(load_sources(options.sources)), options)
    metrics: dict[str, Any] = {}
    for name, measure in _PARTS.items():
        part = measure(inputs) if name in (options.parts or _PARTS) else None
        if part is not None:
            metrics[name] = part
    if "detector" in metrics:
        metrics["landmark_refiner"] = refiner_metrics(metrics["detector"]["test"])
    return metrics
