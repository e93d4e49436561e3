"""The networks that read faces as verified graphs, their entries in the manifest, and FaceNet's thresholds as measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle import face_readers as entries
from dorian_bundle.entries import Provenance
from dorian_bundle.face_readers import (
    FaceReaders,
    age_estimator_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_bundle.graphs import Graph, Precision, Signature
from dorian_bundle.similarity_by_years import SimilarityByYears
from dorian_export.accept_rates import measure_group_rates, measure_thresholds
from dorian_export.age_intervals import measure_age_intervals
from dorian_export.method_exporter import ExportJob
from dorian_export.onnx_writer import cast_like
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, image_inputs, require_faces, require_family
from dorian_export.weight_storage import round_to_bytes, store_weights
from dorian_export.yunet import MIN_SCORE, describe_yunet, export_yunet
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.data.sources import DLIB_NETWORK, MESH_NETWORK
from dorian_training.networks import landmark_refiner
from dorian_training.networks.age_estimator import (
    DLIB_LAYOUT,
    AgeEstimator,
    age_spread,
    expected_age,
    load_age_estimator,
)
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import FaceNet, facenet_of

# The checkpoints that every bundle needs, by the names of readers; help texts of the command's options.
READERS = {
    "detector": "YuNet's ONNX file, the face detector.",
    "landmark_refiner": "Run or checkpoint of the landmark refiner.",
    "age_estimator": "Run or checkpoint of the age estimator.",
    "facenet": "Run or checkpoint of FaceNet, of any layout.",
}
# Two photographs of one adult in the eyes of dlib's FaceNet with its whitening: mean similarity at the middle of each bracket of
# years between them, 0 to 4, 5 to 9 and so on; the tenth percentile lies .16 to .19 below.
DLIB_SIMILARITY_BY_YEARS = SimilarityByYears(
    years=(2, 7, 12, 17, 22, 27, 32, 37),
    similarity=(0.66, 0.63, 0.60, 0.57, 0.55, 0.50, 0.47, 0.42),
    spread=0.19,
    source="1,164 pairs of scanned photographs of 82 people, at 18 or older in both",
)

GraphExport = tuple[dict[str, Graph], dict[str, float]]  # graphs by name, differences from torch by file


class LandmarkRefinerGraph(nn.Module):
    """A landmark refiner whose image is RGB in [0, 1] and that gives the visible share itself."""

    def __init__(self, refiner: nn.Module) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        landmarks, logits = self.refiner(cast_like(self.refiner, image * 2 - 1))
        return landmarks.float(), logits.float().sigmoid()  # (batch, 73, 2), (batch,)


class AgeEstimatorGraph(nn.Module):
    """An age estimator whose image is RGB in [0, 1] and that gives the expected age and its spread in years."""

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.estimator(cast_like(self.estimator, image * 2 - 1)).float()
        return expected_age(logits), age_spread(logits)  # (batch,), (batch,)


class FaceNetGraph(nn.Module):
    """A FaceNet whose image is RGB in [0, 1]."""

    def __init__(self, facenet: nn.Module) -> None:
        super().__init__()
        self.facenet = facenet

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.facenet(cast_like(self.facenet, image * 2 - 1))
        return embedding  # (batch, embedding), float32


def export_face_readers(job: ExportJob) -> tuple[FaceReaders, GraphExport]:
    """Export the networks of ``job.checkpoints`` that ``READERS`` names.

    Args:
        job: Its precisions are those of all graphs but the detector's, which is in full precision.

    Returns:
        The manifest's entries; the graphs and their differences from torch.

    Raises:
        ParityError: If a graph differs too much from its network.
        ExportError: If a checkpoint is of another family, or there are too few faces.
    """
    facenet = averaged_facenet(job.checkpoints["facenet"])
    estimator = averaged_age_estimator(job.checkpoints["age_estimator"])
    crops, age_crops = job.faces.resized(landmark_refiner.SIZE), job.faces.resized(estimator.size)
    exports = [
        export_yunet(job.checkpoints["detector"], crops, job.folder),
        export_landmark_refiner(job.checkpoints["landmark_refiner"], crops, job.folder, job.precisions),
        export_age_estimator(job.checkpoints["age_estimator"], age_crops, job.folder),
        export_facenet(job.checkpoints["facenet"], job.faces.resized(facenet.size), job.folder, job.precisions),
    ]
    thresholds = measure_thresholds(facenet, job.faces.people)
    metrics = {
        name: job.metrics_with(name, differences) for name, (_, differences) in zip(READERS, exports, strict=True)
    }
    metrics["facenet"] |= measure_group_rates(facenet, job.faces.strangers, thresholds)
    provenance = {"detector": describe_yunet(metrics.pop("detector"))} | {
        name: describe_reader(name, load_weights(job.checkpoints[name])[1], measured)
        for name, measured in metrics.items()
    }
    readers = FaceReaders(
        detector=entries.FaceDetector(graph="detector", min_score=MIN_SCORE, provenance=provenance["detector"]),
        landmark_refiner=entries.LandmarkRefiner(
            graph="landmark_refiner",
            view_size=landmark_refiner.SIZE,
            zoom=landmark_refiner.ZOOM,
            provenance=provenance["landmark_refiner"],
        ),
        age_estimator=entries.AgeEstimator(
            graph="age_estimator",
            crop_size=estimator.size,
            intervals=measure_age_intervals(job.checkpoints["age_estimator"], job.faces.aged),
            provenance=provenance["age_estimator"],
        ),
        facenet=entries.FaceNet(
            graph="facenet",
            crop_size=facenet.size,
            embedding_size=facenet.embedding,
            thresholds=thresholds,
            similarity_by_years=facenet_curve(facenet, load_weights(job.checkpoints["facenet"])[1]),
            provenance=provenance["facenet"],
        ),
    )
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for reader_graphs, reader_differences in exports:
        graphs |= reader_graphs
        differences |= reader_differences
    return readers, (graphs, differences)


def describe_reader(name: str, metadata: dict[str, Any], metrics: dict[str, Any]) -> Provenance:
    """Return the provenance of the reader ``name``, with the networks of others that are behind it."""
    networks = []
    if name == "landmark_refiner":
        networks.append(MESH_NETWORK)  # which placed the points that it learned
    if name == "age_estimator" and metadata["shape"].get("layout") == DLIB_LAYOUT:
        networks.append(DLIB_NETWORK)  # from which its training began
    return describe_provenance(metadata, metrics, networks)


def facenet_curve(facenet: FaceNet, metadata: dict[str, Any]) -> SimilarityByYears | None:
    """Return the curve of a FaceNet on which it was measured: dlib's, whitened."""
    is_whitened = "whitening" in metadata.get("settings", {})
    return DLIB_SIMILARITY_BY_YEARS if isinstance(facenet, DlibResNet) and is_whitened else None


