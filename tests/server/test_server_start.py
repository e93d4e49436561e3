"""Putting a server together, and what keeps it from starting."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle, load_bundle, write_manifest
from dorian_bundle.graphs import MAX_BATCH_ROWS, GraphFile, Signature
from dorian_server.domain.errors import StartupError
from dorian_server.faces.detector import NetworkDetector
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.methods.cyclegan import CycleGan
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from dorian_server.serving.bundles import build_pipeline
from dorian_server.serving.server import start
from dorian_server.settings import Settings


@pytest.fixture(autouse=True)
def _without_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pipeline is made of is seen without running its graphs; ``address`` warms the embedded ones up."""
    monkeypatch.setattr("dorian_server.serving.bundles.warm_up", lambda session: MAX_BATCH_ROWS)


@pytest.fixture
def broken_folder(default_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the embedded bundle, to be broken."""
    return Path(shutil.copytree(default_bundle.folder, tmp_path / "bundle"))


@pytest.fixture
def two_precisions(broken_folder: Path) -> Bundle:
    """A copy of the embedded bundle whose detector comes in both precisions, with the same weights."""
    bundle = load_bundle(broken_folder)
    graph, path = bundle.manifest.graphs["detector"], "graphs/detector.fp16.onnx"
    shutil.copy(bundle.graph_path("detector"), broken_folder / path)
    files = (GraphFile.of(broken_folder, path, "fp16"), *graph.files)
    graphs = bundle.manifest.graphs | {"detector": graph.model_copy(update={"files": files})}
    write_manifest(broken_folder, bundle.manifest.model_copy(update={"graphs": graphs}))
    return load_bundle(broken_folder)


@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16"])
def test_a_pipeline_runs_the_files_of_the_precision_asked_for(
    two_precisions: Bundle, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    opened = []

    def noting(path: Path, signature: Signature, threads: int) -> OnnxRuntimeSession:
        opened.append((path.name, threads))
        return OnnxRuntimeSession(path, signature, threads)

    monkeypatch.setattr("dorian_server.runtimes.onnx_runtime.OnnxRuntimeSession", noting)
    build_pipeline(Settings(two_precisions.folder, precision=precision, threads=3))
    graphs = two_precisions.manifest.graphs
    expected = dict.fromkeys(graphs, "fp16" if precision == "fp16" else "fp32")
    for name, graph in graphs.items():
        if len(graph.files) == 1:  # there is no choice then
            expected[name] = graph.files[0].precision
    assert sorted(opened) == sorted((f"{name}.{kind}.onnx", 3) for name, kind in expected.items())
    assert expected["detector"] == ("fp16" if precision == "fp16" else "fp32"), "it comes in both"
    assert expected["facenet"] == "fp16", "there is no other"


def test_a_pipeline_has_the_bundles_methods_in_their_order(embedded: Pipeline, default_bundle: Bundle) -> None:
    assert [method.manifest for method in embedded.methods] == list(default_bundle.manifest.methods)
    assert embedded.bundle.sha256 == default_bundle.sha256


def test_each_family_has_its_own_kind_of_method(several_bundle: Bundle) -> None:
    methods = build_pipeline(Settings(several_bundle.folder, threads=1)).methods
    assert [type(method) for method in methods] == [AgeTranslator, AgeCgan, CycleGan]
    assert [method.manifest for method in methods] == list(several_bundle.manifest.methods)


def test_a_pipeline_sees_faces_with_the_bundles_readers(embedded: Pipeline, default_bundle: Bundle) -> None:
    face_reader = embedded.face_reader
    manifest = default_bundle.manifest
    assert face_reader.template == manifest.alignment
    assert face_reader.age_estimator.crop_size == manifest.readers.age_estimator.crop_size
    assert face_reader.embedder.crop_size == manifest.readers.facenet.crop_size
    assert isinstance(face_reader.detector, NetworkDetector)


def test_a_broken_bundle_is_told_in_the_bundles_words(broken_folder: Path) -> None:
    file = broken_folder / "graphs/age_cgan_encoder.fp16.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        StartupError, match=r"^graph file graphs/age_cgan_encoder\.fp16\.onnx has \d+ bytes; the manifest"
    ):
        build_pipeline(Settings(broken_folder))


def test_weights_that_no_hash_covers(broken_folder: Path) -> None:
    """ONNX joins what is appended: here a tensor whose values are in another file."""
    path = "graphs/age_cgan_encoder.fp16.onnx"
    with (broken_folder / path).open("ab") as file:
        file.write(b"\x3a\x13\x2a\x11\x42\x01w\x6a\x0a\x0a\x08location\x70\x01")
    manifest = json.loads((broken_folder / "manifest.json").read_bytes())
    (entry,) = manifest["graphs"]["age_cgan_encoder"]["files"]
    data = (broken_folder / path).read_bytes()
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (broken_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StartupError, match=rf"^graph file {path} has the values of the tensor 'w' in another file"):
        build_pipeline(Settings(broken_folder))


def test_graphs_that_are_not_what_the_manifest_says(broken_folder: Path, default_bundle: Bundle) -> None:
    """The manifest holds together and the hashes are right, but the files of the two graphs are swapped."""
    text = json.loads((broken_folder / "manifest.json").read_bytes())
    encoder, generator = text["graphs"]["age_cgan_encoder"], text["graphs"]["age_cgan_generator"]
    encoder["files"], generator["files"] = generator["files"], encoder["files"]
    (broken_folder / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(StartupError) as caught:
        build_pipeline(Settings(broken_folder))
    result = default_bundle.manifest.graphs["age_cgan_generator"].signature
    assert str(caught.value).startswith(f"the file age_cgan_generator.fp16.onnx has the signature {result}, but")


def test_a_graph_that_comes_in_one_precision_is_served_whatever_is_asked_for(
    embedded: Pipeline, default_bundle: Bundle, portrait: NDArray[np.uint8]
) -> None:
    pipeline = build_pipeline(Settings(default_bundle.folder, precision="fp16", threads=1))
    assert [file.precision for file in default_bundle.manifest.graphs["detector"].files] == ["fp32"]
    (result,), (expected,) = (each.face_reader.detector.detect(portrait) for each in (pipeline, embedded))
    assert result.box == pytest.approx(expected.box, abs=1e-3)


def test_how_large_a_photo_is_looked_at_is_a_setting(default_bundle: Bundle, portrait: NDArray[np.uint8]) -> None:
    """A face of 20 pixels in a photo of 1,920 is one of 7 in a look of 640."""
    photo = np.full((1080, 1920, 3), 128, np.uint8)
    small = cv2.resize(portrait, None, fx=20 / 92, fy=20 / 92, interpolation=cv2.INTER_AREA)
    photo[500 : 500 + len(small), 900 : 900 + small.shape[1]] = small
    for look, count in ((1920, 1), (640, 0)):
        detector = build_pipeline(Settings(default_bundle.folder, look=look, threads=1)).face_reader.detector
        assert len(detector.detect(photo)) == count


@pytest.mark.parametrize("look", [639, 1921])
def test_a_look_that_the_detector_is_not_made_for(look: int) -> None:
    with pytest.raises(ValidationError, match="look"):
        Settings(look=look)


def test_a_port_that_is_taken(address: str, default_bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    host, _, port = address.rpartition(":")
    with pytest.raises(StartupError, match=f"^cannot listen on {address}: "):
        start(Settings(default_bundle.folder, host=host, port=int(port), threads=1))


def test_a_server_starts_on_a_free_port_and_stops(default_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dorian_server"):
        server = start(Settings(default_bundle.folder, host="127.0.0.1", port=0, threads=1))
    try:
        assert server.port > 0
        name, version = default_bundle.manifest.name, default_bundle.manifest.version
        methods = ", ".join(method.name for method in default_bundle.manifest.methods)
        assert f"serving {name} {version} ({methods}) on 127.0.0.1:{server.port}" in caplog.text
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            assert FaceAgingStub(channel).ListMethods(pb.ListMethodsRequest(), timeout=60).bundle == name
    finally:
        server.stop()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, pytest.raises(grpc.RpcError) as caught:
        FaceAgingStub(channel).ListMethods(pb.ListMethodsRequest(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
