"""The cache of engines: what they are made for, one build whatever happens, and no half files. TensorRT is a fake."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dorian_bundle import engine_building as building
from dorian_bundle.engine_cache import EngineKey, Range, build_profile, default_cache, largest_batch, open_engine
from dorian_bundle.errors import EngineError
from dorian_bundle.face_detection import MAX_SIDE
from dorian_bundle.face_readers import detector_signature
from dorian_bundle.families.age_translator import age_translator_signature
from dorian_bundle.stored_files import sha256_of

PROFILE = {"image": Range((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}
KEY = EngineKey("ab" * 32, "11.0", "H100 9.0", "fp16", PROFILE)


class Builder:
    """Builds engines, which are numbered, and loads them unless they are among the ``broken``."""

    def __init__(self, *broken: bytes) -> None:
        self.built = 0
        self.broken = set(broken)

    def build(self) -> bytes:
        self.built += 1
        return b"engine %d" % self.built

    def load(self, data: bytes) -> str:
        if data in self.broken:
            raise EngineError(f"{data!r} is broken")
        return data.decode()

    def open(self, folder: Path, key: EngineKey = KEY) -> tuple[str, bool]:
        return open_engine(folder, key, self.build, self.load)


def engines(folder: Path) -> dict[str, bytes]:
    """All files but locks, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


# --- what an engine is made for ---


def test_a_profile_of_crops_goes_from_one_row_to_all() -> None:
    shapes = build_profile(age_translator_signature(96), 32)
    assert list(shapes) == ["image", "source_age", "target_age"]
    assert shapes["image"] == Range((1, 3, 96, 96), (8, 3, 96, 96), (32, 3, 96, 96))
    assert shapes["source_age"] == Range((1,), (8,), (32,))
    assert largest_batch(shapes) == 32
    assert build_profile(age_translator_signature(96), 4)["target_age"] == Range((1,), (4,), (4,))


def test_a_profile_of_pictures_takes_all_sizes_that_the_detector_is_given() -> None:
    shapes = build_profile(detector_signature(), 32)
    assert shapes == {"image": Range((1, 3, 32, 32), (1, 3, 640, 640), (4, 3, MAX_SIDE, MAX_SIDE))}
    assert MAX_SIDE % 32 == 0, "or padding would go beyond"


@pytest.mark.parametrize(
    "other",
    [
        {"graph": "cd" * 32},
        {"tensorrt": "11.1"},
        {"gpu": "L4 8.9"},
        {"precision": "fp32"},
        {"profile": {"image": replace(PROFILE["image"], most=(5, 3, 8, 8))}},
    ],
)
def test_whatever_an_engine_depends_on_is_in_its_name(tmp_path: Path, other: dict[str, Any]) -> None:
    changed = replace(KEY, **other)
    assert changed.file_name != KEY.file_name
    assert replace(KEY).file_name == KEY.file_name
    builder = Builder()
    assert [builder.open(tmp_path, key)[0] for key in (KEY, changed, KEY)] == ["engine 1", "engine 2", "engine 1"]


def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "dorian" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "dorian" / "engines"


# --- the cache ---


def test_an_engine_is_built_once_and_then_read(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    builder = Builder()
    assert builder.open(folder) == ("engine 1", True)
    assert builder.open(folder) == ("engine 1", False)
    assert Builder().open(folder) == ("engine 1", False)
    assert builder.built == 1
    assert engines(folder) == {KEY.file_name: b"engine 1"}


def test_one_that_does_not_load_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / KEY.file_name).write_bytes(b"of another version")
    builder = Builder(b"of another version")
    assert builder.open(tmp_path) == ("engine 1", True)
    assert engines(tmp_path) == {KEY.file_name: b"engine 1"}
    assert "is built again: b'of another version' is broken" in caplog.text


def test_it_is_built_again_only_once(tmp_path: Path) -> None:
    (tmp_path / KEY.file_name).write_bytes(b"old")
    builder = Builder(b"old", b"engine 1")
    with pytest.raises(EngineError, match="engine 1"):
        builder.open(tmp_path)
    assert builder.built == 1
    assert engines(tmp_path) == {}, "what does not load is not kept"


