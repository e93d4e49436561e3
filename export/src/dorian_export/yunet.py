"""YuNet, the published face detector, as a graph: RGB in [0, 1], any batch; verified against the file that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper, version_converter

from dorian_bundle.entries import DataSet, Provenance, Source
from dorian_bundle.face_readers import detector_signature
from dorian_bundle.graphs import Array, Graph, GraphFile, Signature
from dorian_bundle.stored_files import sha256_of
from dorian_export.errors import ExportError, ParityError
from dorian_export.onnx_writer import OPSET, name_axes, save_onnx
from dorian_export.verified_export import BATCHES, TOLERANCE, image_inputs, largest_difference, require_faces

# The published file whose terms and source are known here.
FILE = "face_detection_yunet_2026may.onnx"
SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
SOURCE = "OpenCV Zoo, models/face_detection_yunet, by Shiqi Yu and others"
MIN_SCORE = 0.75  # from which on a detection counts as a face
_VIEW = (96, 128)  # height and width of the images that the graph is verified on


def export_yunet(path: Path, crops: NDArray[np.uint8], folder: Path) -> tuple[dict[str, Graph], dict[str, float]]:
    """Export the graph ``detector`` in full precision.

    Args:
        path: The published ONNX file.
        crops: At least 8 faces to verify on, uint8 RGB (faces, size, size, 3).
        folder: Folder of the bundle.

    Returns:
        The graph by name, and its largest difference from the published file, by file.

    Raises:
        ParityError: If the graph differs too much from the published file.
        ExportError: If it is another file, or there are too few faces.
    """
    require_faces(crops)  # before they are stacked
    images = np.stack([cv2.resize(crop, _VIEW[::-1]) for crop in crops[: max(BATCHES)]])
    target = "graphs/detector.fp32.onnx"
    signature = detector_signature()
    save_onnx(adapt_yunet(read_yunet(path), signature), folder / target)
    difference = require_same_outputs(path, folder / target, signature, image_inputs(images))
    graph = Graph(signature=signature, files=(GraphFile.of(folder, target, "fp32"),))
    return {"detector": graph}, {target: difference}


def read_yunet(path: Path) -> onnx.ModelProto:
    """Read the published file; ``ExportError`` for any other."""
    try:
        model = onnx.load(path)
    except (DecodeError, OSError) as error:
        raise ExportError(f"{path} is not an ONNX file: {error}") from error
    if (sha256 := sha256_of(path)) != SHA256:
        raise ExportError(
            f"{path} has the sha256 {sha256}; the detector whose source and licence are known is {FILE}, {SHA256}"
        )
    return model


def adapt_yunet(model: onnx.ModelProto, signature: Signature) -> onnx.ModelProto:
    """Return YuNet with the inputs and outputs that ``signature`` names, for images of RGB in [0, 1] and any batch.

    The first convolution takes over the order and the range of colours: its weights are reversed along the input channels and
    multiplied by 255, which leaves its padding with zeros what it was. Reshapes keep the batch.
    """
    model = version_converter.convert_version(model, OPSET)
    graph = model.graph
    del graph.value_info[:]  # which holds shapes for a batch of 1
    constants = {tensor.name: tensor for tensor in graph.initializer}
    (image,) = graph.input
    (first,) = (node for node in graph.node if image.name in node.input)
    weights = numpy_helper.to_array(constants[first.input[1]])  # (16, 3, 3, 3)
    _replace(constants[first.input[1]], np.ascontiguousarray(weights[:, ::-1] * np.float32(255)))
    for shape in {node.input[1] for node in graph.node if node.op_type == "Reshape"}:
        _, *rest = numpy_helper.to_array(constants[shape])
        _replace(constants[shape], np.array([0, *rest], dtype=np.int64))  # 0: as it comes
    first.input[0] = image.name = signature.inputs[0].name
    name_axes(model, signature)
    return model


def require_same_outputs(
    published: Path, path: Path, signature: Signature, inputs: Sequence[Mapping[str, Array]]
) -> float:
    """Compare the graph at ``path`` with the published file, both in ONNX Runtime, at batches of 1, 3 and 8.

    Args:
        published: Takes BGR from 0 to 255, one image at a time.
        path: The graph's file.
        signature: The graph's.
        inputs: Each has at least 8 rows of RGB in [0, 1].

    Returns:
        The largest difference, relative where values are above 1.

    Raises:
        ParityError: If it is beyond what full precision allows.
    """
    original, session = (
        ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]) for file in (published, path)
    )
    names = [spec.name for spec in signature.outputs]
    largest = 0.0
    for rows in inputs:
        for batch in BATCHES:
            images = rows[signature.inputs[0].name][:batch]  # (batch, 3, height, width)
            outputs = session.run(names, {signature.inputs[0].name: images})
            singles = [original.run(names, {"input": 255 * image[None, ::-1]}) for image in images]
            for output, expected in zip(outputs, zip(*singles, strict=True), strict=True):
                largest = max(largest, largest_difference(path, batch, output, np.concatenate(expected)))
    if not largest <= TOLERANCE["fp32"]:  # not ">": a NaN must not pass
        raise ParityError(
            f"{path.name} differs from {published.name} by {largest:.2g}; {TOLERANCE['fp32']:g} is allowed in fp32"
        )
    return largest


def describe_yunet(metrics: dict[str, Any]) -> Provenance:
    """Return the provenance of the published file, and ``metrics`` as they are."""
    return Provenance(
        licence="The weights are published under these terms: MIT.",
        commercial_use=True,
        # Of the training split; images from the web.
        data=(DataSet(name="WIDER FACE", faces=159_424, licence="non-commercial research", commercial_use=False),),
        networks=(Source(name="YuNet", licence="MIT", commercial_use=True),),
        seed=0,
        steps={"published": 0},
        training={"settings": {"file": FILE, "sha256": SHA256, "source": SOURCE}},
        metrics=metrics,
    )


def _replace(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
