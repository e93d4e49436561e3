"""A small bundle of graphs with a few nodes, whose outputs are known, and an Age-cGAN that draws grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dorian_bundle.age_interval import AgeIntervals
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.bundle import write_manifest
from dorian_bundle.entries import DataSet, Provenance
from dorian_bundle.face_readers import (
    DETECTOR_OUTPUTS,
    DETECTOR_STRIDES,
    AcceptThreshold,
    AgeEstimator,
    FaceDetector,
    FaceNet,
    FaceReaders,
    LandmarkRefiner,
)
from dorian_bundle.families.age_cgan import AgeCganMethod, age_cgan_signatures, latent_gradient_signature
from dorian_bundle.graphs import Graph, GraphFile, Signature
from dorian_bundle.manifest import Manifest
from dorian_bundle.mesh import ALIGNMENT_POINTS, mean_mesh

INTERVALS = AgeIntervals(
    coverage=0.8, ages=(0.0, 100.0), lower=(-1.0, -1.0), upper=(1.0, 1.0), min_spread=1.0, faces=100
)
ORIGIN = Provenance(
    licence="none",
    commercial_use=False,
    data=(DataSet(name="painted", faces=1, licence="none", commercial_use=False),),
    seed=0,
    steps={},
)
BOX = (5.0, 5.0, 70.0, 70.0)  # of every painted face, and its landmarks
POINTS = np.array([[24.5, 23.0], [54.5, 23.0], [39.5, 40.4], [26.6, 53.1], [52.4, 53.1]])
OFF = 3.0  # pixels by which the detector's landmarks lie to the right: a tenth of the distance between the eyes
ZOOM = 0.8
AGE = 40.0
CROP, LATENT, EMBEDDING = 64, 8, 3
GREYS = (
    9,
    24,
    34,
    44,
    47,
    70,
)  # levels of 255 that the generator draws the age groups in; tinted by a latent's first number
_IMAGE = {"image": ["batch", 3, "height", "width"]}


def save(path: Path, nodes: list[Any], output: str, inputs: Mapping[str, Sequence[str | int]] = _IMAGE) -> None:
    graph = helper.make_graph(
        nodes,
        "painted",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in output.split()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def constant(name: str, values: Any) -> Any:
    return helper.make_node(
        "Constant", [], [name], value=numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)
    )


def save_detector(path: Path) -> None:
    """Save a detector of one face, in ``BOX``, in every image."""
    x, y, width, height = BOX
    cell, columns = np.array([1, 1]), 3  # of 96 pixels, in cells of 32
    known = {
        "cls": [0.95],
        "obj": [0.95],
        "bbox": [(x + width / 2) / 32 - cell[0], (y + height / 2) / 32 - cell[1], *np.log([width / 32, height / 32])],
        "kps": ((POINTS + np.array([OFF, 0])) / 32 - cell).ravel(),
    }
    nodes, names = [], []
    for kind, numbers in DETECTOR_OUTPUTS.items():
        for stride in DETECTOR_STRIDES:
            values = np.zeros((1, columns**2 if stride == 32 else 1, numbers))
            if stride == 32:
                values[0, cell[1] * columns + cell[0]] = known[kind]
            names.append(f"{kind}_{stride}")
            nodes.append(constant(names[-1], values))
    save(path, nodes, " ".join(names))


def save_refiner(path: Path) -> None:
    """Save a refiner that places landmarks at those of its template, moved by a tenth of the distance between the eyes."""
    template = np.asarray(DEFAULT_TEMPLATE.zoomed(ZOOM).landmarks)
    mesh = mean_mesh(template)
    mesh[list(ALIGNMENT_POINTS)] = template
    off = 0.1 * (template[1, 0] - template[0, 0])
    shape = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axes"], ["single"]),
        constant("nothing", 0),
        constant("places", (mesh - np.array([off, 0]))[None]),
        constant("share", 0.9),
        helper.make_node("Mul", ["single", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "places"], ["landmarks"]),
        helper.make_node("Mul", ["mean", "nothing"], ["flat"]),
        helper.make_node("Add", ["flat", "share"], ["visibility"]),
    ]
    save(path, [_axes(1, 2), *shape], "landmarks visibility")


def save_age_estimator(path: Path) -> None:
    """Save an estimator that returns ``AGE`` for every face."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        constant("nothing", 0),
        constant("years", AGE),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        constant("sure", 4),
        helper.make_node("Add", ["none", "years"], ["age"]),
        helper.make_node("Add", ["none", "sure"], ["spread"]),
    ]
    save(path, nodes, "age spread")


