"""Graphs on disk, each proven against its network as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dorian_bundle.graphs import Graph, GraphFile, Precision, Signature
from dorian_bundle.tensors import crops_to_images
from dorian_export.errors import ExportError
from dorian_export.graphs import in_precision, write_onnx
from dorian_export.parity import BATCHES, Array, require_parity


def export_proven(
    name: str,
    network: nn.Module,
    signature: Signature,
    inputs: Sequence[Mapping[str, Array]],
    folder: Path,
    precisions: Sequence[Precision],
    multiples: Mapping[str, int] | None = None,
) -> tuple[Graph, dict[str, float]]:
    """Write the graph ``name`` of ``network`` into ``folder``; returns it, and its differences from torch by file.

    ``inputs`` as for ``require_parity``, ``multiples`` as for ``write_onnx``. ``ParityError`` if a file differs too much.
    """
    exact = in_precision(network, "fp32")
    files = []
    differences = {}
    for precision in precisions:
        path = f"graphs/{name}.{precision}.onnx"
        write_onnx(in_precision(network, precision), signature, folder / path, multiples)
        differences[path] = require_parity(exact, folder / path, signature, precision, inputs)
        files.append(GraphFile.of(folder, path, precision))
    return Graph(signature=signature, files=tuple(files)), differences


def require_family(about: Mapping[str, Any], family: str) -> None:
    """Raise ``ExportError`` unless the checkpoint that says ``about`` of itself is of ``family``."""
    if about.get("family") != family:
        raise ExportError(f"the checkpoint is of the family {about.get('family')!r}, not {family}")


def require_faces(crops: NDArray[np.uint8]) -> None:
    """Raise ``ExportError`` unless ``crops`` (faces, size, size, 3) are enough to prove graphs on."""
    if len(crops) < max(BATCHES):
        raise ExportError(f"{max(BATCHES)} real faces are needed to prove the graphs on, got {len(crops)}")


def image_inputs(pictures: NDArray[np.uint8]) -> list[dict[str, Array]]:
    """Random inputs, and real ones."""
    real = crops_to_images(pictures)
    return [{"image": np.random.default_rng(0).random(real.shape, dtype=np.float32)}, {"image": real}]