def export_landmark_refiner(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> GraphExport:
    """Export the graph ``landmark_refiner``; ``crops`` as for ``export_age_estimator``."""
    shape, build = landmark_refiner.LandmarkRefinerShape, landmark_refiner.LandmarkRefiner
    network, _ = averaged_network(checkpoint, "landmark_refiner", shape, build)
    signature = landmark_refiner_signature(landmark_refiner.SIZE)
    return _export("landmark_refiner", LandmarkRefinerGraph(network), signature, crops, folder, precisions)


def export_age_estimator(checkpoint: Path, crops: NDArray[np.uint8], folder: Path) -> GraphExport:
    """Export the graph ``age_estimator``, in single precision with weights that are stored in 8 bits.

    Args:
        checkpoint: A run folder or shipped checkpoint.
        crops: At least 8 aligned faces to verify on, uint8 RGB (faces, size, size, 3), of the side that the network takes.
        folder: Folder of the bundle.

    Returns:
        The graph by name, and its differences from torch, of the rounded network, by file.

    Raises:
        ParityError: If the graph differs too much from its network.
        ExportError: If the checkpoint is of another family, or there are too few faces.
    """
    network = averaged_age_estimator(checkpoint)
    round_to_bytes(network)
    signature = age_estimator_signature(network.size)
    return _export("age_estimator", AgeEstimatorGraph(network), signature, crops, folder, ("fp32",), store_weights)


def export_facenet(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> GraphExport:
    """Export the graph ``facenet``; ``crops`` as for ``export_age_estimator``, of the side that the network takes."""
    network = averaged_facenet(checkpoint)
    signature = facenet_signature(network.size, network.embedding)
    return _export("facenet", FaceNetGraph(network), signature, crops, folder, precisions)


def _export(
    name: str,
    network: nn.Module,
    signature: Signature,
    images: NDArray[np.uint8],
    folder: Path,
    precisions: Sequence[Precision],
    store: Callable[[Path], None] | None = None,
) -> GraphExport:
    """Export ``network``, verified on ``images`` uint8 (faces, height, width, 3); the rest as ``export_verified``."""
    require_faces(images)
    inputs = image_inputs(images[: max(BATCHES)])
    graph, differences = export_verified(name, network, signature, inputs, folder, precisions, store=store)
    return {name: graph}, differences


def averaged_facenet(checkpoint: Path) -> FaceNet:
    """Return the averaged FaceNet of a ``checkpoint``, whatever its layout, for inference."""
    weights, metadata = load_weights(checkpoint)
    require_family(metadata, "facenet")
    return facenet_of(weights, metadata)


def averaged_age_estimator(checkpoint: Path) -> AgeEstimator:
    """Return the averaged age estimator of a ``checkpoint``, whatever its layout, for inference."""
    require_family(load_weights(checkpoint)[1], "age_estimator")
    return load_age_estimator(checkpoint)


def averaged_network(checkpoint: Path, family: str, shape: Any, build: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Return the averaged network of a ``checkpoint`` of ``family``, for inference, and the checkpoint's metadata."""
    weights, metadata = load_weights(checkpoint)
    require_family(metadata, family)
    network: nn.Module = build(shape.from_dict(metadata["shape"])).eval()
    load_network(network, weights, f"{family}_ema")
    return network, metadata
