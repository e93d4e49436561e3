"""The networks that see faces as graphs, each proven against torch, and FaceNet's thresholds as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dorian_bundle.face_readers import (
    DETECTOR_STRIDES,
    AcceptThreshold,
    age_estimator_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_bundle.graphs import Graph, Precision, Signature
from dorian_export.errors import ExportError
from dorian_export.graphs import AgeEstimatorGraph, DetectorGraph, FaceNetGraph, LandmarkRefinerGraph
from dorian_export.parity import BATCHES, Array
from dorian_export.proven import export_proven, image_inputs, require_faces, require_family
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.data.crops import Crops
from dorian_training.methods.facenet import embed, identity_labels
from dorian_training.networks import age_estimator, detector, landmark_refiner
from dorian_training.networks.facenet import FaceNet, facenet_of
from dorian_training.verification import all_pairs, similarities, threshold_at

RATES = (1e-2, 1e-3, 1e-4)  # false-accept rates at which thresholds are measured
_LEAST_OTHERS = 10 / min(RATES)  # pairs of different people, so that ten lie above the strictest threshold
_VIEW = (96, 128)  # height and width of the pictures that the detector is proven on

Exported = tuple[dict[str, Graph], dict[str, float]]


def export_detector(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> Exported:
    """The graph ``detector``; ``crops`` as for ``export_age_estimator``."""
    network, _ = averaged_network(checkpoint, "detector", detector.DetectorShape, detector.Detector)
    require_faces(crops)  # before they are stacked
    pictures = np.stack([cv2.resize(crop, _VIEW[::-1]) for crop in crops[: max(BATCHES)]])
    multiples = dict.fromkeys(("height", "width"), DETECTOR_STRIDES[-1])
    return _exported("detector", DetectorGraph(network), detector_signature(), pictures, folder, precisions, multiples)


def export_landmark_refiner(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> Exported:
    """The graph ``landmark_refiner``; ``crops`` as for ``export_age_estimator``."""
    shape, build = landmark_refiner.LandmarkRefinerShape, landmark_refiner.LandmarkRefiner
    network, _ = averaged_network(checkpoint, "landmark_refiner", shape, build)
    signature = landmark_refiner_signature(landmark_refiner.SIZE)
    return _exported("landmark_refiner", LandmarkRefinerGraph(network), signature, crops, folder, precisions)


def export_age_estimator(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> Exported:
    """The graph ``age_estimator``. ``crops``: at least 8 aligned faces, uint8 RGB (faces, 64, 64, 3), for parity."""
    network, _ = averaged_network(
        checkpoint, "age_estimator", age_estimator.AgeEstimatorShape, age_estimator.AgeEstimator
    )
    signature = age_estimator_signature(age_estimator.SIZE)
    return _exported("age_estimator", AgeEstimatorGraph(network), signature, crops, folder, precisions)


def export_facenet(
    checkpoint: Path, crops: NDArray[np.uint8], folder: Path, precisions: Sequence[Precision]
) -> Exported:
    """The graph ``facenet``; ``crops`` as for ``export_age_estimator``, of the side that the checkpoint's network takes."""
    network = averaged_facenet(checkpoint)
    signature = facenet_signature(network.size, network.embedding)
    return _exported("facenet", FaceNetGraph(network), signature, crops, folder, precisions)


def _exported(
    name: str,
    network: nn.Module,
    signature: Signature,
    pictures: NDArray[np.uint8],
    folder: Path,
    precisions: Sequence[Precision],
    multiples: Mapping[str, int] | None = None,
) -> Exported:
    """The graph ``name`` of ``network``, proven on ``pictures`` (faces, height, width, 3); the rest as ``export_proven``."""
    require_faces(pictures)
    inputs = image_inputs(pictures[: max(BATCHES)])
    graph, differences = export_proven(name, network, signature, inputs, folder, precisions, multiples)
    return {name: graph}, differences


def accept_thresholds(checkpoint: Path, faces: Crops) -> tuple[AcceptThreshold, ...]:
    """Similarities that pairs of different people among ``faces`` reach at each of ``RATES``, measured over all pairs.

    ``faces`` are cut with a margin about the side that the network takes. ``ExportError`` if there are too few pairs for the
    strictest rate.
    """
    network = averaged_facenet(checkpoint)
    known = faces.where(np.asarray([bool(record.identity) for record in faces.records], dtype=bool))
    pairs = all_pairs(identity_labels(known).numpy())
    others = int((~pairs.same).sum())
    if others < _LEAST_OTHERS:
        raise ExportError(
            f"FaceNet's thresholds need {_LEAST_OTHERS:,.0f} pairs of different people in the validation split; there are {others:,}"
        )
    found = _mirrored_embeddings(network, known)
    similarity = similarities(found, pairs)
    return tuple(
        AcceptThreshold(false_accept_rate=rate, similarity=round(threshold_at(similarity, pairs.same, rate), 4))
        for rate in RATES
    )


def _mirrored_embeddings(network: FaceNet, faces: Crops) -> Array:
    mirrored = Crops(np.ascontiguousarray(faces.pixels[:, :, ::-1]), faces.records)
    summed = sum(embed(network, each, network.size, torch.device("cpu")) for each in (faces, mirrored))
    return np.asarray(summed / np.linalg.norm(summed, axis=1, keepdims=True), dtype=np.float32)


def averaged_facenet(checkpoint: Path) -> FaceNet:
    """The averaged FaceNet of a ``checkpoint``, whatever its layout, for inference."""
    weights, about = load_weights(checkpoint)
    require_family(about, "facenet")
    return facenet_of(weights, about)


def averaged_network(checkpoint: Path, family: str, shape: Any, build: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged network of a ``checkpoint`` of ``family``, for inference, and what the checkpoint says of itself."""
    weights, about = load_weights(checkpoint)
    require_family(about, family)
    network: nn.Module = build(shape.from_dict(about["shape"])).eval()
    load_network(network, weights, f"{family}_ema")
    return network, about
