"""TensorRT: engines built from the ONNX files and kept in a cache, run on buffers in the GPU's memory."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import runtime as cuda

from dorian_bundle.engine_building import open_graph_engine
from dorian_bundle.engine_cache import build_profile, default_cache, largest_batch
from dorian_bundle.graphs import Array, Precision, Signature
from dorian_server.runtimes.session import Sizes, named_signature, run_in_chunks


class TensorrtSession:
    """A graph as an engine of TensorRT.

    Args:
        path: The ONNX file.
        expected: The graph's signature in the manifest.
        precision: Precision of the file.
        max_rows: Rows that the engine is given at once.
        cache: Folder in which engines are kept; ``None`` for the user's.

    Raises:
        EngineError: The engine cannot be built or loaded.
        GraphSignatureError: It has another signature.
    """

    def __init__(
        self, path: Path, expected: Signature, precision: Precision, max_rows: int, cache: Path | None
    ) -> None:
        profile = build_profile(expected, max_rows)
        self._engine, _ = open_graph_engine(path, precision, profile, cache or default_cache())
        self._signature = _signature_of(self._engine, expected)
        expected.require_same(self._signature, f"the engine of {path.name}")
        self._max_rows = largest_batch(profile)
        self._context = self._engine.create_execution_context()
        self._memory = DeviceMemory()
        self._lock = threading.Lock()  # the context, and the memory that it works on, are one

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            return run_in_chunks(self._run_chunk, inputs, self._max_rows)

    def _run_chunk(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        context, memory = self._context, self._memory
        for name, values in inputs.items():
            if not context.set_input_shape(name, values.shape):
                raise ValueError(f"{name} has the shape {values.shape}, for which the engine is not made")
            context.set_tensor_address(name, memory.upload(name, values))
        outputs: dict[str, Array] = {}
        for spec in self._signature.outputs:
            outputs[spec.name] = np.empty(tuple(context.get_tensor_shape(spec.name)), np.float32)
            context.set_tensor_address(spec.name, memory.reserve(spec.name, outputs[spec.name].nbytes))
        if not context.execute_async_v3(memory.stream):
            raise RuntimeError("TensorRT did not run the engine; its log says why")
        for name, values in outputs.items():
            memory.download(name, values)
        memory.synchronize()
        return outputs


class DeviceMemory:
    """A buffer in the GPU's memory for each name, and the stream of copies; for one thread at a time.

    Every method raises ``RuntimeError`` for an error of CUDA.
    """

    def __init__(self) -> None:
        self.stream = int(_checked(cuda.cudaStreamCreate()))
        self._buffers: dict[str, tuple[int, int]] = {}  # address, bytes
        weakref.finalize(self, _free, self.stream, self._buffers)

    def reserve(self, name: str, size: int) -> int:
        """Return the address of the buffer ``name``, grown to at least ``size`` bytes."""
        address, capacity = self._buffers.get(name, (0, 0))
        if capacity < size:
            if capacity:
                _checked(cuda.cudaFree(address))
                del self._buffers[name]
            address = int(_checked(cuda.cudaMalloc(size)))
            self._buffers[name] = address, size
        return address

    def upload(self, name: str, values: Array) -> int:
        """Begin to copy ``values`` to the buffer ``name``, and return its address."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        address = self.reserve(name, values.nbytes)
        kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        _checked(cuda.cudaMemcpyAsync(address, values.ctypes.data, values.nbytes, kind, self.stream))
        return address

    def download(self, name: str, values: Array) -> None:
        """Begin to copy the buffer ``name`` into ``values``, which is contiguous; complete after ``synchronize``."""
        address, _ = self._buffers[name]
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _checked(cuda.cudaMemcpyAsync(values.ctypes.data, address, values.nbytes, kind, self.stream))

    def synchronize(self) -> None:
        """Wait for all copies and runs on the stream."""
        _checked(cuda.cudaStreamSynchronize(self.stream))


def _signature_of(engine: Any, expected: Signature) -> Signature:
    sizes: dict[str, dict[str, Sizes]] = {"INPUT": {}, "OUTPUT": {}}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        shape = [None if size < 0 else size for size in engine.get_tensor_shape(name)]
        sizes[engine.get_tensor_mode(name).name][name] = shape
    return named_signature(sizes["INPUT"], sizes["OUTPUT"], expected)


def _checked(result: tuple[Any, ...]) -> Any:
    """Return what a call of CUDA gives beside its error."""
    error, *values = result
    if int(error) != 0:
        raise RuntimeError(f"CUDA says {error.name}")
    return values[0] if values else None


def _free(stream: int, buffers: dict[str, tuple[int, int]]) -> None:
    for address, _ in buffers.values():
        cuda.cudaFree(address)
    cuda.cudaStreamDestroy(stream)
