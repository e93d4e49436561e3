"""What each method's exporter gives to the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dorian_bundle.families import Method
from dorian_bundle.graphs import Graph


@dataclass(frozen=True)
class Made:
    """A method's ``entry`` in the manifest, its ``graphs`` by name, and the largest difference of each file from torch."""

    entry: Method
    graphs: dict[str, Graph]
    differences: dict[str, float]


def with_differences(metrics: dict[str, Any], differences: dict[str, float]) -> dict[str, Any]:
    """``metrics`` of a part, and how far its graphs are from torch."""
    return {**metrics, "onnx_difference": differences}
