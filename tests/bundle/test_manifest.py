"""What a manifest may say, and that contradictions in it are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dorian_bundle import write_manifest
from dorian_bundle.manifest import MANIFEST_FILE, Manifest


def test_the_embedded_manifest_is_one(manifest: dict[str, Any]) -> None:
    read = Manifest.model_validate(manifest)
    assert read.model_dump(mode="json") == manifest


def test_the_embedded_manifest_is_written_back_byte_for_byte(default_bundle: Path, tmp_path: Path) -> None:
    original = (default_bundle / MANIFEST_FILE).read_bytes()
    write_manifest(tmp_path, Manifest.model_validate_json(original))
    assert (tmp_path / MANIFEST_FILE).read_bytes() == original


def test_nothing_changes_after_reading(manifest: dict[str, Any]) -> None:
    read = Manifest.model_validate(manifest)
    with pytest.raises(ValidationError, match="frozen"):
        read.name = "another"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        read.methods[0].crop_size = 128  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        read.readers.detector.min_score = 0.9  # type: ignore[misc]


@pytest.mark.parametrize("crop_size", [15, 1025, 64.5, "large"])
def test_sizes_have_bounds(manifest: dict[str, Any], crop_size: object) -> None:
    manifest["methods"][0]["crop_size"] = crop_size
    manifest["readers"]["age_estimator"]["crop_size"] = crop_size
    manifest["readers"]["facenet"]["crop_size"] = crop_size
    manifest["readers"]["landmark_refiner"]["view_size"] = crop_size
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate(manifest)
    assert {problem["loc"] for problem in caught.value.errors()} >= {
        ("methods", 0, "age_cgan", "crop_size"),
        ("readers", "age_estimator", "crop_size"),
        ("readers", "facenet", "crop_size"),
        ("readers", "landmark_refiner", "view_size"),
    }


@pytest.mark.parametrize("score", [0, 1, -0.5, "any"])
def test_a_face_counts_from_a_score_between_0_and_1(manifest: dict[str, Any], score: object) -> None:
    manifest["readers"]["detector"]["min_score"] = score
    with pytest.raises(ValidationError, match=r"readers\.detector\.min_score"):
        Manifest.model_validate(manifest)


@pytest.mark.parametrize("zoom", [0, 1.01, -0.5, "much"])
def test_a_view_shows_a_face_no_larger_than_a_crop(manifest: dict[str, Any], zoom: object) -> None:
    manifest["readers"]["landmark_refiner"]["zoom"] = zoom
    with pytest.raises(ValidationError, match=r"readers\.landmark_refiner\.zoom"):
        Manifest.model_validate(manifest)


@pytest.mark.parametrize(
    ("name", "value"),
    [("false_accept_rate", 0), ("false_accept_rate", 1), ("similarity", 1.01), ("similarity", -1.01)],
)
def test_thresholds_are_cosines_at_rates(manifest: dict[str, Any], name: str, value: float) -> None:
    manifest["readers"]["facenet"]["thresholds"][0][name] = value
    with pytest.raises(ValidationError, match=rf"readers\.facenet\.thresholds\.0\.{name}"):
        Manifest.model_validate(manifest)


def test_readers_say_what_their_graphs_take_and_give(manifest: dict[str, Any]) -> None:
    read = Manifest.model_validate(manifest)
    readers = read.readers
    for entry in (readers.detector, readers.landmark_refiner, readers.age_estimator, readers.facenet):
        assert entry.signature() == read.graphs[entry.graph].signature
        assert entry.provenance.data


@pytest.mark.parametrize("name", ["", "Age", "1st", "age-cgan", "age cgan"])
def test_method_names_are_plain(manifest: dict[str, Any], name: str) -> None:
    manifest["methods"][0]["name"] = name
    with pytest.raises(ValidationError, match=r"methods\.0\.age_cgan\.name"):
        Manifest.model_validate(manifest)


def test_a_template_has_five_landmarks(manifest: dict[str, Any]) -> None:
    manifest["alignment"]["landmarks"].pop()
    with pytest.raises(ValidationError, match=r"alignment\.landmarks"):
        Manifest.model_validate(manifest)


def test_two_methods_may_share_graphs(manifest: dict[str, Any]) -> None:
    second = manifest["methods"][0] | {"name": "age_cgan_again"}
    manifest["methods"].append(second)
    assert [method.name for method in Manifest.model_validate(manifest).methods] == ["age_cgan", "age_cgan_again"]


def test_a_bundle_says_what_its_weights_were_trained_on(manifest: dict[str, Any]) -> None:
    manifest["methods"][0]["provenance"]["data"] = []
    with pytest.raises(ValidationError, match=r"methods\.0\.age_cgan\.provenance\.data"):
        Manifest.model_validate(manifest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"years": [2, 7]}, "2 years, but 3 similarities"),
        ({"years": [2, 12, 7]}, "years of the curve must ascend"),
        ({"years": [-1, 7, 12]}, "years of the curve must ascend"),
        ({"similarity": [0.6, 0.6, 0.5]}, "similarities of the curve must descend"),
        ({"similarity": [1.1, 0.6, 0.5]}, "similarities of the curve must descend"),
        ({"spread": -0.1}, "spread"),
        ({"source": ""}, "source"),
    ],
)
def test_a_curve_of_similarities_descends(manifest: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    curve = {"years": [2, 7, 12], "similarity": [0.7, 0.6, 0.5], "spread": 0.2, "source": "photographs of 80 people"}
    manifest["readers"]["facenet"]["similarity_by_years"] = curve
    assert Manifest.model_validate(manifest).readers.facenet.similarity_by_years is not None
    manifest["readers"]["facenet"]["similarity_by_years"] = curve | changes
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate(manifest)
