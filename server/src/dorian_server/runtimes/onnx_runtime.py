"""ONNX Runtime on the CPU, and how its other providers open their graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.cores import available_cores

Provider = tuple[str, dict[str, str]]  # name, options

_DTYPES = {"tensor(float)": "float32"}
_INSTALL_GPU = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_INSTALL = {
    "CUDAExecutionProvider": _INSTALL_GPU,
    "TensorrtExecutionProvider": f"{_INSTALL_GPU} 'dorian-server[tensorrt]'",
}


class OnnxRuntimeSession:
    """A graph in ONNX Runtime's CPU provider.

    Args:
        path: The ONNX file.
        expected: The graph's signature in the manifest.
        threads: CPU threads; 0 for one per core of this process.

    Raises:
        GraphFileError: ONNX Runtime cannot open the file.
        GraphSignatureError: The graph has another signature.
    """

    def __init__(self, path: Path, expected: Signature, threads: int = 0) -> None:
        self._session = open_graph(path, [("CPUExecutionProvider", {})], threads)
        expected.require_same(self.signature, f"the file {path.name}")
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def signature(self) -> Signature:
        return signature_of(self._session)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def open_graph(path: Path, providers: Sequence[Provider], threads: int = 0) -> ort.InferenceSession:
    """Open the graph at ``path``.

    Args:
        path: The ONNX file.
        providers: What runs it; operators that the first lacks run in those after it.
        threads: CPU threads; 0 for one per core of this process.

    Raises:
        StartupError: ONNX Runtime lacks the first provider, or leaves it out.
        GraphFileError: It cannot open the file.
    """
    name = providers[0][0]
    require_provider(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    # Threads that spin while they wait take the cores from other requests; without, the pipeline was 2 to 3 times as fast.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena would keep what the largest batch took, some 85 MB of all graphs, and is no faster.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # the runtime has no common base for its errors
        raise GraphFileError(f"{path.name} cannot be opened by ONNX Runtime {ort.__version__}: {error}") from error
    actual_name = session.get_providers()[0]
    if actual_name != name:
        message = f"ONNX Runtime {ort.__version__} has {name}, but opened {path.name} in {actual_name} instead"
        raise StartupError(f"{message}; its log says which library or device is missing")
    return session


def require_provider(name: str) -> None:
    """Raise ``StartupError`` unless the installed ONNX Runtime has the provider ``name``."""
    available = ort.get_available_providers()
    if name not in available:
        message = f"ONNX Runtime {ort.__version__} has no {name}, only {', '.join(available)}"
        raise StartupError(f"{message}; to get it: {_INSTALL[name]}")


def signature_of(session: ort.InferenceSession) -> Signature:
    """Return the signature of an opened graph; ``GraphFileError`` for other types than float32."""
    return Signature(
        inputs=tuple(_spec(tensor) for tensor in session.get_inputs()),
        outputs=tuple(_spec(tensor) for tensor in session.get_outputs()),
    )


def _spec(tensor: ort.NodeArg) -> TensorSpec:
    if tensor.type not in _DTYPES:
        raise GraphFileError(f"{tensor.name} is of type {tensor.type}; graphs take and give tensor(float)")
    return TensorSpec(name=tensor.name, shape=tuple(tensor.shape))
