"""The choice of a runtime: what was asked for, or an error that says how to get it; never another in its place."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from dorian_bundle.graphs import MAX_BATCH_ROWS, Precision, Signature
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.session import Session

Runtime = Literal["onnxruntime", "cuda", "tensorrt-ep", "openvino", "tensorrt"]
Arithmetic = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class SessionOptions:
    """How to open a graph. ``threads`` of the CPU, 0: one per core of this process; ``precision`` is that of the file.

    ``arithmetic``: OpenVINO's, auto: bf16 where the processor has it. ``rows``: most that a GPU is given at once.
    ``engine_cache``: folder of TensorRT's engines, ``None``: that of ``dorian_bundle.engines.default_cache``.
    """

    threads: int = 0
    precision: Precision = "fp32"
    arithmetic: Arithmetic = "auto"
    rows: int = MAX_BATCH_ROWS
    engine_cache: Path | None = None


def open_session(runtime: Runtime, path: Path, expected: Signature, options: SessionOptions) -> Session:
    """The graph at ``path`` in ``runtime``.

    ``StartupError`` if the runtime is not there, ``BundleError`` if it cannot open the graph or the graph is not of ``expected``
    signature.
    """
    if options.arithmetic != "auto" and runtime != "openvino":
        words = f"the arithmetic {options.arithmetic} can be asked of openvino alone; {runtime} has that of the graphs' files"
        raise StartupError(words)
    match runtime:
        case "onnxruntime":
            from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession

            return OnnxRuntimeSession(path, expected, options.threads)
        case "cuda":
            from dorian_server.runtimes.cuda import CudaSession

            return CudaSession(path, expected, options.rows)
        case "tensorrt-ep":
            _require("filelock", "tensorrt", runtime)
            from dorian_server.runtimes.tensorrt_ep import TensorrtEpSession

            return TensorrtEpSession(path, expected, options.rows, options.engine_cache)
        case "openvino":
            _require("openvino", "openvino", runtime)
            from dorian_server.runtimes.openvino import OpenVinoSession

            return OpenVinoSession(path, expected, options.threads, options.arithmetic)
        case "tensorrt":
            for module in ("tensorrt", "cuda", "filelock"):
                _require(module, "tensorrt", runtime)
            from dorian_server.runtimes.tensorrt import TensorrtSession

            return TensorrtSession(path, expected, options.precision, options.rows, options.engine_cache)


def _require(module: str, extra: str, runtime: Runtime) -> None:
    if find_spec(module) is None:
        words = f"the runtime {runtime} needs the module {module}, which is not installed"
        raise StartupError(f"{words}; to get it: pip install 'dorian-server[{extra}]'")
