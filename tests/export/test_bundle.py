"""The bundle of a checkpoint: whole, verified, and saying where its weights come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest
from torch import Tensor

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.face_readers import (
    age_estimator_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_bundle.families.age_cgan import AgeCganMethod, age_cgan_signatures, latent_gradient_signature
from dorian_bundle.stored_files import sha256_of
from dorian_export import face_readers, latent_gradient, verified_export
from dorian_export.bundle_building import BundleInfo, build_bundle
from dorian_export.check import check_bundle
from dorian_export.errors import ExportError
from dorian_export.exporters import EXPORTERS, age_translator
from dorian_export.faces import Faces
from dorian_export.verified_export import TOLERANCE
from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1
from tests.export.conftest import YUNET

Weights = dict[str, dict[str, Tensor]]
READERS = ("detector", "age_estimator", "facenet", "landmark_refiner")


METHODS = ("age_translator", "age_cgan", "cyclegan")
QuickBundle = Callable[..., Bundle]


@pytest.fixture
def quick_bundle(
    seen: Faces,
    bundle: Bundle,
    checkpoints: dict[str, Path],
    graphs_from_before: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> QuickBundle:
    """Builds a bundle of other checkpoints (``None``: none) with graphs that have been exported before."""
    monkeypatch.setattr(verified_export, "require_parity", lambda *_: 1e-6)
    monkeypatch.setattr(latent_gradient, "_require_parity", lambda *_: 1e-6)
    monkeypatch.setattr(face_readers, "measure_thresholds", lambda *_: bundle.manifest.readers.facenet.thresholds)

    def build(**others: Path | None) -> Bundle:
        (tmp_path / "bundle").mkdir()
        built = {name: path for name, path in {**checkpoints, **others}.items() if path}
        build_bundle(built, tmp_path / "bundle", seen, BundleInfo("quick", "1", {}))
        return load_bundle(tmp_path / "bundle")

    return build


@pytest.fixture
def bundle_of(quick_bundle: QuickBundle, weights: Weights, tmp_path: Path) -> QuickBundle:
    """Builds a bundle of the Age-cGAN that a checkpoint describes so, and of no other method."""

    def build(about: dict[str, Any]) -> Bundle:
        (tmp_path / "run").mkdir()
        save_weights(tmp_path / "run" / WEIGHTS_FILE, weights, about)
        return quick_bundle(age_cgan=tmp_path / "run", age_translator=None, cyclegan=None)

    return build


def test_it_loads_and_passes_its_checks(bundle: Bundle) -> None:
    assert check_bundle(bundle.folder) == bundle == load_bundle(bundle.folder)
    assert (bundle.manifest.name, bundle.manifest.version) == ("small", "3.2.1")
    assert abs(datetime.now(UTC).date() - date.fromisoformat(bundle.manifest.created)) <= timedelta(days=1)
    assert bundle.manifest.alignment == DEFAULT_TEMPLATE


def test_its_methods_come_with_the_default_first(bundle: Bundle) -> None:
    assert tuple(method.name for method in bundle.manifest.methods) == METHODS
    assert len({method.description for method in bundle.manifest.methods}) == 3
    age_cgan = {f"age_cgan_{role}" for role in ("encoder", "generator", "latent_gradient")}
    graphs = {"age_translator", *age_cgan, "cyclegan_old", "cyclegan_young", *READERS}
    assert bundle.manifest.graphs.keys() == graphs


@pytest.mark.parametrize("lacking", METHODS)
def test_a_method_that_has_no_checkpoint_is_left_out(quick_bundle: QuickBundle, lacking: str) -> None:
    """Without the translator Age-cGAN is the default."""
    made = quick_bundle(**{lacking: None})
    left = [name for name in METHODS if name != lacking]
    assert [method.name for method in made.manifest.methods] == left
    assert not any(name.startswith(lacking) for name in made.manifest.graphs)
    assert not list(made.folder.rglob(f"*{lacking}*"))
    assert (made.folder / "samples.jpg").is_file() == ("age_cgan" in left)


@pytest.mark.parametrize("only", METHODS)
def test_a_bundle_of_a_single_method(quick_bundle: QuickBundle, bundle: Bundle, only: str) -> None:
    made = quick_bundle(**{name: None for name in METHODS if name != only})
    (method,) = made.manifest.methods
    (same,) = (item for item in bundle.manifest.methods if item.name == only)
    keep = {"provenance"}
    assert method.model_dump(exclude=keep) == same.model_dump(exclude=keep)
    assert check_bundle(made.folder) == made
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if f"## Method `{name}`" in card] == [only]


def test_a_bundle_without_a_method_is_refused(checkpoints: dict[str, Path], seen: Faces, tmp_path: Path) -> None:
    given = {name: path for name, path in checkpoints.items() if name not in METHODS}
    with pytest.raises(
        ExportError, match="a bundle needs a method; give at least one of age_translator, age_cgan"
    ) as caught:
        build_bundle(given, tmp_path, seen, BundleInfo("none", "1", {}))
    assert list(tmp_path.iterdir()) == []
    assert str(caught.value).endswith(f" and {list(EXPORTERS)[-1]}")


def test_the_age_translator_is_calibrated_by_the_bundles_age_estimator(
    checkpoints: dict[str, Path], seen: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Path] = []

    def note(estimator: Path) -> None:
        used.append(estimator)
        raise ExportError("far enough")

    monkeypatch.setattr(age_translator, "export_verified", lambda *_: (None, {}))
    monkeypatch.setattr(age_translator, "averaged_age_estimator", note)
    with pytest.raises(ExportError, match="far enough"):
        build_bundle(checkpoints, tmp_path, seen, BundleInfo("none", "1", {}))
    assert used == [checkpoints["age_estimator"]]


def test_its_age_cgan(bundle: Bundle) -> None:
    signatures = {**age_cgan_signatures(64, 16, 6), "latent_gradient": latent_gradient_signature(64, 16, 6, 12)}
    for role, signature in signatures.items():
        graph = bundle.manifest.graphs[f"age_cgan_{role}"]
        assert graph.signature == signature
        assert [file.precision for file in graph.files] == ["fp16"]
        assert bundle.graph_path(f"age_cgan_{role}").name == f"age_cgan_{role}.fp16.onnx"
    method = bundle.manifest.methods[1]
    assert isinstance(method, AgeCganMethod)
    assert method.graphs == {role: f"age_cgan_{role}" for role in signatures}
    assert (method.family, method.crop_size, method.latent_size) == ("age_cgan", 64, 16)
    assert method.embedding_size == bundle.manifest.readers.facenet.embedding_size == 12
    assert method.age_groups == PAPER_GROUPS


def test_the_graphs_that_see_faces(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    signatures = (
        detector_signature(),
        age_estimator_signature(64),
        facenet_signature(64, 12),
        landmark_refiner_signature(96),
    )
    for name, signature in zip(READERS, signatures, strict=True):
        entry, graph = getattr(readers, name), bundle.manifest.graphs[name]
        assert entry.graph == name
        assert entry.signature() == graph.signature == signature
        assert [file.precision for file in graph.files] == ["fp32" if name in ("detector", "age_estimator") else "fp16"]
    assert readers.detector.min_score == 0.75
    assert readers.age_estimator.crop_size == 64
    assert (readers.facenet.crop_size, readers.facenet.embedding_size) == (64, 12)
    assert (readers.landmark_refiner.view_size, readers.landmark_refiner.zoom) == (96, 0.8)


def test_where_the_weights_that_see_faces_come_from(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    result = {name: getattr(readers, name).provenance for name in READERS}
    assert {name: origin.steps for name, origin in result.items()} == {
        "detector": {"published": 0},
        "age_estimator": {"age_estimator": 3200},
        "facenet": {"facenet": 3300},
        "landmark_refiner": {"landmark_refiner": 3400},
    }
    assert [origin.seed for origin in result.values()] == [0, 32, 33, 34]
    assert [origin.training.get("batch_size") for origin in result.values()] == [None, 128, 132, 136]
    assert "MIT" in result["detector"].licence
    assert result["detector"].commercial_use
    assert "OpenCV Zoo" in result["detector"].training["settings"]["source"]
    assert result["detector"].training["settings"]["sha256"] == sha256_of(YUNET)
    assert result["facenet"].training["identities"] == 4004
    assert result["facenet"].training["shape"]["layout"] == "dlib_resnet_v1"
    assert result["facenet"].training["shape"]["widths"] == [8, 16, 16]
    assert [(entry.name, entry.faces) for entry in result["age_estimator"].data] == [("FairFace", 21_003)]
    assert result["age_estimator"].licence == "The weights are under CC BY 4.0."
    assert {name: origin.commercial_use for name, origin in result.items()} == {
        "detector": True, "age_estimator": True, "facenet": False, "landmark_refiner": False,
    }  # fmt: skip
    (mesh,) = result["landmark_refiner"].networks
    assert (mesh.name, mesh.licence, mesh.commercial_use) == ("MediaPipe face mesh", "Apache-2.0", True)
    assert bundle.manifest.readers.facenet.similarity_by_years is None


def test_measurements_go_to_the_parts_that_they_are_of(bundle: Bundle) -> None:
    readers = bundle.manifest.readers
    assert readers.age_estimator.provenance.metrics["error"] == 6.25
    assert readers.facenet.provenance.metrics["accuracy"] == 0.875
    assert readers.detector.provenance.metrics.keys() == {"onnx_difference"}
    result = {method.name: method.provenance.metrics.keys() - {"onnx_difference"} for method in bundle.manifest.methods}
    assert result == {"age_translator": {"ageing"}, "age_cgan": {"judged_age"}, "cyclegan": {"ageing"}}
    filtered = bundle.manifest.methods[2].provenance.metrics["ageing"]["strengths"]["1"]["targets"]
    assert filtered == {"old": {"judged": 61.26, "similarity": 0.654, "accepted": 0.75}}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoint as ``dorian-train facenet-published`` makes it, of fewer blocks."""
    shape = InceptionResNetShape(repeats=(1, 1, 1), embedding=16)
    about = {"family": "facenet", "shape": shape.as_dict(), "stage": "published", "steps": 0, "earlier": [], "seed": 0}
    about |= {"data": {"VGGFace2": 3_141_890}, "identities": 8631, "licence": "MIT, for research."}
    about |= {"settings": {"file": "20180402.pt", "sha256": "5e" * 32}}
    (tmp_path / "published").mkdir()
    state = InceptionResNetV1(shape).state_dict()
    save_weights(tmp_path / "published" / WEIGHTS_FILE, {"facenet_ema": state}, about)
    return tmp_path / "published"


