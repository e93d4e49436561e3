"""Loading a bundle: the embedded one passes, and each way to break it is told in words that name what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dorian_bundle import GraphFileError, ManifestError, load_bundle, write_manifest
from dorian_bundle.graphs import GraphFile
from dorian_bundle.manifest import SCHEMA_VERSION
from tests.bundle.onnx_encoding import empty_model

Content = dict[str, Any]
EditManifest = Callable[[Callable[[Content], object]], None]

LIMIT_BYTES = 75_000_000
ENCODER = "graphs/age_cgan_encoder.fp16.onnx"
DETECTOR, HALF_DETECTOR = "graphs/detector.fp32.onnx", "graphs/detector.fp16.onnx"


def method(content: Content) -> Content:
    """The manifest's first method."""
    first: Content = content["methods"][0]
    return first


def encoder_file(content: Content) -> Content:
    """The manifest's entry for ``ENCODER``."""
    file: Content = content["graphs"]["age_cgan_encoder"]["files"][0]
    assert file["path"] == ENCODER
    return file


def drop_last_group(content: Content) -> None:
    groups = method(content)["age_groups"]
    groups.pop()
    groups[-1]["high"] = None


def test_the_embedded_bundle_loads(default_bundle: Path) -> None:
    bundle = load_bundle(default_bundle)
    data = (default_bundle / "manifest.json").read_bytes()
    assert bundle.folder == default_bundle
    assert bundle.sha256 == hashlib.sha256(data).hexdigest()
    assert bundle.manifest.model_dump(mode="json") == json.loads(data)


def test_the_embedded_bundle_is_small_enough_for_the_repository(default_bundle: Path) -> None:
    files = [file for graph in load_bundle(default_bundle).manifest.graphs.values() for file in graph.files]
    assert sum(file.bytes for file in files) <= LIMIT_BYTES


@pytest.fixture
def two_precisions(folder: Path) -> Path:
    """A copy of the embedded bundle whose detector comes in both precisions."""
    (folder / HALF_DETECTOR).write_bytes(empty_model("half"))
    manifest = load_bundle(folder).manifest
    graph = manifest.graphs["detector"]
    files = (GraphFile.of(folder, HALF_DETECTOR, "fp16"), *graph.files)
    graphs = manifest.graphs | {"detector": graph.model_copy(update={"files": files})}
    write_manifest(folder, manifest.model_copy(update={"graphs": graphs}))
    return folder


def test_graphs_are_found_by_name_and_precision(two_precisions: Path) -> None:
    bundle = load_bundle(two_precisions)
    assert bundle.graph_path("detector") == bundle.graph_path("detector", "fp32") == two_precisions / DETECTOR
    assert bundle.graph_path("detector", "fp16") == two_precisions / HALF_DETECTOR
    assert bundle.graph_path("facenet") == two_precisions / "graphs/facenet.fp16.onnx"
    with pytest.raises(GraphFileError, match="no fp32 file; there is fp16"):
        bundle.graph_path("facenet", "fp32")


def test_what_is_written_is_what_loads(folder: Path) -> None:
    before = load_bundle(folder)
    renamed = before.manifest.model_copy(update={"name": "Âge", "version": "9.9.9"})
    write_manifest(folder, renamed)
    after = load_bundle(folder)
    assert after.manifest == renamed
    assert after.sha256 != before.sha256
    assert "Âge" in (folder / "manifest.json").read_text(encoding="utf-8")
    write_manifest(folder, after.manifest)
    assert load_bundle(folder).sha256 == after.sha256


