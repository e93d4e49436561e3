"""Graphs in ONNX Runtime: a bundle's and judges', as sessions and as functions of named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.graphs import Array, RunGraph
from dorian_bundle.tensors import crops_to_images
from dorian_training.errors import DataError

_BATCH_SIZE = 32


def open_session(path: Path, kind: str, threads: int = 0) -> ort.InferenceSession:
    """Open a network on the CPU.

    Args:
        path: An ONNX file.
        kind: What the network should be, for the error: "a judge of age".
        threads: How many it runs on; 0 for one per core.

    Raises:
        DataError: ONNX Runtime cannot open it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no common base for its errors
        raise DataError(f"{path} cannot be opened as {kind}: {error}") from error


def open_graph(bundle: Bundle, name: str, threads: int = 0) -> RunGraph:
    """Open a graph of a bundle as a function from inputs to outputs, both by name; ``threads`` as in ``open_session``.

    Raises:
        DataError: ONNX Runtime cannot open it.
    """
    session = open_session(bundle.graph_path(name), "a graph", threads)
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))

    return run


def run_on_crops(run: RunGraph, output: str, crops: NDArray[np.uint8]) -> Array:
    """Run a graph that takes images on crops, batch by batch.

    Args:
        run: The graph, with an input called ``image``.
        output: The name of the output to return.
        crops: Aligned crops, RGB uint8 (faces, size, size, 3).

    Returns:
        float32 (faces, …).
    """
    batches = [crops[start : start + _BATCH_SIZE] for start in range(0, len(crops), _BATCH_SIZE)]
    return np.concatenate([run({"image": crops_to_images(batch)})[output] for batch in batches])
