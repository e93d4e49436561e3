"""How to open a graph: the runtimes that there are, and the options of a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dorian_bundle.graphs import MAX_BATCH_ROWS, Precision

Runtime = Literal["onnxruntime", "cuda", "tensorrt-ep", "openvino", "tensorrt"]
Arithmetic = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class SessionOptions:
    """How to open a graph.

    Args:
        threads: CPU threads; 0 for one per core of this process.
        precision: Precision of the graph's file.
        arithmetic: OpenVINO's; auto: bf16 where the processor has it.
        max_rows: Rows that a GPU is given at once.
        engine_cache: Folder of TensorRT's engines; ``None`` for ``dorian_bundle.engine_cache.default_cache``.
    """

    threads: int = 0
    precision: Precision = "fp32"
    arithmetic: Arithmetic = "auto"
    max_rows: int = MAX_BATCH_ROWS
    engine_cache: Path | None = None
