"""Verified export: a graph stays only if ONNX Runtime gives what torch gives, on random and on real inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from dorian_bundle.graphs import Array, Graph, GraphFile, Precision, Signature
from dorian_bundle.tensors import crops_to_images
from dorian_export.errors import ExportError, ParityError
from dorian_export.onnx_writer import in_precision, write_onnx

BATCHES = (1, 3, 8)  # rows of the batches that graph and network are compared at

# Largest difference from the fp32 network: absolute, or relative to the largest value where that is above 1 (ages in years,
# boxes in strides). Half precision keeps 11 bits, and a dozen layers lose some of them.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2}


def export_verified(
    name: str,
    network: nn.Module,
    signature: Signature,
    inputs: Sequence[Mapping[str, Array]],
    folder: Path,
    precisions: Sequence[Precision],
    store: Callable[[Path], None] | None = None,
) -> tuple[Graph, dict[str, float]]:
    """Write a network as a graph, a file per precision, and verify each file.

    Args:
        name: Name of the graph; its files are ``graphs/NAME.PRECISION.onnx``.
        network: Takes and gives what ``signature`` says.
        signature: Names and shapes of inputs and outputs.
        inputs: See ``require_parity``.
        folder: Folder of the bundle.
        precisions: Of the files' weights and arithmetic.
        store: Changes how a written file stores the weights, not what they are.

    Returns:
        The graph, and the largest difference from torch by file.

    Raises:
        ParityError: If a file differs too much from its network.
    """
    exact = in_precision(network, "fp32")
    files = []
    differences = {}
    for precision in precisions:
        path = f"graphs/{name}.{precision}.onnx"
        write_onnx(in_precision(network, precision), signature, folder / path)
        if store is not None:
            store(folder / path)
        differences[path] = require_parity(exact, folder / path, signature, precision, inputs)
        files.append(GraphFile.of(folder, path, precision))
    return Graph(signature=signature, files=tuple(files)), differences


def require_parity(
    network: nn.Module, path: Path, signature: Signature, precision: Precision, inputs: Sequence[Mapping[str, Array]]
) -> float:
    """Compare an ONNX file with its network at batches of 1, 3 and 8.

    Args:
        network: In fp32, as torch runs it.
        path: The ONNX file.
        signature: Names of inputs and outputs, in the order of the network's.
        precision: Of the file; decides the tolerance.
        inputs: Each maps the names of inputs to at least 8 rows.

    Returns:
        The largest difference.

    Raises:
        ParityError: If it is beyond the tolerance, or the two disagree about a shape.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for rows in inputs:
        for batch in BATCHES:
            feed = {spec.name: np.ascontiguousarray(rows[spec.name][:batch]) for spec in signature.inputs}
            with torch.no_grad():
                result = network(*(torch.from_numpy(feed[spec.name]) for spec in signature.inputs))
            expected = [result] if isinstance(result, torch.Tensor) else list(result)
            outputs = session.run([spec.name for spec in signature.outputs], feed)
            difference = max(
                largest_difference(path, batch, output, tensor.numpy())
                for output, tensor in zip(outputs, expected, strict=True)
            )
            if not difference <= TOLERANCE[precision]:  # not ">": a NaN must not pass
                raise ParityError(
                    f"{path.name} differs from its network by {difference:.2g} at batch {batch};"
                    f" {TOLERANCE[precision]:g} is allowed in {precision}"
                )
            largest = max(largest, difference)
    return largest


def largest_difference(path: Path, batch: int, output: Array, expected: Array) -> float:
    """Return how far ``output`` is from ``expected``, relative to the largest value where that is above 1.

    Raises:
        ParityError: If the shapes differ.
    """
    if output.shape != expected.shape:
        raise ParityError(f"{path.name} gives {output.shape} at batch {batch}; its network gives {expected.shape}")
    return float(np.abs(output - expected).max() / max(1.0, np.abs(expected).max()))


def require_family(metadata: Mapping[str, Any], family: str) -> None:
    """Raise ``ExportError`` unless a checkpoint's ``metadata`` says that it is of ``family``."""
    if metadata.get("family") != family:
        raise ExportError(f"the checkpoint is of the family {metadata.get('family')!r}, not {family}")


def require_faces(crops: NDArray[np.uint8]) -> None:
    """Raise ``ExportError`` unless ``crops`` (faces, size, size, 3) are enough to verify graphs on."""
    if len(crops) < max(BATCHES):
        raise ExportError(f"{max(BATCHES)} real faces are needed to prove the graphs on, got {len(crops)}")


def image_inputs(crops: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Return the input ``image`` to verify a graph on: random ones, and ``crops`` uint8 (batch, height, width, 3)."""
    images = crops_to_images(crops)  # (batch, 3, height, width)
    noise = np.random.default_rng(0).random(images.shape, dtype=np.float32)
    return [{"image": noise}, {"image": images}]
