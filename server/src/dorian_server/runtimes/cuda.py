"""ONNX Runtime's CUDA provider: inputs and outputs bound, and a CUDA graph for each size of batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import BATCH, Array, Dimension, Signature
from dorian_server.runtimes.onnx_runtime import open_graph, require_provider, signature_of
from dorian_server.runtimes.session import run_in_chunks

log = logging.getLogger(__name__)

_PROVIDER = "CUDAExecutionProvider"
_DEFAULT_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC"
}  # an exhaustive search would repeat for each shape of an image
_CAPTURE_OPTIONS = {"cudnn_conv_algo_search": "EXHAUSTIVE", "enable_cuda_graph": "1"}


class CudaSession:
    """A graph in ONNX Runtime's CUDA provider.

    Where only the batch varies, batches are padded to a power of two, and each such size is captured as a CUDA graph.

    Args:
        path: The ONNX file.
        expected: The graph's signature in the manifest.
        max_rows: Rows that a CUDA graph is given at once.

    Raises:
        StartupError: ONNX Runtime lacks the provider.
        GraphFileError: It cannot open the file.
        GraphSignatureError: The graph has another signature.
    """

    def __init__(self, path: Path, expected: Signature, max_rows: int) -> None:
        require_provider(_PROVIDER)
        ort.preload_dlls()  # of CUDA and cuDNN, where they were installed by pip
        self._session, self._is_captured = _open(path, expected)
        expected.require_same(self.signature, f"the file {path.name}")
        self._max_rows = max_rows
        self._batches: dict[int, BoundBatch] = {}
        self._lock = threading.Lock()  # a captured graph has one set of buffers

    @property
    def signature(self) -> Signature:
        return signature_of(self._session)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not self._is_captured:
            return run_bound(self._session, inputs)
        with self._lock:
            return run_in_chunks(self._replay, inputs, self._max_rows)

    def _replay(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        size = padded_size(len(next(iter(inputs.values()))), self._max_rows)
        if size not in self._batches:
            self._batches[size] = BoundBatch(self._session, self.signature, size, "cuda")
        return self._batches[size].run(inputs)


class BoundBatch:
    """Inputs and outputs of a session at fixed addresses, for batches of up to ``rows``.

    What a provider captures of the first run is stored under the number of ``rows``, and replayed by the next.

    Args:
        session: The session.
        signature: Its signature.
        rows: Rows of the buffers.
        device: Where the buffers are, as ONNX Runtime names it.
    """

    def __init__(self, session: ort.InferenceSession, signature: Signature, rows: int, device: str) -> None:
        self._session, self._rows = session, rows
        self._binding = session.io_binding()
        self._inputs, self._outputs = (
            {spec.name: _allocate((rows, *spec.shape[1:]), device) for spec in specs}
            for specs in (signature.inputs, signature.outputs)
        )
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(rows))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name for ``inputs`` by name, of at most as many rows as the buffers."""
        rows = len(next(iter(inputs.values())))
        for name, values in inputs.items():
            self._inputs[name].update_inplace(pad_rows(values, self._rows))
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: value.numpy()[:rows].copy() for name, value in self._outputs.items()}


def padded_size(rows: int, max_rows: int) -> int:
    """Return the smallest power of two that holds ``rows``, or ``max_rows`` if that is less."""
    return min(max_rows, 1 << (rows - 1).bit_length())


def pad_rows(values: Array, rows: int) -> Array:
    """Return ``values`` with the last row repeated, up to ``rows``; the graph might divide by rows of zeros."""
    missing = rows - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def run_bound(session: ort.InferenceSession, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs by name for ``inputs`` by name, with one copy of each between CPU and GPU."""
    binding = session.io_binding()
    for name, values in inputs.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(values))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))


def _open(path: Path, expected: Signature) -> tuple[ort.InferenceSession, bool]:
    """Return the opened graph, and whether its runs are captured as CUDA graphs."""
    if all(axis == BATCH or isinstance(axis, int) for spec in expected.inputs for axis in spec.shape):
        try:
            return open_graph(path, [(_PROVIDER, _CAPTURE_OPTIONS)]), True
        except GraphFileError as error:  # as some operator runs on the CPU
            log.info("%s runs without CUDA graphs: %s", path.name, error)
    return open_graph(path, [(_PROVIDER, _DEFAULT_OPTIONS)]), False


def _allocate(shape: tuple[Dimension, ...], device: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, device, 0)
