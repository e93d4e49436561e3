"""ONNX Runtime's CUDA provider: inputs and outputs bound, and a CUDA graph for each size of batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import BATCH, Array, Signature
from dorian_server.runtimes.in_parts import run_in_parts
from dorian_server.runtimes.onnx_runtime import open_graph, require_provider, signature_of

log = logging.getLogger(__name__)

_PROVIDER = "CUDAExecutionProvider"
_PLAIN = {"cudnn_conv_algo_search": "HEURISTIC"}  # an exhaustive search would be repeated for each shape of a picture
_CAPTURED = {"cudnn_conv_algo_search": "EXHAUSTIVE", "enable_cuda_graph": "1"}


class CudaSession:
    """A graph in ONNX Runtime's CUDA provider, given ``rows`` at once at most.

    Where only the batch varies, batches are filled up to a power of two, and each such size is captured as a CUDA graph.
    ``StartupError`` without the provider; ``GraphFileError`` and ``GraphSignatureError`` as ``OnnxRuntimeSession``.
    """

    def __init__(self, path: Path, expected: Signature, rows: int) -> None:
        require_provider(_PROVIDER)
        ort.preload_dlls()  # of CUDA and cuDNN, where they were installed by pip
        self._session, self._captured = _opened(path, expected)
        expected.require_same(self.signature, f"the file {path.name}")
        self._rows = rows
        self._batches: dict[int, BoundBatch] = {}
        self._lock = threading.Lock()  # a captured graph has one set of buffers

    @property
    def signature(self) -> Signature:
        return signature_of(self._session)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not self._captured:
            return run_bound(self._session, inputs)
        with self._lock:
            return run_in_parts(self._replay, inputs, self._rows)

    def _replay(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        size = bucket(len(next(iter(inputs.values()))), self._rows)
        if size not in self._batches:
            self._batches[size] = BoundBatch(self._session, self.signature, size, "cuda")
        return self._batches[size].run(inputs)


class BoundBatch:
    """Inputs and outputs of ``session``, of ``signature``, at fixed places on ``device``, for batches of up to ``rows``.

    What a provider captures of a run is kept under the number of ``rows``, and replayed by the next.
    """

    def __init__(self, session: ort.InferenceSession, signature: Signature, rows: int, device: str) -> None:
        self._session, self._rows = session, rows
        self._binding = session.io_binding()
        self._inputs, self._outputs = (
            {spec.name: _room((rows, *spec.shape[1:]), device) for spec in specs}
            for specs in (signature.inputs, signature.outputs)
        )
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(rows))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        for name, values in inputs.items():
            self._inputs[name].update_inplace(filled_up(values, self._rows))
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: value.numpy()[:rows].copy() for name, value in self._outputs.items()}


def bucket(rows: int, most: int) -> int:
    """The least power of two that holds ``rows``, or ``most`` if that is less."""
    return min(most, 1 << (rows - 1).bit_length())


def filled_up(values: Array, rows: int) -> Array:
    """``values`` with its last row repeated, up to ``rows``; zeros might be nothing that the graph can divide by."""
    missing = rows - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def run_bound(session: ort.InferenceSession, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name for ``inputs`` by name, each copied once on its way."""
    binding = session.io_binding()
    for name, values in inputs.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(values))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))


def _opened(path: Path, expected: Signature) -> tuple[ort.InferenceSession, bool]:
    """The graph, and whether its runs are captured."""
    if all(axis == BATCH or isinstance(axis, int) for spec in expected.inputs for axis in spec.shape):
        try:
            return open_graph(path, [(_PROVIDER, _CAPTURED)]), True
        except GraphFileError as error:  # as some operator runs on the CPU
            log.info("%s runs without CUDA graphs: %s", path.name, error)
    return open_graph(path, [(_PROVIDER, _PLAIN)]), False


def _room(shape: tuple[int | str, ...], device: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, device, 0)