def save_facenet(path: Path) -> None:
    """Save a FaceNet whose embeddings follow the mean colour."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        constant("grey", 0.5),
        helper.make_node("Sub", ["mean", "grey"], ["colour"]),
        helper.make_node("LpNormalization", ["colour"], ["embedding"], axis=1),
    ]
    save(path, nodes, "embedding")


def save_generator(path: Path) -> None:
    """Save a generator of the age groups in ``GREYS``, a level redder and less blue for each whole of the latent's first number."""
    tint = np.zeros((LATENT, 3))
    tint[0] = [1, 0, -1]
    nodes = [
        constant("greys", np.asarray(GREYS)[:, None] / 255),
        constant("tints", tint / 255),
        constant("square", np.ones((CROP, CROP))),
        helper.make_node("MatMul", ["condition", "greys"], ["grey"]),
        helper.make_node("MatMul", ["latent", "tints"], ["tint"]),
        helper.make_node("Add", ["grey", "tint"], ["colour"]),
        _axes(2, 3),
        helper.make_node("Unsqueeze", ["colour", "axes"], ["pixel"]),
        helper.make_node("Mul", ["pixel", "square"], ["image"]),
    ]
    save(path, nodes, "image", {"latent": ["batch", LATENT], "condition": ["batch", len(GREYS)]})


def save_pooling(path: Path, side: int | str = 16) -> Path:
    """Save a network of images whose features are maps: the colours, at half the size; return the path."""
    nodes = [helper.make_node("AveragePool", ["image"], ["maps"], kernel_shape=[2, 2], strides=[2, 2])]
    save(path, nodes, "maps", {"image": ["batch", 3, side, side]})
    return path


def write_bundle(folder: Path, searched: bool = False) -> Path:
    """Write the bundle and return its folder; its encoder, and ``latent_gradient`` if latents can be ``searched``, are no graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    save_detector(folder / "detector.onnx")
    save_refiner(folder / "landmark_refiner.onnx")
    save_age_estimator(folder / "age_estimator.onnx")
    save_facenet(folder / "facenet.onnx")
    save_generator(folder / "generator.onnx")
    (folder / "README.md").write_text("card")
    readers = _readers()
    sizes = (CROP, LATENT, len(PAPER_GROUPS))
    drawing = age_cgan_signatures(*sizes)
    if searched:
        drawing["latent_gradient"] = latent_gradient_signature(*sizes, EMBEDDING)
    method = AgeCganMethod(
        name="age_cgan",
        description="none",
        graphs={role: role for role in drawing},
        age_groups=PAPER_GROUPS,
        crop_size=CROP,
        latent_size=LATENT,
        embedding_size=EMBEDDING if searched else None,
        provenance=ORIGIN,
    )
    signatures = drawing | {
        "detector": readers.detector.signature(),
        "landmark_refiner": readers.landmark_refiner.signature(),
        "age_estimator": readers.age_estimator.signature(),
        "facenet": readers.facenet.signature(),
    }
    manifest = Manifest(
        name="painted",
        version="0",
        created="today",
        alignment=DEFAULT_TEMPLATE,
        graphs={name: _graph(folder, name, signature) for name, signature in signatures.items()},
        readers=readers,
        methods=(method,),
    )
    write_manifest(folder, manifest)
    return folder


def _readers() -> FaceReaders:
    return FaceReaders(
        detector=FaceDetector(graph="detector", min_score=0.5, provenance=ORIGIN),
        landmark_refiner=LandmarkRefiner(graph="landmark_refiner", view_size=64, zoom=ZOOM, provenance=ORIGIN),
        age_estimator=AgeEstimator(graph="age_estimator", crop_size=64, intervals=INTERVALS, provenance=ORIGIN),
        facenet=FaceNet(
            graph="facenet",
            crop_size=64,
            embedding_size=EMBEDDING,
            thresholds=(AcceptThreshold(false_accept_rate=0.1, similarity=-1.0),),
            provenance=ORIGIN,
        ),
    )


def _graph(folder: Path, name: str, signature: Signature) -> Graph:
    path = folder / f"{name}.onnx"
    if not path.is_file():
        path.write_bytes(b"\x08\x08")  # an ONNX model of no graph, only its version
    return Graph(signature=signature, files=(GraphFile.of(folder, path.name, "fp32"),))


def _axes(*axes: int) -> Any:
    return helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array(axes), "axes"))
