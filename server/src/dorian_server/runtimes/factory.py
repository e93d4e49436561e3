"""Opening a graph in the requested runtime. One that is not installed is an error; no other runtime takes its place."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dorian_bundle.graphs import Signature
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.options import Runtime, SessionOptions
from dorian_server.runtimes.session import Session


def open_session(runtime: Runtime, path: Path, expected: Signature, options: SessionOptions) -> Session:
    """Open the graph at ``path`` in ``runtime``.

    Args:
        runtime: What runs the graph.
        path: An ONNX file.
        expected: The graph's signature in the manifest.
        options: How to open it.

    Raises:
        StartupError: The runtime is not installed, or does not have these options.
        BundleError: It cannot open the graph, or the graph has another signature.
    """
    if options.arithmetic != "auto" and runtime != "openvino":
        message = f"the arithmetic {options.arithmetic} can be asked of openvino alone; {runtime} has that of the graphs' files"
        raise StartupError(message)
    match runtime:
        case "onnxruntime":
            from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession

            return OnnxRuntimeSession(path, expected, options.threads)
        case "cuda":
            from dorian_server.runtimes.cuda import CudaSession

            return CudaSession(path, expected, options.max_rows)
        case "tensorrt-ep":
            _require("filelock", "tensorrt", runtime)
            from dorian_server.runtimes.tensorrt_ep import TensorrtEpSession

            return TensorrtEpSession(path, expected, options.max_rows, options.engine_cache)
        case "openvino":
            _require("openvino", "openvino", runtime)
            from dorian_server.runtimes.openvino import OpenVinoSession

            return OpenVinoSession(path, expected, options.threads, options.arithmetic)
        case "tensorrt":
            for module in ("tensorrt", "cuda", "filelock"):
                _require(module, "tensorrt", runtime)
            from dorian_server.runtimes.tensorrt import TensorrtSession

            return TensorrtSession(path, expected, options.precision, options.max_rows, options.engine_cache)


def _require(module: str, extra: str, runtime: Runtime) -> None:
    if find_spec(module) is None:
        message = f"the runtime {runtime} needs the module {module}, which is not installed"
        raise StartupError(f"{message}; to get it: pip install 'dorian-server[{extra}]'")