def test_a_bundle_with_a_facenet_that_others_trained(
    quick_bundle: QuickBundle, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven_on = dict[str, tuple[int, ...]]()

    def note(graph: Any, path: Path, signature: Any, precision: str, inputs: Any) -> float:
        proven_on[path.name] = inputs[1]["image"].shape
        return 1e-6

    monkeypatch.setattr(verified_export, "require_parity", note)
    made = quick_bundle(facenet=published, age_translator=None, age_cgan=None)
    assert proven_on["facenet.fp16.onnx"] == (8, 3, 160, 160)
    entry = made.manifest.readers.facenet
    assert (entry.crop_size, entry.embedding_size) == (160, 16)
    assert made.manifest.graphs["facenet"].signature == facenet_signature(160, 16)
    assert made.manifest.readers.age_estimator.crop_size == 64
    origin = entry.provenance
    assert origin.licence == "The weights are published under these terms: MIT, for research."
    assert [(item.name, item.faces, item.licence) for item in origin.data] == [("VGGFace2", 3_141_890, "not stated")]
    assert not origin.commercial_use  # "for research" is no licence that is known to be free
    assert origin.steps == {"published": 0}
    assert origin.training["settings"] == {"file": "20180402.pt", "sha256": "5e" * 32}
    assert origin.training["identities"] == 8631
    assert origin.training["shape"]["layout"] == "inception_resnet_v1"
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "| FaceNet | VGGFace2 3,141,890 | as published |  |" in card
    assert f"FaceNet: {origin.licence}" in card


def test_where_the_weights_of_the_translators_come_from(bundle: Bundle) -> None:
    ageing, _, filters = (method.provenance for method in bundle.manifest.methods)
    assert ageing.steps == {"age_translator": 4100}
    assert filters.steps == {"cyclegan": 5100}
    assert (ageing.seed, filters.seed) == (41, 51)
    assert (ageing.training["batch_size"], filters.training["batch_size"]) == (24, 3)
    assert (ageing.training["settings"], filters.training["settings"]) == ({"age": 1.5}, {"pool": 9})
    assert ageing.training["shape"]["translator"]["widths"] == [8, 12, 16]
    assert filters.training["domains"] == {"by": "ages", "young_until": 29, "old_from": 52}
    assert [(entry.name, entry.faces) for entry in ageing.data] == [("FairFace", 41_007), ("UTKFace", 17_002)]
    assert ageing.licence == "The weights are for non-commercial research, as is their training data (UTKFace)."
    assert filters.licence == "The weights are under CC BY 4.0."


def test_where_its_age_cgan_comes_from(bundle: Bundle, about: dict[str, Any], measurements: tuple[Path, Path]) -> None:
    origin = bundle.manifest.methods[1].provenance
    assert {(entry.name, entry.faces, entry.licence) for entry in origin.data} == {
        ("UTKFace", 17_045, "non-commercial research"),
        ("FairFace", 20_123, "CC BY 4.0"),
    }
    assert origin.licence == "The weights are for non-commercial research, as is their training data (UTKFace)."
    assert origin.steps == {"adversarial": 12_000, "latent": 3400}
    assert origin.seed == 11
    assert origin.training["batch_size"] == 48
    assert origin.training["preset"] == "dcgan"
    assert origin.training["group_counts"] == about["group_counts"]
    assert origin.training["settings"] == about["settings"]
    assert origin.training["shape"] == json.loads(json.dumps(about["shape"]))
    assert origin.metrics["judged_age"] == json.loads(measurements[0].read_text())["age_cgan"]["judged_age"]


def test_it_tells_how_far_its_graphs_are_from_torch(bundle: Bundle) -> None:
    manifest = bundle.manifest
    parts = {method.name: method.provenance for method in manifest.methods}
    parts |= {name: getattr(manifest.readers, name).provenance for name in READERS}
    for part, origin in parts.items():
        differences = origin.metrics["onnx_difference"]
        graphs = [graph for name, graph in manifest.graphs.items() if name.startswith(part)]
        files = {file.path: file.precision for graph in graphs for file in graph.files}
        assert differences.keys() == files.keys()
        assert all(0 < differences[path] <= TOLERANCE[precision] for path, precision in files.items())


def test_its_pictures(bundle: Bundle) -> None:
    samples = cv2.imread(str(bundle.folder / "samples.jpg"))
    assert samples is not None
    assert samples.shape == (10 * 64, 6 * 64, 3)
    assert samples.std() > 20
    for name, panels in (("age_cgan", 3), ("age_translator", 1), ("cyclegan", 1)):  # D, E and G, or G alone
        curves = cv2.imread(str(bundle.folder / f"curves_{name}.png"))
        assert curves is not None
        assert curves.shape[1] == panels * curves.shape[0] * 4 // 3
        assert curves.std() > 5


def test_nothing_else_is_in_it(bundle: Bundle) -> None:
    result = {path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()}
    graphs = {file.path for graph in bundle.manifest.graphs.values() for file in graph.files}
    assert result == graphs | {"manifest.json", "README.md", "samples.jpg", *(f"curves_{name}.png" for name in METHODS)}


def test_a_free_set_leaves_the_weights_free(bundle_of: QuickBundle, about: dict[str, Any]) -> None:
    made = bundle_of({**about, "data": {"fairface": 5}})
    assert made.manifest.methods[0].provenance.licence == "The weights are under CC BY 4.0."


@pytest.mark.parametrize(
    ("others", "words"), [({}, "must settle their terms"), ({"celeba": 3}, "non-commercial research")]
)
def test_users_own_archives_have_terms_that_nobody_stated(
    bundle_of: QuickBundle, about: dict[str, Any], others: dict[str, int], words: str
) -> None:
    origin = bundle_of({**about, "data": {"holidays": 7, **others}}).manifest.methods[0].provenance
    assert ("holidays", 7, "not stated") in {(entry.name, entry.faces, entry.licence) for entry in origin.data}
    assert words in origin.licence


def test_a_run_of_several_parts_names_each_stage(bundle_of: QuickBundle, about: dict[str, Any]) -> None:
    made = bundle_of({**about, "stage": "adversarial", "steps": 5, "earlier": []})
    assert made.manifest.methods[0].provenance.steps == {"adversarial": 5}
    card = (made.folder / "README.md").read_text()
    assert "No learning curves were kept" in card
    assert not list(made.folder.glob("curves*"))
    assert "dorian-evaluate" not in card


def test_steps_of_a_stage_that_was_carried_on_add_up(about: dict[str, Any], bundle_of: QuickBundle) -> None:
    earlier = [
        {"stage": "adversarial", "steps": 5},
        {"stage": "latent", "steps": 3},
        {"stage": "adversarial", "steps": 2},
    ]
    made = bundle_of({**about, "stage": "latent", "steps": 4, "earlier": earlier})
    assert made.manifest.methods[0].provenance.steps == {"adversarial": 7, "latent": 7}
