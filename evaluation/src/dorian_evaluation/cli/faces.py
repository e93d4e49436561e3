"""``dorian-evaluate faces``: a bundle's networks that see faces, measured beside independent ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_bundle import Bundle, BundleError, load
from dorian_training.cli.config import DEFAULT_CACHE
from dorian_training.cli.options import data_option
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError, TrainingError

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)
_JUDGE_SIZE = 128  # pixels a side of the crops that the judge of age sees


@dataclass(frozen=True)
class Measurement:
    """What is measured: an opened ``bundle``, its faces, and the command's ``options`` by name."""

    bundle: Bundle
    records: tuple[FaceRecord, ...]
    options: Mapping[str, Any]

    def split(self, name: str) -> list[FaceRecord]:
        return [record for record in self.records if record.split == name]


@click.command("faces")
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False, exists=True))
@data_option("Real faces: val and test splits are used, faces with boxes and landmarks, ages, identities.")
@click.option("--yunet", type=_FILE, help="YuNet's ONNX file, to compare the detector with.")
@click.option("--age-judge", type=_FILE, help="ONNX network: RGB 0 to 255 in, an output called age, in years.")
@click.option("--recogniser", type=_FILE, help="OpenVINO network (.xml): BGR 0 to 255 in, an embedding out.")
@click.option("--server", metavar="HOST:PORT", help="A server of the bundle, to age --photos end to end.")
@click.option("--photos", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Photos to age.")
@click.option("--sheet", type=_NEW_FILE, help="Where to show the aged photos, as a JPEG.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["detector", "age_estimator", "facenet", "ageing"]),
    help="Measure only this; once per part.",
)
@click.option("--composites", type=click.IntRange(1), default=300, help="Scenes to render for the detector, per split.")
@click.option("--repeats", type=click.IntRange(1), default=10, help="Photos to time the detectors on.")
@click.option("--most", type=click.IntRange(1), help="At most so many pictures or faces of a set: a quick look.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what is cut is kept.")
@click.option("--out", type=_NEW_FILE, help="Where to write the figures, as JSON.")
@click.option("--markdown", "tables", type=_NEW_FILE, help="Where to write them as tables.")
def evaluate_faces(
    bundle: Path, sources: tuple[str, ...], out: Path | None, tables: Path | None, **options: Any
) -> None:
    """A bundle's detector with its landmark refiner, age estimator and FaceNet, and with a server the ageing of photos.

    \b
    dorian-evaluate faces models/default --data faces/ --yunet yunet.onnx --age-judge age.onnx \\
      --recogniser face-reid.xml --out faces.json --markdown faces.md
    """
    # These need ONNX Runtime, an extra of this package.
    from dorian_evaluation.faces.detection import refiner_figures
    from dorian_evaluation.faces.report import markdown

    if bool(options["server"]) != bool(options["photos"]) or (options["sheet"] and not options["server"]):
        raise click.UsageError("--server and --photos are given together, and --sheet only with them")
    parts: dict[str, Callable[[Measurement], dict[str, Any] | None]] = {
        "detector": _detector,
        "age_estimator": _age_estimator,
        "facenet": _facenet,
        "ageing": _ageing,
    }
    options["cache"] = options["cache"].expanduser()
    figures: dict[str, Any] = {}
    try:
        measurement = Measurement(load(bundle), tuple(load_sources(sources)), options)
        for part, measure in parts.items():
            found = measure(measurement) if part in (options["only"] or parts) else None
            if found is not None:
                figures[part] = found
        if "detector" in figures:
            figures["landmark_refiner"] = refiner_figures(figures["detector"]["test"])
    except (BundleError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    text = markdown(figures)
    click.echo(text)
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n")
    if tables:
        tables.write_text(text)


def _detector(measurement: Measurement) -> dict[str, Any]:
    from dorian_evaluation.faces.detection import THRESHOLDS, detector_figures, threshold_figures, time_figures
    from dorian_evaluation.faces.detectors import bundle_refiner, cascade_finder, network_finder, yunet_finder
    from dorian_evaluation.faces.face_sets import picture_set
    from dorian_evaluation.judges.graphs import open_graph

    entry, options = measurement.bundle.manifest.readers.detector, measurement.options
    run, scores = open_graph(measurement.bundle, entry.graph), (entry.min_score, entry.min_small_score)
    finders = {
        "bundle": network_finder(run, scores, bundle_refiner(measurement.bundle)),
        "unrefined": network_finder(run, scores),
    }
    if options["yunet"]:
        finders["yunet"] = yunet_finder(options["yunet"])
    else:
        click.echo("detector: without --yunet it is compared with the cascade alone")
    finders["cascade"] = cascade_finder()
    val, test = (
        picture_set(
            measurement.split(split), options["composites"], options["most"], options["yunet"], options["cache"]
        )
        for split in ("val", "test")
    )
    return {
        "min_score": entry.min_score,
        "min_small_score": entry.min_small_score,
        "yunet": bool(options["yunet"]),
        "test": detector_figures(finders, test),
        "val": threshold_figures(network_finder(run, (min(THRESHOLDS),) * 2), val),
        "time": time_figures(finders, test.photo(), options["repeats"]),
    }


def _age_estimator(measurement: Measurement) -> dict[str, Any] | None:
    from dorian_evaluation.faces.age_errors import age_figures
    from dorian_evaluation.faces.face_sets import spread
    from dorian_evaluation.judges.age_judge import AgeJudge
    from dorian_evaluation.judges.graphs import open_graph, read_crops
    from dorian_training.data.crops import cut_crops

    manifest, options = measurement.bundle.manifest, measurement.options
    known = [record for record in measurement.split("test") if record.age is not None]
    if not known:
        click.echo("age estimator: skipped, no face of the test split has a known age")
        return None
    known = spread(known, options["most"])
    entry = manifest.readers.age_estimator
    crops = cut_crops(known, entry.crop_size, options["cache"], manifest.alignment)
    read: dict[str, Any] = {"bundle": read_crops(open_graph(measurement.bundle, entry.graph), "age", crops.pixels)}
    if options["age_judge"]:
        seen = cut_crops(known, _JUDGE_SIZE, options["cache"], manifest.alignment)
        read["judge"] = AgeJudge(options["age_judge"]).ages(seen.pixels)
    else:
        click.echo("age estimator: without --age-judge it is compared with nothing")
    return age_figures(read, crops.records)


def _facenet(measurement: Measurement) -> dict[str, Any] | None:
    from dorian_evaluation.faces.identities import (
        EmbeddedFaces,
        identities_of,
        people,
        stated_figures,
        verification_figures,
    )
    from dorian_evaluation.judges.graphs import open_graph, read_crops
    from dorian_evaluation.judges.identity_judge import SIZE, TEMPLATE, IdentityJudge
    from dorian_training.data.crops import Crops, cut_crops

    manifest, options = measurement.bundle.manifest, measurement.options
    splits = [people(measurement.split(split), options["most"]) for split in ("val", "test")]
    if not all(splits):
        click.echo("FaceNet: skipped, there are no faces of known identity in val or in test")
        return None

    def embedded(embed: Callable[[Crops], Any], size: int, template: Any) -> list[EmbeddedFaces]:
        every = [cut_crops(records, size, options["cache"], template) for records in splits]
        return [EmbeddedFaces(embed(crops), identities_of(crops.records)) for crops in every]

    entry = manifest.readers.facenet
    run = open_graph(measurement.bundle, entry.graph)
    val, test = embedded(lambda crops: read_crops(run, "embedding", crops.pixels), entry.crop_size, manifest.alignment)
    figures = {
        "people": int(test.identities.max()) + 1,
        "faces": len(test.identities),
        "bundle": verification_figures(val, test),
        "thresholds": stated_figures(test, entry.thresholds),
    }
    if options["recogniser"]:
        judge = IdentityJudge(options["recogniser"])
        figures["judge"] = verification_figures(*embedded(lambda crops: judge.embeddings(crops.pixels), SIZE, TEMPLATE))
    else:
        click.echo("FaceNet: without --recogniser it is compared with nothing")
    return figures


def _ageing(measurement: Measurement) -> dict[str, Any] | None:
    options = measurement.options
    if not options["server"]:
        click.echo("ageing: skipped, it needs --server and --photos")
        return None
    try:
        from dorian_client import Client, DorianError
    except ImportError as error:
        raise DataError("ageing photos needs the SDK: pip install dorian-client") from error
    from dorian_evaluation.ageing.sheet import write_sheet
    from dorian_evaluation.ageing.transform import measured_ageing, photos_in

    template = measurement.bundle.manifest.alignment
    try:
        with Client(options["server"], timeout=None) as client:
            figures, rows = measured_ageing(client, photos_in(options["photos"]), template)
    except DorianError as error:
        raise DataError(f"{options['server']}: {error}") from error
    if options["sheet"]:
        write_sheet(options["sheet"], rows, template)
    return figures
