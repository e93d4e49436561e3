"""A bundle's graphs, opened with ONNX Runtime: as functions of named arrays, and on aligned crops."""

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

_BATCH = 32


def open_session(path: Path, words: str) -> ort.InferenceSession:
    """The network at ``path``; ``DataError`` if it cannot be opened, where ``words`` say as what."""
    try:
        return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no common base for its errors
        raise DataError(f"{path} cannot be opened as {words}: {error}") from error


def open_graph(bundle: Bundle, name: str) -> RunGraph:
    """The graph ``name`` as a function from inputs to outputs, by name; ``DataError`` if it cannot be opened."""
    session = open_session(bundle.graph_path(name), "a graph")
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))

    return run


def read_crops(run: RunGraph, output: str, crops: NDArray[np.uint8]) -> Array:
    """What the graph says as ``output`` of aligned RGB ``crops`` uint8 (faces, size, size, 3); float32 (faces, …)."""
    parts = []
    for start in range(0, len(crops), _BATCH):
        parts.append(run({"image": crops_to_images(crops[start : start + _BATCH])})[output])
    return np.concatenate(parts)
