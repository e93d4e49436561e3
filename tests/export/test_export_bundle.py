"""The bundle of a checkpoint: whole, verified, and saying where its weights come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest
from torch import Tensor

from dorian_bundle import Bundle, load
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.families import (
    age_cgan_signatures,
    age_estimator_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_export import assemble
from dorian_export.assemble import Checkpoints, Faces, Naming, build_bundle
from dorian_export.check import check_bundle
from dorian_export.parity import TOLERANCE
from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.data.archives import load_archives
from dorian_training.data.crops import Crops, cut_crops

Weights = dict[str, dict[str, Tensor]]
READERS = ("detector", "age_estimator", "facenet", "landmark_refiner")


@pytest.fixture
def quick_bundle(
    weights: Weights,
    faces: Path,
    bundle: Bundle,
    checkpoints: Checkpoints,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[dict[str, Any]], Bundle]:
    """Builds a bundle of what a checkpoint says of itself, with graphs that have been exported before."""
    crops: Crops = cut_crops(load_archives(faces)[:8], 64)

    def copies(part: str) -> Callable[..., Any]:
        graphs = {name: graph for name, graph in bundle.manifest.graphs.items() if name.startswith(part)}
        files = [file for graph in graphs.values() for file in graph.files]

        def copy(*given: Any) -> Any:
            folder = given[-2]
            for file in files:
                (folder / file.path).parent.mkdir(exist_ok=True)
                (folder / file.path).write_bytes((bundle.folder / file.path).read_bytes())
            return graphs, {file.path: 1e-6 for file in files}

        return copy

    def build(about: dict[str, Any]) -> Bundle:
        monkeypatch.setattr(assemble, "export_graphs", copies("age_cgan"))
        for reader in READERS:
            monkeypatch.setattr(assemble, f"export_{reader}", copies(reader))
        monkeypatch.setattr(assemble, "accept_thresholds", lambda *_: bundle.manifest.readers.facenet.thresholds)
        (tmp_path / "run").mkdir()
        (tmp_path / "bundle").mkdir()
        save_weights(tmp_path / "run" / WEIGHTS_FILE, weights, about)
        built = replace(checkpoints, age_cgan=tmp_path / "run")
        naming = Naming("quick", "1", {})
        build_bundle(built, tmp_path / "bundle", Faces(crops, crops), ["fp32", "fp16"], naming)
        return load(tmp_path / "bundle")

    return build


def test_it_loads_and_passes_its_checks(bundle: Bundle) -> None:
    assert check_bundle(bundle.folder) == bundle == load(bundle.folder)
    assert (bundle.manifest.name, bundle.manifest.version) == ("small", "3.2.1")
    assert abs(datetime.now(UTC).date() - date.fromisoformat(bundle.manifest.created)) <= timedelta(days=1)
    assert bundle.manifest.alignment == DEFAULT_TEMPLATE


def test_its_graphs(bundle: Bundle) -> None:
    signatures = age_cgan_signatures(64, 16, 6)
    assert bundle.manifest.graphs.keys() == {"age_cgan_encoder", "age_cgan_generator", *READERS}
    for role, signature in signatures.items():
        graph = bundle.manifest.graphs[f"age_cgan_{role}"]
        assert graph.signature == signature
        assert [file.precision for file in graph.files] == ["fp32", "fp16"]
        assert bundle.graph_path(f"age_cgan_{role}").name == f"age_cgan_{role}.fp32.onnx"
    (method,) = bundle.manifest.methods
    assert method.graphs == {"encoder": "age_cgan_encoder", "generator": "age_cgan_generator"}
    assert (method.family, method.crop_size, method.latent_size) == ("age_cgan", 64, 16)
    assert method.age_groups == PAPER_GROUPS


def test_the_graphs_that_see_faces(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    signatures = (
        detector_signature(),
        age_estimator_signature(64),
        facenet_signature(64, 12),
        landmark_refiner_signature(64),
    )
    for name, signature in zip(READERS, signatures, strict=True):
        entry, graph = getattr(readers, name), bundle.manifest.graphs[name]
        assert entry.graph == name
        assert entry.signature() == graph.signature == signature
        # Those that run once for each face are in half precision alone.
        assert [file.precision for file in graph.files] == (["fp32", "fp16"] if name == "detector" else ["fp16"])
    assert (readers.detector.min_score, readers.detector.min_small_score) == (0.4, 0.65)
    assert readers.age_estimator.crop_size == 64
    assert (readers.facenet.crop_size, readers.facenet.embedding_size) == (64, 12)
    assert (readers.landmark_refiner.view_size, readers.landmark_refiner.zoom) == (64, 0.8)


def test_where_the_weights_that_see_faces_come_from(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    found = {name: getattr(readers, name).provenance for name in READERS}
    assert {name: origin.steps for name, origin in found.items()} == {
        "detector": {"detector": 3100},
        "age_estimator": {"age_estimator": 3200},
        "facenet": {"facenet": 3300},
        "landmark_refiner": {"landmark_refiner": 3400},
    }
    assert [origin.seed for origin in found.values()] == [31, 32, 33, 34]
    assert [origin.training["batch_size"] for origin in found.values()] == [124, 128, 132, 136]
    assert found["detector"].training["scenes"] == {"count": 900, "size": 256, "teacher": True}
    assert found["facenet"].training["identities"] == 4004
    assert found["facenet"].training["shape"]["widths"] == [8, 16, 16]
    assert [(entry.name, entry.faces) for entry in found["age_estimator"].data] == [("FairFace", 21_003)]
    assert found["age_estimator"].licence == "The weights are under CC BY 4.0."


def test_measurements_go_to_the_parts_that_they_are_of(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    assert readers.age_estimator.provenance.metrics["error"] == 6.25
    assert readers.facenet.provenance.metrics["accuracy"] == 0.875
    assert readers.detector.provenance.metrics.keys() == {"onnx_difference"}
    assert bundle.manifest.methods[0].provenance.metrics.keys() == {"judged_age", "onnx_difference"}


def test_where_its_weights_come_from(bundle: Bundle, about: dict[str, Any], measurements: tuple[Path, Path]) -> None:
    origin = bundle.manifest.methods[0].provenance
    assert {(entry.name, entry.faces, entry.licence) for entry in origin.data} == {
        ("UTKFace", 17_045, "non-commercial research"),
        ("FairFace", 20_123, "CC BY 4.0"),
    }
    assert origin.licence == "The weights are for non-commercial research, as is their training data (UTKFace)."
    assert origin.steps == {"adversarial": 12_000, "latent": 3400}
    assert origin.seed == 11
    assert origin.training["batch_size"] == 48
    assert origin.training["preset"] == "dcgan"
    assert origin.training["settings"] == about["settings"]
    assert origin.training["shape"] == json.loads(json.dumps(about["shape"]))
    assert origin.metrics["judged_age"] == json.loads(measurements[0].read_text())["age_cgan"]["judged_age"]


def test_it_tells_how_far_its_graphs_are_from_torch(bundle: Bundle) -> None:
    manifest = bundle.manifest
    parts = {"age_cgan": manifest.methods[0]} | {name: getattr(manifest.readers, name) for name in READERS}
    for part, entry in parts.items():
        differences = entry.provenance.metrics["onnx_difference"]
        graphs = [graph for name, graph in manifest.graphs.items() if name.startswith(part)]
        files = {file.path: file.precision for graph in graphs for file in graph.files}
        assert differences.keys() == files.keys()
        assert all(0 < differences[path] <= TOLERANCE[precision] for path, precision in files.items())


def test_its_pictures(bundle: Bundle) -> None:
    samples, curves = (cv2.imread(str(bundle.folder / name)) for name in ("samples.jpg", "curves.png"))
    assert samples is not None
    assert curves is not None
    assert samples.shape == (10 * 64, 6 * 64, 3)
    assert samples.std() > 20
    assert curves.shape[1] == 3 * curves.shape[0] * 4 // 3  # panels of 4 by 3 for D, E and G
    assert curves.std() > 5


def test_nothing_else_is_in_it(bundle: Bundle) -> None:
    found = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    graphs = {file.path for graph in bundle.manifest.graphs.values() for file in graph.files}
    assert found == graphs | {"manifest.json", "README.md", "samples.jpg", "curves.png"}


def test_a_free_set_leaves_the_weights_free(quick_bundle: Callable[..., Bundle], about: dict[str, Any]) -> None:
    made = quick_bundle({**about, "data": {"fairface": 5}})
    assert made.manifest.methods[0].provenance.licence == "The weights are under CC BY 4.0."


@pytest.mark.parametrize(
    ("others", "words"), [({}, "must settle their terms"), ({"celeba": 3}, "non-commercial research")]
)
def test_users_own_archives_have_terms_that_nobody_stated(
    quick_bundle: Callable[..., Bundle], about: dict[str, Any], others: dict[str, int], words: str
) -> None:
    origin = quick_bundle({**about, "data": {"holidays": 7, **others}}).manifest.methods[0].provenance
    assert ("holidays", 7, "not stated") in {(entry.name, entry.faces, entry.licence) for entry in origin.data}
    assert words in origin.licence


def test_a_run_of_several_parts_names_each_stage(quick_bundle: Callable[..., Bundle], about: dict[str, Any]) -> None:
    made = quick_bundle({**about, "stage": "adversarial", "steps": 5, "earlier": []})
    assert made.manifest.methods[0].provenance.steps == {"adversarial": 5}
    card = (made.folder / "README.md").read_text()
    assert "curves.png" not in card
    assert not (made.folder / "curves.png").exists()
    assert "## Measured" not in card


def test_steps_of_a_stage_that_was_carried_on_add_up(
    about: dict[str, Any], quick_bundle: Callable[..., Bundle]
) -> None:
    earlier = [
        {"stage": "adversarial", "steps": 5},
        {"stage": "latent", "steps": 3},
        {"stage": "adversarial", "steps": 2},
    ]
    made = quick_bundle({**about, "stage": "latent", "steps": 4, "earlier": earlier})
    assert made.manifest.methods[0].provenance.steps == {"adversarial": 7, "latent": 7}
