"""Memory of the GPU for a session's inputs and outputs, and the stream that they are copied on."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from cuda.bindings import runtime as cuda

from dorian_bundle.graphs import Array


class DeviceMemory:
    """A buffer for each name, which grows as it must; for one thread at a time. ``RuntimeError`` for what CUDA refuses."""

    def __init__(self) -> None:
        self.stream = int(_checked(cuda.cudaStreamCreate()))
        self._buffers: dict[str, tuple[int, int]] = {}  # address, bytes
        weakref.finalize(self, _give_back, self.stream, self._buffers)

    def room(self, name: str, size: int) -> int:
        """The address of ``size`` bytes at least."""
        address, held = self._buffers.get(name, (0, 0))
        if held < size:
            if held:
                _checked(cuda.cudaFree(address))
                del self._buffers[name]
            address = int(_checked(cuda.cudaMalloc(size)))
            self._buffers[name] = address, size
        return address

    def put(self, name: str, values: Array) -> int:
        """Copy ``values`` to the GPU; returns where to."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        address = self.room(name, values.nbytes)
        kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        _checked(cuda.cudaMemcpyAsync(address, values.ctypes.data, values.nbytes, kind, self.stream))
        return address

    def get(self, name: str, values: Array) -> None:
        """Copy what is under ``name`` into ``values``, which is contiguous and holds it after ``wait``."""
        address, _ = self._buffers[name]
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _checked(cuda.cudaMemcpyAsync(values.ctypes.data, address, values.nbytes, kind, self.stream))

    def wait(self) -> None:
        """Until all copies and runs on the stream are done."""
        _checked(cuda.cudaStreamSynchronize(self.stream))


def _checked(result: tuple[Any, ...]) -> Any:
    """What a call of CUDA gives beside its error."""
    error, *values = result
    if int(error) != 0:
        raise RuntimeError(f"CUDA says {error.name}")
    return values[0] if values else None


def _give_back(stream: int, buffers: dict[str, tuple[int, int]]) -> None:
    for address, _ in buffers.values():
        cuda.cudaFree(address)
    cuda.cudaStreamDestroy(stream)