def test_any_change_of_the_manifest_changes_the_bundles_hash(folder: Path, edit_manifest: EditManifest) -> None:
    before = load_bundle(folder).sha256
    edit_manifest(lambda content: content.update(version="0.0.0"))
    assert load_bundle(folder).sha256 != before


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_bundle(tmp_path)
    assert str(caught.value) == f"{tmp_path} is no bundle: it has no manifest.json"
    with pytest.raises(ManifestError, match=r"nowhere is no bundle: it has no manifest\.json"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("data", [b"", b"not json", b'{"schema_version": 6', b"\xff\xfe\x00"])
def test_a_manifest_that_is_not_json(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(ManifestError) as caught:
        load_bundle(folder)
    assert str(caught.value).startswith(f"{folder / 'manifest.json'} is not JSON: ")


@pytest.mark.parametrize(
    ("content", "version"),
    [
        ({"schema_version": 1}, "1"),
        ({"schema_version": 2}, "2"),
        ({"schema_version": 3}, "3"),
        ({"schema_version": 4}, "4"),
        ({"schema_version": 5}, "5"),
        ({"schema_version": 7}, "7"),
        ({"schema_version": "6"}, "'6'"),
        ({}, "None"),
        ([], "None"),
        (7, "None"),
    ],
)
def test_a_manifest_of_another_schema(folder: Path, content: object, version: str) -> None:
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        load_bundle(folder)
    words = f"has schema version {version}; this release reads version {SCHEMA_VERSION}"
    assert str(caught.value) == f"{folder / 'manifest.json'} {words}"


CONTRADICTIONS: dict[str, tuple[Callable[[Content], object], list[str]]] = {
    "unknown field": (lambda m: m.update(colour="red"), ["colour: ", "not permitted"]),
    "unknown field inside": (
        lambda m: method(m)["provenance"].update(mood="fine"),
        ["methods.0.age_cgan.provenance.mood: ", "not permitted"],
    ),
    "missing field": (lambda m: method(m).pop("latent_size"), ["methods.0.age_cgan.latent_size: ", "required"]),
    "unknown family": (
        lambda m: method(m).update(family="magic"),
        ["methods.0: ", "'magic'", "'age_cgan', 'age_translator', 'cyclegan'"],
    ),
    "no methods": (lambda m: m.update(methods=[]), ["methods: ", "at least 1"]),
    "two things at once": (lambda m: m.update(colour="red", name=""), ["colour: ", "; ", "name: "]),
    "path above the bundle": (
        lambda m: encoder_file(m).update(path="../x.onnx"),
        ["graphs.age_cgan_encoder.files.0.path: ", "'../x.onnx' is not a path inside the bundle"],
    ),
    "absolute path": (
        lambda m: encoder_file(m).update(path="/x.onnx"),
        ["graphs.age_cgan_encoder.files.0.path: ", "'/x.onnx' is not a path inside the bundle"],
    ),
    "hash of another form": (
        lambda m: encoder_file(m).update(sha256="1234"),
        ["graphs.age_cgan_encoder.files.0.sha256: ", "^[0-9a-f]{64}$"],
    ),
    "unknown precision": (
        lambda m: encoder_file(m).update(precision="fp8"),
        ["graphs.age_cgan_encoder.files.0.precision: ", "'fp32' or 'fp16'"],
    ),
    "fewer groups than the condition is wide": (
        drop_last_group,
        [
            "method 'age_cgan': its generator, the graph 'age_cgan_generator', has the signature",
            "condition float32[batch, 6]",
            "but (latent float32[batch, 384], condition float32[batch, 5])",
        ],
    ),
    "another latent size": (
        lambda m: method(m).update(latent_size=100),
        ["its encoder, the graph 'age_cgan_encoder',", "latent float32[batch, 384]", "latent float32[batch, 100]"],
    ),
    "another crop size": (
        lambda m: method(m).update(crop_size=128),
        ["its encoder", "image float32[batch, 3, 64, 64]", "image float32[batch, 3, 128, 128]"],
    ),
    "roles swapped": (
        lambda m: method(m)["graphs"].update(encoder="age_cgan_generator"),
        ["its encoder, the graph 'age_cgan_generator', has the signature (latent float32[batch, 384]"],
    ),
    "missing role": (
        lambda m: method(m)["graphs"].pop("encoder"),
        ["method 'age_cgan': needs graphs for encoder, generator, has them for generator"],
    ),
    "unknown role": (
        lambda m: method(m)["graphs"].update(critic="age_cgan_encoder"),
        ["needs graphs for encoder, generator, has them for encoder, generator, critic"],
    ),
    "unknown graph": (
        lambda m: method(m)["graphs"].update(encoder="nothing"),
        ["method 'age_cgan': its encoder is the graph 'nothing', which the bundle lacks"],
    ),
    "method twice": (
        lambda m: m["methods"].append(method(m)),
        ["method names repeat: age_cgan, age_cgan"],
    ),
    "gap between groups": (
        lambda m: method(m)["age_groups"].pop(1),
        ["method 'age_cgan': age group '30-39' must start one year after '0-18' ends"],
    ),
    "no readers": (lambda m: m.pop("readers"), ["readers: ", "required"]),
    "no detector": (lambda m: m["readers"].pop("detector"), ["readers.detector: ", "required"]),
    "unknown reader": (lambda m: m["readers"].update(mood={}), ["readers.mood: ", "not permitted"]),
    "reader without a graph": (
        lambda m: m["graphs"].pop("age_estimator"),
        ["readers: its age estimator is the graph 'age_estimator', which the bundle lacks"],
    ),
    "a reader's graph is another's": (
        lambda m: m["readers"]["detector"].update(graph="facenet"),
        [
            "readers: its detector, the graph 'facenet', has the signature (image float32[batch, 3, 150, 150])",
            "but (image float32[batch, 3, height, width]) -> (cls_8 float32[batch, cells_8, 1], ",
        ],
    ),
    "an age estimator of another crop size": (
        lambda m: m["readers"]["age_estimator"].update(crop_size=96),
        ["its age estimator, the graph 'age_estimator',", "float32[batch, 3, 150, 150]", "float32[batch, 3, 96, 96]"],
    ),
    "a landmark refiner of another view size": (
        lambda m: m["readers"]["landmark_refiner"].update(view_size=64),
        [
            "its landmark refiner, the graph 'landmark_refiner',",
            "float32[batch, 3, 96, 96]",
            "float32[batch, 3, 64, 64]",
        ],
    ),
    "a FaceNet of another crop size": (
        lambda m: m["readers"]["facenet"].update(crop_size=96),
        ["its FaceNet, the graph 'facenet',", "float32[batch, 3, 150, 150]", "float32[batch, 3, 96, 96]"],
    ),
    "another embedding size": (
        lambda m: m["readers"]["facenet"].update(embedding_size=512),
        ["its FaceNet, the graph 'facenet',", "embedding float32[batch, 128]", "embedding float32[batch, 512]"],
    ),
    "no threshold": (
        lambda m: m["readers"]["facenet"].update(thresholds=[]),
        ["readers.facenet.thresholds: ", "at least 1"],
    ),
    "group label twice": (
        lambda m: method(m)["age_groups"][1].update(label="0 – 18"),
        ["method 'age_cgan': age group labels repeat: ['0-18', '0 – 18'"],
    ),
    "centre outside its group": (
        lambda m: method(m)["age_groups"][0].update(centre=30),
        ["methods.0.age_cgan.age_groups.0: ", "age group '0-18': centre 30.0 lies outside 0..18"],
    ),
}


@pytest.mark.parametrize(("edit", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_manifest_that_contradicts_itself_or_its_schema(
    folder: Path, edit_manifest: EditManifest, edit: Callable[[Content], object], words: list[str]
) -> None:
    edit_manifest(edit)
    with pytest.raises(ManifestError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'manifest.json'}: ")
    assert [part for part in words if part not in message] == [], message


def test_a_missing_graph_file(folder: Path) -> None:
    (folder / ENCODER).unlink()
    with pytest.raises(GraphFileError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"graph file {ENCODER} is missing from {folder}"


def test_a_truncated_graph_file(folder: Path) -> None:
    data = (folder / ENCODER).read_bytes()
    (folder / ENCODER).write_bytes(data[:-1000])
    with pytest.raises(GraphFileError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"graph file {ENCODER} has {len(data) - 1000} bytes; the manifest says {len(data)}"


def test_a_flipped_bit_in_a_graph_file(folder: Path) -> None:
    data = bytearray((folder / ENCODER).read_bytes())
    right = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    (folder / ENCODER).write_bytes(data)
    with pytest.raises(GraphFileError) as caught:
        load_bundle(folder)
    wrong = hashlib.sha256(data).hexdigest()
    assert str(caught.value) == f"graph file {ENCODER} has SHA-256 {wrong}; the manifest says {right}"


@pytest.mark.parametrize("file", [DETECTOR, HALF_DETECTOR])
def test_every_precisions_file_is_verified(two_precisions: Path, file: str) -> None:
    (two_precisions / file).unlink()
    with pytest.raises(GraphFileError, match=f"{re.escape(file)} is missing"):
        load_bundle(two_precisions)


@pytest.mark.parametrize("reader", ["detector", "landmark_refiner", "age_estimator", "facenet"])
def test_every_readers_file_is_verified(folder: Path, reader: str) -> None:
    (path,) = (folder / "graphs").glob(f"{reader}.*.onnx")
    path.write_bytes(b"another")
    with pytest.raises(GraphFileError, match=f"graphs/{re.escape(path.name)} has 7 bytes"):
        load_bundle(folder)


def test_a_missing_model_card(folder: Path) -> None:
    (folder / "README.md").unlink()
    with pytest.raises(ManifestError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{folder} has no model card (README.md)"


def test_links_do_not_leave_the_bundle(folder: Path, tmp_path: Path) -> None:
    graph, elsewhere = folder / ENCODER, tmp_path / "elsewhere.onnx"
    graph.rename(elsewhere)
    graph.symlink_to(elsewhere)
    with pytest.raises(GraphFileError, match="is a link to outside of the bundle"):
        load_bundle(folder)


def test_links_within_the_bundle_are_followed(folder: Path) -> None:
    graph = folder / ENCODER
    graph.rename(graph.with_name("real.onnx"))
    graph.symlink_to("real.onnx")
    load_bundle(folder)
