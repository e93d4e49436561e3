"""OpenVINO against ONNX Runtime on the CPU, graph by graph: rows per second in fp32 and bf16, in parts of ONNX Runtime's.

Medians, lowest and highest over sizes of batch; this is what docs/decisions/0013-runtimes.md rests on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dorian_bundle import load_bundle
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.runtimes.cores import available_cores
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from dorian_server.runtimes.openvino import OpenVinoSession
from dorian_server.runtimes.session import Session

BUNDLE = Path(__file__).resolve().parents[1] / "models" / "default"
BATCHES = (1, 2, 4, 8, 32)
MOST_PICTURES = 2  # in a batch of the detector's
SIDE = 512
SECONDS = 0.7
ROUNDS = 2


def inputs_of(signature: Signature, rows: int) -> dict[str, Array]:
    random = np.random.default_rng(rows)
    return {spec.name: random.random(shape_of(spec, rows), dtype=np.float32) for spec in signature.inputs}


def shape_of(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    return (rows, *(side if isinstance(side, int) else SIDE for side in spec.shape[1:]))


def rate(session: Session, inputs: Mapping[str, Array], rows: int) -> float:
    """Rows per second of the fastest run: other work on the machine only slows."""
    durations = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(durations) < 3:
        begin = time.perf_counter()
        session.run(inputs)
        durations.append(time.perf_counter() - begin)
    return rows / min(durations)


def main() -> None:
    bundle, threads = load_bundle(BUNDLE), available_cores()
    print(f"{'':>36} {'fp32':^18} {'bf16':^18}")
    for graph in bundle.manifest.graphs.values():
        for file in graph.files:
            path, signature = bundle.folder / file.path, graph.signature
            usual = OnnxRuntimeSession(path, signature, threads)
            others = [OpenVinoSession(path, signature, threads, kind) for kind in ("fp32", "bf16")]
            free = any(isinstance(side, str) for spec in signature.inputs for side in spec.shape[1:])
            ratios: list[list[float]] = [[] for _ in others]
            for rows in (size for size in BATCHES if not free or size <= MOST_PICTURES):
                inputs = inputs_of(signature, rows)
                for _ in range(ROUNDS):  # interleaved, so that a slow minute of the machine meets all alike
                    base = rate(usual, inputs, rows)
                    for result, session in zip(ratios, others, strict=True):
                        result.append(rate(session, inputs, rows) / base)
            columns = (f"{statistics.median(result):.1f} ({min(result):.1f}–{max(result):.1f})" for result in ratios)
            print(f"{path.stem:>36} {'':>2}" + "".join(f"{word:<19}" for word in columns), flush=True)


if __name__ == "__main__":
    main()
