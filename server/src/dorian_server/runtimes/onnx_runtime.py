"""ONNX Runtime: on the CPU, and how the other runtimes that are providers of it open their graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.cores import available_cores

Provider = tuple[str, dict[str, str]]  # its name, and its options

_DTYPES = {"tensor(float)": "float32"}
_GET_GPU = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_GET = {
    "CUDAExecutionProvider": _GET_GPU,
    "TensorrtExecutionProvider": f"{_GET_GPU} 'dorian-server[tensorrt]'",
}


class OnnxRuntimeSession:
    """A graph in ONNX Runtime's CPU provider, on ``threads`` threads (0: one per core of this process).

    ``GraphFileError`` if the runtime cannot open it, ``GraphSignatureError`` if it is not of ``expected`` signature.
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
    """The file at ``path`` in the first of ``providers``; operators that it lacks run in those after it.

    ``StartupError`` if the first is not there, or ONNX Runtime leaves it out; ``GraphFileError`` for a file that it cannot open.
    """
    name = providers[0][0]
    require_provider(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    # Threads that spin while they wait take the cores from other requests; without, the pipeline was 2 to 3 times as fast.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # the runtime has no common base for its errors
        raise GraphFileError(f"{path.name} cannot be opened by ONNX Runtime {ort.__version__}: {error}") from error
    used = session.get_providers()
    if used[0] != name:
        words = f"ONNX Runtime {ort.__version__} has {name}, but opened {path.name} in {used[0]} instead"
        raise StartupError(f"{words}; its log says which library or device is missing")
    return session


def require_provider(name: str) -> None:
    """Raise ``StartupError`` unless the installed ONNX Runtime has the provider ``name``."""
    there = ort.get_available_providers()
    if name not in there:
        words = f"ONNX Runtime {ort.__version__} has no {name}, only {', '.join(there)}"
        raise StartupError(f"{words}; to get it: {_GET[name]}")


def signature_of(session: ort.InferenceSession) -> Signature:
    """What an opened graph takes and gives; ``GraphFileError`` for other types than float32."""
    return Signature(
        inputs=tuple(_spec(entry) for entry in session.get_inputs()),
        outputs=tuple(_spec(entry) for entry in session.get_outputs()),
    )


def _spec(entry: ort.NodeArg) -> TensorSpec:
    if entry.type not in _DTYPES:
        raise GraphFileError(f"{entry.name} is of type {entry.type}; graphs take and give tensor(float)")
    return TensorSpec(name=entry.name, shape=tuple(entry.shape))
