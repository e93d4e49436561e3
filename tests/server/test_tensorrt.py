"""TensorRT's session on a fake of CUDA and of an engine: what is copied where, in parts, and what is refused."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dorian_bundle import GraphSignatureError, engine_building
from dorian_bundle.graphs import Signature, TensorSpec
from dorian_server.runtimes.factory import open_session
from dorian_server.runtimes.options import SessionOptions


class FakeCuda:
    """CUDA's memory, in this process's own; copies wait for the stream, as a GPU's may."""

    def __init__(self) -> None:
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        self.held: dict[int, Any] = {}
        self.waiting: list[Any] = []
        self.failing = False

    def cudaStreamCreate(self) -> tuple[int, int]:
        return 0, 7

    def cudaMalloc(self, size: int) -> tuple[Any, int]:
        if self.failing:
            return Failure(), 0
        buffer = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def cudaFree(self, address: int) -> tuple[int]:
        del self.held[address]
        return (0,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        assert stream == 7
        if kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice:
            ctypes.memmove(to, source, size)
        else:
            self.waiting.append(lambda: ctypes.memmove(to, source, size))
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        while self.waiting:
            self.waiting.pop(0)()
        return (0,)

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        return (0,)


class Failure(int):
    """An error of CUDA."""

    name = "cudaErrorMemoryAllocation"

    def __new__(cls) -> Failure:
        return super().__new__(cls, 2)


class FakeEngine:
    """An engine x[n, 2] → y[n, 2] that doubles; takes at most four rows."""

    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name="INPUT" if name == "x" else "OUTPUT")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return -1, 2

    def create_execution_context(self) -> FakeContext:
        return FakeContext()


class FakeContext:
    def __init__(self) -> None:
        self.rows, self.works = 0, True
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.rows = shape[0]
        return shape[0] <= 4 and shape[1:] == (2,)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.rows, 2

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        x, y = (
            np.ctypeslib.as_array((ctypes.c_float * (2 * self.rows)).from_address(self.addresses[name]))
            for name in "xy"
        )
        y[:] = 2 * x
        return self.works


DOUBLING = Signature(
    inputs=(TensorSpec(name="x", shape=("batch", 2)),), outputs=(TensorSpec(name="y", shape=("batch", 2)),)
)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    runtime = FakeCuda()
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = runtime  # type: ignore[attr-defined]
    for name, module in {
        "cuda": ModuleType("cuda"),
        "cuda.bindings": bindings,
        "tensorrt": ModuleType("tensorrt"),
    }.items():
        module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        engine_building, "open_graph_engine", lambda path, precision, profile, folder: (FakeEngine(), True)
    )
    ours = ("dorian_server.runtimes.tensorrt",)
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield runtime
    for name in ours:
        sys.modules.pop(name, None)


def test_an_engine_runs_on_memory_of_the_gpu(fake_cuda: FakeCuda) -> None:
    session = open_session("tensorrt", Path("g.onnx"), DOUBLING, SessionOptions(max_rows=4))
    assert session.signature == DOUBLING
    for rows in (2, 1, 4, 11):  # room that grows, and parts
        values = np.random.default_rng(rows).random((rows, 4), dtype=np.float32)[:, ::2]  # not contiguous
        assert np.array_equal(session.run({"x": values})["y"], values * 2)
    assert sorted(len(buffer) for buffer in fake_cuda.held.values()) == [32, 32], "what was outgrown is given back"
    del session
    assert fake_cuda.held == {}


def test_shapes_that_an_engine_is_not_made_for_are_refused(fake_cuda: FakeCuda) -> None:
    session = open_session("tensorrt", Path("g.onnx"), DOUBLING, SessionOptions(max_rows=4))
    with pytest.raises(ValueError, match=r"x has the shape \(1, 3\)"):
        session.run({"x": np.zeros((1, 3), np.float32)})


def test_what_cuda_refuses_is_told(fake_cuda: FakeCuda) -> None:
    session = open_session("tensorrt", Path("g.onnx"), DOUBLING, SessionOptions(max_rows=4))
    fake_cuda.failing = True
    with pytest.raises(RuntimeError, match="CUDA says cudaErrorMemoryAllocation"):
        session.run({"x": np.zeros((1, 2), np.float32)})


def test_another_engine_than_the_manifest_says(fake_cuda: FakeCuda) -> None:
    expected = Signature(inputs=DOUBLING.inputs, outputs=(TensorSpec(name="y", shape=("batch", 3)),))
    with pytest.raises(GraphSignatureError, match=r"the engine of g\.onnx has the signature .*y float32\[batch, 2\]"):
        open_session("tensorrt", Path("g.onnx"), expected, SessionOptions())