def test_a_build_that_fails_leaves_nothing_and_no_lock(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        open_engine(tmp_path, KEY, fail, Builder().load)
    assert engines(tmp_path) == {}
    assert Builder().open(tmp_path) == ("engine 1", True)


def test_a_write_that_is_cut_off_leaves_no_part_of_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            Builder().open(tmp_path)
    assert engines(tmp_path) == {}


PROGRAM = """
import sys, time
from pathlib import Path
from dorian_bundle.engine_cache import EngineKey, open_engine

folder = Path(sys.argv[1])

def build():
    with (folder / "builds.txt").open("a") as file:
        file.write("built\\n")
    time.sleep(0.5)  # the other comes meanwhile
    return b"x" * 1_000_000

engine, _ = open_engine(folder, EngineKey("0" * 64, "11", "gpu", "fp32", {}), build, bytes)
print(len(engine))
"""


def test_processes_that_come_at_once_build_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    running = [subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate(timeout=120) for process in running]
    assert ended == [("1000000\n", "")] * 3
    assert (tmp_path / "builds.txt").read_text() == "built\n"


def test_without_filelock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(EngineError, match=r"pip install 'dorian-bundle\[tensorrt\]'"):
        Builder().open(tmp_path)


# --- TensorRT ---


class FakeTensorrt(ModuleType):
    """What ``dorian_bundle.engine_building`` uses of TensorRT; an engine is the words of what was asked for."""

    def __init__(self, version: str = "11.0.0") -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.readable, self.buildable = True, True
        self.Logger: Any = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)

    def Builder(self, logger: object) -> Any:
        shapes: list[str] = []
        profile = SimpleNamespace(set_shape=lambda *message: shapes.append(str(message)))
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags),
            create_builder_config=lambda: SimpleNamespace(add_optimization_profile=lambda profile: None),
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: self._built(network, shapes),
        )

    def _built(self, network: Any, shapes: list[str]) -> bytes | None:
        message = f"{self.__version__}|{network.flags}|{network.onnx.decode()}|{shapes}"
        return message.encode() if self.buildable else None

    def OnnxParser(self, network: Any, logger: object) -> Any:
        def parse(data: bytes) -> bool:
            network.onnx = data
            return self.readable

        return SimpleNamespace(parse=parse, num_errors=1, get_error=lambda index: "no such operator")

    def Runtime(self, logger: object) -> Any:
        mine = self.__version__.encode()
        return SimpleNamespace(deserialize_cuda_engine=lambda data: data if data.startswith(mine) else None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTensorrt:
    module = FakeTensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(building, "gpu", lambda: "H100 9.0")
    return module


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "g.onnx"
    path.write_bytes(b"graph")
    return path


def test_engines_are_of_the_files_types_and_the_profiles_shapes(
    fake: FakeTensorrt, graph: Path, tmp_path: Path
) -> None:
    engine, built = building.open_graph_engine(graph, "fp16", PROFILE, tmp_path / "cache")
    assert built
    assert engine == b"11.0.0|2|graph|[\"('image', (1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))\"]"
    key = EngineKey(sha256_of(graph), "11.0.0", "H100 9.0", "fp16", PROFILE)
    assert engines(tmp_path / "cache") == {key.file_name: engine}
    assert building.open_graph_engine(graph, "fp16", PROFILE, tmp_path / "cache") == (engine, False)


def test_another_version_builds_its_own(fake: FakeTensorrt, graph: Path, tmp_path: Path) -> None:
    for version in ("11.0.0", "11.1.0"):
        fake.__version__ = version
        engine, built = building.open_graph_engine(graph, "fp16", PROFILE, tmp_path / "cache")
        assert (engine[:6].decode(), built) == (version, True)
    assert len(engines(tmp_path / "cache")) == 2


def test_what_tensorrt_refuses_is_told(fake: FakeTensorrt, graph: Path, tmp_path: Path) -> None:
    fake.buildable = False
    with pytest.raises(EngineError, match=r"TensorRT 11\.0\.0 cannot build an engine of g\.onnx"):
        building.open_graph_engine(graph, "fp16", PROFILE, tmp_path)
    fake.readable = False
    with pytest.raises(EngineError, match=r"TensorRT 11\.0\.0 cannot read g\.onnx: no such operator"):
        building.open_graph_engine(graph, "fp16", PROFILE, tmp_path)
    with pytest.raises(EngineError, match="cannot load it"):
        building.load_engine(b"10.9 ...")


def test_without_tensorrt(monkeypatch: pytest.MonkeyPatch, graph: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"TensorRT is not installed .* pip install 'dorian-bundle\[tensorrt\]'"):
        building.open_graph_engine(graph, "fp16", PROFILE, tmp_path)


def test_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(EngineError, match="cuda-bindings"):
        building.gpu()


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Status(int):
        name = "cudaErrorNoDevice"

    runtime = SimpleNamespace(cudaGetDeviceProperties=lambda index: (Status(100), None))
    bindings = SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    with pytest.raises(EngineError, match="no GPU that CUDA can use: cudaErrorNoDevice"):
        building.gpu()


def test_the_gpus_name(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name=b"NVIDIA H100", major=9, minor=0)
    runtime = SimpleNamespace(cudaGetDeviceProperties=lambda index: (0, properties))
    bindings = SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    assert building.gpu() == "NVIDIA H100 9.0"
