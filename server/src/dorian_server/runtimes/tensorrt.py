"""TensorRT itself: engines built from the ONNX files, kept in a cache."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dorian_bundle.engines import default_cache, most_rows, profile_of
from dorian_bundle.graphs import Array, Precision, Signature
from dorian_bundle.tensorrt import open_graph_engine
from dorian_server.runtimes.axes import Sizes, named
from dorian_server.runtimes.device_memory import DeviceMemory
from dorian_server.runtimes.in_parts import run_in_parts


class TensorrtSession:
    """A graph as an engine of TensorRT, given ``rows`` at once at most; the engine is kept in ``cache``.

    ``EngineError`` if it cannot be built or loaded, ``GraphSignatureError`` if it is not of ``expected`` signature.
    """

    def __init__(self, path: Path, expected: Signature, precision: Precision, rows: int, cache: Path | None) -> None:
        profile = profile_of(expected, rows)
        self._engine, _ = open_graph_engine(path, precision, profile, cache or default_cache())
        self._signature = _signature(self._engine, expected)
        expected.require_same(self._signature, f"the engine of {path.name}")
        self._rows = most_rows(profile)
        self._context = self._engine.create_execution_context()
        self._memory = DeviceMemory()
        self._lock = threading.Lock()  # the context, and the memory that it works on, are one

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            return run_in_parts(self._run, inputs, self._rows)

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        context, memory = self._context, self._memory
        for name, values in inputs.items():
            if not context.set_input_shape(name, values.shape):
                raise ValueError(f"{name} has the shape {values.shape}, for which the engine is not made")
            context.set_tensor_address(name, memory.put(name, values))
        outputs: dict[str, Array] = {}
        for spec in self._signature.outputs:
            outputs[spec.name] = np.empty(tuple(context.get_tensor_shape(spec.name)), np.float32)
            context.set_tensor_address(spec.name, memory.room(spec.name, outputs[spec.name].nbytes))
        if not context.execute_async_v3(memory.stream):
            raise RuntimeError("TensorRT did not run the engine; its log says why")
        for name, values in outputs.items():
            memory.get(name, values)
        memory.wait()
        return outputs


def _signature(engine: Any, expected: Signature) -> Signature:
    found: dict[str, dict[str, Sizes]] = {"INPUT": {}, "OUTPUT": {}}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        sizes = [None if size < 0 else size for size in engine.get_tensor_shape(name)]
        found[engine.get_tensor_mode(name).name][name] = sizes
    return named(found["INPUT"], found["OUTPUT"], expected)
