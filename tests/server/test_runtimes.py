"""The choice of a runtime, and those on a GPU: none is replaced by another in silence. GPUs are fakes, but for tests marked so."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle, GraphFileError
from dorian_bundle.engine_cache import Range
from dorian_bundle.graphs import Signature, TensorSpec
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes import cuda, onnx_runtime
from dorian_server.runtimes.cuda import BoundBatch, pad_rows, padded_size, run_bound
from dorian_server.runtimes.factory import open_session
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession, open_graph
from dorian_server.runtimes.options import Runtime, SessionOptions
from dorian_server.runtimes.session import named_signature, run_in_chunks
from dorian_server.runtimes.tensorrt_ep import provider_options
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Settings

NAME = "landmark_refiner"
GPU_TOLERANCE = 2e-3  # of landmarks, in parts of the view's side: TF32 and half precision

Floats = NDArray[np.float32]
needs_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers(), reason="needs onnxruntime-gpu and an NVIDIA GPU"
)
needs_tensorrt = pytest.mark.skipif(find_spec("tensorrt") is None, reason="needs TensorRT and an NVIDIA GPU")


def opened(bundle: Bundle, runtime: Runtime, **options: Any) -> Any:
    graph = bundle.manifest.graphs[NAME]
    return open_session(runtime, bundle.graph_path(NAME), graph.signature, SessionOptions(**options))


def views(rows: int) -> dict[str, Floats]:
    return {"image": np.random.default_rng(rows).random((rows, 3, 96, 96), dtype=np.float32)}


# --- what is not there ---


def test_onnx_runtime_on_the_cpu_is_the_usual_one(default_bundle: Bundle) -> None:
    assert Settings(Path()).runtime == "onnxruntime"
    assert isinstance(opened(default_bundle, "onnxruntime", threads=1), OnnxRuntimeSession)


@pytest.mark.parametrize(
    ("runtime", "module", "words"),
    [
        ("openvino", "openvino", r"openvino, .*'dorian-server\[openvino\]'"),
        ("tensorrt", "tensorrt", r"tensorrt, .*'dorian-server\[tensorrt\]'"),
        ("tensorrt-ep", "filelock", r"filelock, .*'dorian-server\[tensorrt\]'"),
    ],
)
def test_a_runtime_that_is_not_installed_is_an_error(
    default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, runtime: Runtime, module: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StartupError, match=f"the runtime {runtime} needs the module {words}"):
        build_pipeline(Settings(default_bundle.folder, runtime=runtime))


@pytest.mark.parametrize(
    ("runtime", "provider"), [("cuda", "CUDAExecutionProvider"), ("tensorrt-ep", "TensorrtExecutionProvider")]
)
def test_a_provider_that_onnx_runtime_lacks_is_an_error(
    default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, runtime: Runtime, provider: str
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match=rf"has no {provider}, only CPUExecutionProvider; .*onnxruntime-gpu\["):
        build_pipeline(Settings(default_bundle.folder, runtime=runtime))


@pytest.mark.parametrize("runtime", ["cuda", "tensorrt-ep"])
def test_a_provider_that_onnx_runtime_leaves_out_is_an_error(
    default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: Runtime
) -> None:
    """It has the provider, but not the GPU; it then opens the graph on the CPU and says so in its log alone."""
    requested = []

    def opened_elsewhere(path: str, options: object, providers: list[Any], enable_fallback: int) -> Any:
        requested.append((providers[0][0], enable_fallback))
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnx_runtime.ort, "InferenceSession", opened_elsewhere)
    provider = {"cuda": "CUDAExecutionProvider", "tensorrt-ep": "TensorrtExecutionProvider"}[runtime]
    with pytest.raises(StartupError, match=rf"has {provider}, but opened .*\.onnx in CPUExecutionProvider instead"):
        build_pipeline(Settings(default_bundle.folder, runtime=runtime, engine_cache=tmp_path))
    assert set(requested) == {(provider, 0)}, "neither may ONNX Runtime try again by itself"


@pytest.mark.parametrize("runtime", ["onnxruntime", "cuda", "tensorrt-ep", "tensorrt"])
@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_arithmetic_is_openvinos(default_bundle: Bundle, runtime: Runtime, arithmetic: str) -> None:
    with pytest.raises(StartupError, match=f"{arithmetic} can be asked of openvino alone; {runtime} has"):
        opened(default_bundle, runtime, arithmetic=arithmetic)


# --- ONNX Runtime's threads ---


@pytest.mark.parametrize(("threads", "expected"), [(0, 5), (3, 3)])
def test_threads_come_from_the_cgroup_and_do_not_spin(
    default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, threads: int, expected: int
) -> None:
    monkeypatch.setattr(onnx_runtime, "available_cores", lambda: 5)
    recorded = []
    make = ort.InferenceSession

    def noting(path: str, options: ort.SessionOptions, **others: Any) -> ort.InferenceSession:
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        recorded.append((options.intra_op_num_threads, spinning))
        return make(path, options, **others)

    monkeypatch.setattr(ort, "InferenceSession", noting)
    opened(default_bundle, "onnxruntime", threads=threads)
    assert recorded == [(expected, "0")]


# --- batches of a fixed size ---


def test_buckets_are_powers_of_two_up_to_the_most() -> None:
    assert [padded_size(rows, 32) for rows in (1, 2, 3, 4, 5, 9, 17, 32)] == [1, 2, 4, 4, 8, 16, 32, 32]
    assert padded_size(5, 6) == 6


def test_rows_that_fill_a_batch_are_the_last_one_again() -> None:
    values = np.asarray([[1, 2], [3, 4]], np.float32)
    assert pad_rows(values, 4).tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]
    assert pad_rows(values, 2) is values


def test_parts_are_joined_in_order() -> None:
    recorded = []

    def run(inputs: Any) -> dict[str, Floats]:
        recorded.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2, "z": inputs["x"][:, :1]}

    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    result = run_in_chunks(run, {"x": values}, 3)
    assert recorded == [3, 3, 1]
    assert np.array_equal(result["y"], values * 2)
    assert np.array_equal(result["z"], values[:, :1])


@pytest.fixture
def on_cpu(default_bundle: Bundle) -> ort.InferenceSession:
    return open_graph(default_bundle.graph_path(NAME), [("CPUExecutionProvider", {})], 1)


def test_a_bound_batch_gives_what_a_run_gives(default_bundle: Bundle, on_cpu: ort.InferenceSession) -> None:
    batch = BoundBatch(on_cpu, default_bundle.manifest.graphs[NAME].signature, 4, "cpu")
    result = [batch.run(views(rows))["landmarks"] for rows in (3, 4, 1)]
    for rows, values in zip((3, 4, 1), result, strict=True):
        assert values.shape == (rows, 73, 2)
        assert np.allclose(values, on_cpu.run(None, views(rows))[0], atol=1e-6), "a later run wrote over it"


def test_a_bound_run_gives_what_a_run_gives(on_cpu: ort.InferenceSession) -> None:
    inputs = {"image": views(2)["image"][..., ::-1]}  # not contiguous
    expected, _ = on_cpu.run(None, {"image": np.ascontiguousarray(inputs["image"])})
    assert np.array_equal(run_bound(on_cpu, inputs)["landmarks"], expected)


class CudaOnCpu:
    """Lets ``CudaSession`` run on the CPU; notes which graphs were to be captured, and can refuse to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses = False
        self.captured: list[bool] = []
        monkeypatch.setattr(cuda, "require_provider", lambda name: None)
        monkeypatch.setattr(ort, "preload_dlls", lambda: None)
        monkeypatch.setattr(cuda, "open_graph", self.open)
        room = cuda._allocate
        monkeypatch.setattr(cuda, "_allocate", lambda shape, device: room(shape, {"cuda": "cpu"}[device]))

    def open(self, path: Path, providers: list[Any]) -> ort.InferenceSession:
        ((name, options),) = providers
        assert name == "CUDAExecutionProvider"
        self.captured.append("enable_cuda_graph" in options)
        if self.refuses and self.captured[-1]:
            raise GraphFileError("not all nodes are in the provider")
        return open_graph(path, [("CPUExecutionProvider", {})], 1)


