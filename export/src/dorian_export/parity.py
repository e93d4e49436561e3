"""Parity: an exported graph is refused unless ONNX Runtime gives what torch gives, on random and on real inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from dorian_bundle.graphs import Precision, Signature
from dorian_export.errors import ParityError

Array = NDArray[np.float32]
BATCHES = (1, 3, 8)

# Largest difference from the fp32 network: absolute, or relative to the largest value where that is above 1 (ages in years,
# boxes in strides). Half precision keeps 11 bits, and what a dozen layers make of that.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2}


def require_parity(
    graph: nn.Module, path: Path, signature: Signature, precision: Precision, inputs: Sequence[Mapping[str, Array]]
) -> float:
    """The largest difference between ``graph`` (fp32, torch) and the file at ``path`` over ``inputs``.

    Each of ``inputs`` maps input names to at least 8 rows; they are run at batches of 1, 3 and 8. ``ParityError`` beyond
    the tolerance of ``precision``, or where the two disagree about a shape.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in inputs:
        for batch in BATCHES:
            feed = {spec.name: np.ascontiguousarray(rows[spec.name][:batch]) for spec in signature.inputs}
            with torch.no_grad():
                answer = graph(*(torch.from_numpy(feed[spec.name]) for spec in signature.inputs))
            wanted = [answer] if isinstance(answer, torch.Tensor) else list(answer)
            found = session.run([spec.name for spec in signature.outputs], feed)
            difference = max(
                _difference(path, batch, *pair) for pair in zip(found, (each.numpy() for each in wanted), strict=True)
            )
            if not difference <= TOLERANCE[precision]:  # not ">": a NaN must not pass
                raise ParityError(
                    f"{path.name} differs from its network by {difference:.2g} at batch {batch};"
                    f" {TOLERANCE[precision]:g} is allowed in {precision}"
                )
            worst = max(worst, difference)
    return worst


def _difference(path: Path, batch: int, found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape:
        raise ParityError(f"{path.name} gives {found.shape} at batch {batch}; its network gives {wanted.shape}")
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
