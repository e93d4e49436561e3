"""A bundle of checkpoints: graphs, manifest, model card and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dorian_bundle import write_manifest
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.graphs import Graph, Precision
from dorian_bundle.manifest import (
    CARD_FILE,
    AgeCganMethod,
    AgeEstimator,
    FaceDetector,
    FaceNet,
    FaceReaders,
    LandmarkRefiner,
    Manifest,
)
from dorian_export.age_cgan import ROLES, export_graphs, group_sheet
from dorian_export.card import write_card
from dorian_export.curves import draw_curves, read_curves
from dorian_export.origin import provenance
from dorian_export.readers import (
    accept_thresholds,
    export_age_estimator,
    export_detector,
    export_facenet,
    export_landmark_refiner,
)
from dorian_training.checkpoint import load_weights
from dorian_training.data.crops import Crops
from dorian_training.loop import write_grid
from dorian_training.networks import age_estimator, compact_facenet, landmark_refiner
from dorian_training.networks.age_cgan import SIZE

_SHEET_ROWS = 10
# From which on the detector's finding counts as a face, and a small one; chosen on the validation split.
MIN_SCORE, MIN_SMALL_SCORE = 0.4, 0.65
_DESCRIPTION = (
    "Age-cGAN after Antipov et al. 2017: an encoder finds the face's latent, a generator draws it at six age groups,"
    " and the difference between two of them is added to the photo."
)


@dataclass(frozen=True)
class Checkpoints:
    """The run folders or shipped checkpoints of a bundle's networks."""

    age_cgan: Path
    detector: Path
    landmark_refiner: Path
    age_estimator: Path
    facenet: Path


@dataclass(frozen=True)
class Faces:
    """Real faces of no training split: at least 8 ``crops`` to prove graphs on, and ``people`` to set thresholds on.

    ``people`` are cut with a margin (see ``with_margin``), and their identities are known.
    """

    crops: Crops
    people: Crops


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

    Returns its manifest, and the largest difference of each graph's file from torch. Networks that run once for
    each face are written in half precision alone.
    """
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    weights, about = load_weights(checkpoints.age_cgan)
    exported = [
        export_graphs(weights, about, faces.crops.pixels, folder, precisions),
        export_detector(checkpoints.detector, faces.crops.pixels, folder, precisions),
        export_landmark_refiner(checkpoints.landmark_refiner, faces.crops.pixels, folder, ("fp16",)),
        export_age_estimator(checkpoints.age_estimator, faces.crops.pixels, folder, ("fp16",)),
        export_facenet(checkpoints.facenet, faces.crops.pixels, folder, ("fp16",)),
    ]
    for found, off in exported:
        graphs |= found
        differences |= off
    method = AgeCganMethod(
        name="age_cgan",
        description=_DESCRIPTION,
        graphs={role: f"age_cgan_{role}" for role in ROLES},
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        latent_size=about["shape"]["latent"],
        provenance=provenance(about, _metrics(naming, "age_cgan", differences)),
    )
    manifest = Manifest(
        name=naming.name,
        version=naming.version,
        created=datetime.now(UTC).date().isoformat(),
        alignment=DEFAULT_TEMPLATE,
        graphs=graphs,
        readers=_readers(checkpoints, faces.people, naming, differences),
        methods=(method,),
    )
    write_grid(folder / "samples.jpg", group_sheet(weights, about, _SHEET_ROWS))
    if curves := read_curves(checkpoints.age_cgan):
        draw_curves(folder / "curves.png", curves)
    counts = dict(zip((group.label for group in PAPER_GROUPS), about["group_counts"], strict=True))
    (folder / CARD_FILE).write_text(write_card(manifest, counts, differences, bool(curves)), encoding="utf-8")
    write_manifest(folder, manifest)
    return manifest, differences


def _readers(checkpoints: Checkpoints, people: Crops, naming: Naming, differences: dict[str, float]) -> FaceReaders:
    origins = {
        part: provenance(load_weights(path)[1], _metrics(naming, part, differences))
        for part, path in (
            ("detector", checkpoints.detector),
            ("landmark_refiner", checkpoints.landmark_refiner),
            ("age_estimator", checkpoints.age_estimator),
            ("facenet", checkpoints.facenet),
        )
    }
    _, about = load_weights(checkpoints.facenet)
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
            crop_size=compact_facenet.SIZE,
            embedding_size=about["shape"]["embedding"],
            thresholds=accept_thresholds(checkpoints.facenet, people),
            provenance=origins["facenet"],
        ),
    )


def _metrics(naming: Naming, part: str, differences: dict[str, float]) -> dict[str, Any]:
    """What was measured on ``part``, and how far its graphs are from torch."""
    own = {path: off for path, off in differences.items() if path.startswith(f"graphs/{part}")}
    return {**naming.metrics.get(part, {}), "onnx_difference": own}
