"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import Signature, TensorSpec
from dorian_server.sessions.session import Array

_DTYPES = {"tensor(float)": "float32"}


class OnnxRuntimeSession:
    """A graph in ONNX Runtime's CPU provider, on ``threads`` threads (0: one per core).

    ``GraphFileError`` if the runtime cannot open it, ``GraphSignatureError`` if it is not of ``expected`` signature.
    """

    def __init__(self, path: Path, expected: Signature, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has no common base for its errors
            raise GraphFileError(f"{path.name} cannot be opened by ONNX Runtime {ort.__version__}: {error}") from error
        expected.require_same(self.signature, f"the file {path.name}")
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def signature(self) -> Signature:
        return Signature(
            inputs=tuple(_spec(entry) for entry in self._session.get_inputs()),
            outputs=tuple(_spec(entry) for entry in self._session.get_outputs()),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def _spec(entry: ort.NodeArg) -> TensorSpec:
    if entry.type not in _DTYPES:
        raise GraphFileError(f"{entry.name} is of type {entry.type}; graphs take and give tensor(float)")
    return TensorSpec(name=entry.name, shape=tuple(entry.shape))
