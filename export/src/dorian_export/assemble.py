"""A bundle of checkpoints: graphs, manifest, model card and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dorian_bundle import write_manifest
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.face_readers import AgeEstimator, FaceDetector, FaceNet, FaceReaders, LandmarkRefiner
from dorian_bundle.graphs import Graph, Precision
from dorian_bundle.manifest import CARD_FILE, Manifest
from dorian_export.age_cgan import group_sheet, make_age_cgan
from dorian_export.age_translator import make_age_translator
from dorian_export.card import SAMPLES_FILE, curves_file, write_card
from dorian_export.curves import draw_curves, read_curves
from dorian_export.cyclegan import make_cyclegan
from dorian_export.errors import ExportError
from dorian_export.faces import Faces
from dorian_export.made import Made, with_differences
from dorian_export.origin import provenance
from dorian_export.readers import (
    accept_thresholds,
    averaged_facenet,
    export_age_estimator,
    export_detector,
    export_facenet,
    export_landmark_refiner,
)
from dorian_training.checkpoint import load_weights
from dorian_training.data.crops import Crops
from dorian_training.loop import write_grid
from dorian_training.networks import age_estimator, landmark_refiner
from dorian_training.networks.facenet import FaceNet as FaceNetNetwork

_SHEET_ROWS = 10
_ONE: tuple[Precision, ...] = ("fp16",)  # of networks whose weights a CPU widens when it loads them
# From which on the detector's finding counts as a face, and a small one; chosen on the validation split.
MIN_SCORE, MIN_SMALL_SCORE = 0.4, 0.65


@dataclass(frozen=True)
class Checkpoints:
    """The run folders or shipped checkpoints of a bundle's networks; of the methods' at least one.

    ``calibrator``: the age estimator by which the age translator is calibrated; the bundle's own unless given.
    """

    detector: Path
    landmark_refiner: Path
    age_estimator: Path
    facenet: Path
    age_translator: Path | None = None
    calibrator: Path | None = None
    age_cgan: Path | None = None
    cyclegan: Path | None = None


@dataclass(frozen=True)
class Naming:
    """What a bundle is called, and what was measured on its parts, by part."""

    name: str
    version: str
    metrics: dict[str, Any]


def build_bundle(
    checkpoints: Checkpoints, folder: Path, faces: Faces, precisions: Sequence[Precision], naming: Naming
) -> tuple[Manifest, dict[str, float]]:
    """Write the bundle of ``checkpoints`` to ``folder``, which must be empty.

    Returns its manifest, and the largest difference of each graph's file from torch. All graphs but the detector's
    are written in half precision alone (docs/decisions/0007).
    """
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    methods = _methods(checkpoints, folder, faces, naming)
    for made in methods:
        graphs |= made.graphs
        differences |= made.differences
    facenet = averaged_facenet(checkpoints.facenet)
    pictures = faces.pictures(age_estimator.SIZE)
    exported = [
        export_detector(checkpoints.detector, pictures, folder, precisions),
        export_landmark_refiner(checkpoints.landmark_refiner, pictures, folder, _ONE),
        export_age_estimator(checkpoints.age_estimator, pictures, folder, _ONE),
        export_facenet(checkpoints.facenet, faces.pictures(facenet.size), folder, _ONE),
    ]
    for found, off in exported:
        graphs |= found
        differences |= off
    manifest = Manifest(
        name=naming.name,
        version=naming.version,
        created=datetime.now(UTC).date().isoformat(),
        alignment=DEFAULT_TEMPLATE,
        graphs=graphs,
        readers=_readers(checkpoints, facenet, faces.people, naming, differences),
        methods=tuple(made.entry for made in methods),
    )
    pictured = set()
    if checkpoints.age_cgan:
        write_grid(folder / SAMPLES_FILE, group_sheet(checkpoints.age_cgan, _SHEET_ROWS))
        pictured.add(SAMPLES_FILE)
    for made in methods:
        if curves := read_curves(getattr(checkpoints, made.entry.family)):
            draw_curves(folder / curves_file(made.entry), curves)
            pictured.add(curves_file(made.entry))
    (folder / CARD_FILE).write_text(write_card(manifest, differences, pictured), encoding="utf-8")
    write_manifest(folder, manifest)
    return manifest, differences


def _methods(checkpoints: Checkpoints, folder: Path, faces: Faces, naming: Naming) -> list[Made]:
    """The methods that there are checkpoints of, the default first."""
    made = []
    if checkpoints.age_translator:
        metrics = naming.metrics.get("age_translator", {})
        calibrator = checkpoints.calibrator or checkpoints.age_estimator
        made.append(make_age_translator(checkpoints.age_translator, calibrator, faces, folder, _ONE, metrics))
    if checkpoints.age_cgan:
        metrics = naming.metrics.get("age_cgan", {})
        facenet = averaged_facenet(checkpoints.facenet)
        made.append(make_age_cgan(checkpoints.age_cgan, facenet, faces, folder, _ONE, metrics))
    if checkpoints.cyclegan:
        made.append(make_cyclegan(checkpoints.cyclegan, faces, folder, _ONE, naming.metrics.get("cyclegan", {})))
    if not made:
        raise ExportError("a bundle needs a method; give at least one of age_translator, age_cgan and cyclegan")
    return made


def _readers(
    checkpoints: Checkpoints, facenet: FaceNetNetwork, people: Crops, naming: Naming, differences: dict[str, float]
) -> FaceReaders:
    def _metrics(part: str) -> dict[str, Any]:
        own = {path: off for path, off in differences.items() if path.startswith(f"graphs/{part}.")}
        return with_differences(naming.metrics.get(part, {}), own)

    origins = {
        part: provenance(load_weights(path)[1], _metrics(part))
        for part, path in (
            ("detector", checkpoints.detector),
            ("landmark_refiner", checkpoints.landmark_refiner),
            ("age_estimator", checkpoints.age_estimator),
            ("facenet", checkpoints.facenet),
        )
    }
    return FaceReaders(
        detector=FaceDetector(
            graph="detector",
            min_score=MIN_SCORE,
            min_small_score=MIN_SMALL_SCORE,
            provenance=origins["detector"],
        ),
        landmark_refiner=LandmarkRefiner(
            graph="landmark_refiner",
            view_size=landmark_refiner.SIZE,
            zoom=landmark_refiner.ZOOM,
            provenance=origins["landmark_refiner"],
        ),
        age_estimator=AgeEstimator(
            graph="age_estimator", crop_size=age_estimator.SIZE, provenance=origins["age_estimator"]
        ),
        facenet=FaceNet(
            graph="facenet",
            crop_size=facenet.size,
            embedding_size=facenet.embedding,
            thresholds=accept_thresholds(checkpoints.facenet, people),
            provenance=origins["facenet"],
        ),
    )
