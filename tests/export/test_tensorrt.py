"""``dorian-export tensorrt``: which engines are built, for what, and where. TensorRT is a fake that builds words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dorian_bundle import Bundle, engine_building
from dorian_bundle.engine_cache import EngineKey, Profile, build_profile
from dorian_bundle.errors import EngineError

Export = Callable[..., Result]


class Builds:
    """Stands for TensorRT; notes the files that engines are built of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[str] = []
        module: Any = type(sys)("tensorrt")
        module.__version__ = "11.0"
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        monkeypatch.setattr(engine_building, "gpu", lambda: "H100 9.0")
        monkeypatch.setattr(engine_building, "build_engine", self.build)
        monkeypatch.setattr(engine_building, "load_engine", lambda data: data)

    def build(self, path: Path, profile: Profile) -> bytes:
        self.files.append(path.name)
        return f"engine of {path.name}".encode()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    return Builds(monkeypatch)


def test_every_file_gets_its_engine_under_the_name_that_a_server_looks_for(
    bundle: Bundle, builds: Builds, export: Export, tmp_path: Path
) -> None:
    result = export("tensorrt", bundle.folder, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    expected = {}
    for name, graph in bundle.manifest.graphs.items():
        for file in graph.files:
            key = EngineKey(file.sha256, "11.0", "H100 9.0", file.precision, build_profile(graph.signature))
            expected[key.file_name] = f"engine of {Path(file.path).name}"
            assert f"{name}, {file.precision}: built\n" in result.output
    assert {path.name: path.read_text() for path in tmp_path.glob("*.engine")} == expected
    assert len(expected) == len(builds.files) == len(bundle.manifest.graphs)


def test_those_that_are_there_are_kept(bundle: Bundle, builds: Builds, export: Export, tmp_path: Path) -> None:
    message = ("tensorrt", bundle.folder, "--out", tmp_path, "--graph", "facenet", "--precision", "fp16")
    assert export(*message).output == "facenet, fp16: built\n"
    assert export(*message).output == "facenet, fp16: was there\n"
    assert builds.files == ["facenet.fp16.onnx"]


def test_graphs_and_precisions_are_chosen(bundle: Bundle, builds: Builds, export: Export, tmp_path: Path) -> None:
    """A graph of one precision is built in it, whatever is asked for, as a server would run it."""
    selected = ("--graph", "facenet", "--graph", "detector", "--precision", "fp32")
    assert export("tensorrt", bundle.folder, "--out", tmp_path, *selected).exit_code == 0
    assert builds.files == ["facenet.fp16.onnx", "detector.fp32.onnx"]


def test_a_graph_that_the_bundle_lacks(bundle: Bundle, builds: Builds, export: Export, tmp_path: Path) -> None:
    result = export("tensorrt", bundle.folder, "--out", tmp_path, "--graph", "faces")
    assert result.exit_code == 2
    assert "the bundle has no graph 'faces'; it has" in result.output
    assert builds.files == []


def test_an_engine_that_cannot_be_built(
    bundle: Bundle,
    builds: Builds,
    export: Export,
    refused: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: Path, profile: Profile) -> bytes:
        raise EngineError(f"TensorRT cannot build {path.name}")

    monkeypatch.setattr(engine_building, "build_engine", fail)
    assert refused(export("tensorrt", bundle.folder, "--out", tmp_path), "TensorRT cannot build")


def test_without_tensorrt(
    bundle: Bundle, export: Export, refused: Callable[..., bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    result = export("tensorrt", bundle.folder, "--out", tmp_path)
    assert refused(result, "TensorRT is not installed", "pip install 'dorian-bundle[tensorrt]'")


def test_no_bundle(export: Export, refused: Callable[..., bool], tmp_path: Path) -> None:
    assert refused(export("tensorrt", tmp_path, "--out", tmp_path / "cache"), "is no bundle")