@pytest.fixture
def cuda_on_cpu(monkeypatch: pytest.MonkeyPatch) -> CudaOnCpu:
    return CudaOnCpu(monkeypatch)


@pytest.mark.parametrize("refuses", [False, True])
def test_cuda_gives_what_the_cpu_gives(
    default_bundle: Bundle, on_cpu: ort.InferenceSession, cuda_on_cpu: CudaOnCpu, refuses: bool
) -> None:
    cuda_on_cpu.refuses = refuses
    session = opened(default_bundle, "cuda", max_rows=4)
    assert cuda_on_cpu.captured == ([True, False] if refuses else [True])
    assert session.signature == default_bundle.manifest.graphs[NAME].signature
    for rows in (3, 9, 1):  # filled up; in parts; alone
        assert np.allclose(session.run(views(rows))["landmarks"], on_cpu.run(None, views(rows))[0], atol=1e-6)


def test_pictures_of_any_size_are_not_captured(default_bundle: Bundle, cuda_on_cpu: CudaOnCpu) -> None:
    graph = default_bundle.manifest.graphs["detector"]
    session = open_session("cuda", default_bundle.graph_path("detector"), graph.signature, SessionOptions())
    assert cuda_on_cpu.captured == [False]
    assert session.run({"image": np.zeros((1, 3, 64, 96), np.float32)})["kps_32"].shape == (1, 2 * 3, 10)


# --- TensorRT ---


def test_the_provider_is_told_all_shapes(tmp_path: Path) -> None:
    profile = {"image": Range((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)), "age": Range((1,), (2,), (4,))}
    options = provider_options(profile, tmp_path)
    assert options["trt_profile_min_shapes"] == "image:1x3x8x8,age:1"
    assert options["trt_profile_opt_shapes"] == "image:2x3x8x8,age:2"
    assert options["trt_profile_max_shapes"] == "image:4x3x8x8,age:4"
    assert options["trt_engine_cache_path"] == str(tmp_path)


def test_free_axes_are_called_as_those_that_are_free_in_the_manifest() -> None:
    expected = Signature(
        inputs=(TensorSpec(name="x", shape=("batch", 2)),), outputs=(TensorSpec(name="y", shape=("batch", 3)),)
    )
    assert named_signature({"x": (None, 2)}, {"y": (None, 3)}, expected) == expected
    result = named_signature({"x": (None, None)}, {"y": (1, 3), "z": (None,)}, expected)
    assert str(result) == "(x float32[batch, ?]) -> (y float32[1, 3], z float32[?])"


# --- on a GPU ---


@pytest.mark.gpu
@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("cuda", marks=needs_cuda),
        pytest.param("tensorrt-ep", marks=needs_cuda),
        pytest.param("tensorrt", marks=needs_tensorrt),
    ],
)
def test_a_gpu_gives_what_the_cpu_gives(
    default_bundle: Bundle, on_cpu: ort.InferenceSession, tmp_path: Path, runtime: Runtime
) -> None:
    session = opened(default_bundle, runtime, engine_cache=tmp_path)
    for rows in (3, 1, 8, 40, 3):
        result = session.run(views(rows))["landmarks"]
        assert np.abs(result - on_cpu.run(None, views(rows))[0]).max() < GPU_TOLERANCE
