"""What a manifest may say, and that contradictions in it are named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.manifest import Manifest


def test_the_embedded_manifest_is_one(manifest: dict[str, Any]) -> None:
    read = Manifest.model_validate(manifest)
    assert read.alignment == DEFAULT_TEMPLATE
    assert read.model_dump(mode="json") == manifest


def test_nothing_changes_after_reading(manifest: dict[str, Any]) -> None:
    read = Manifest.model_validate(manifest)
    with pytest.raises(ValidationError, match="frozen"):
        read.name = "another"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        read.methods[0].crop_size = 128  # type: ignore[misc]


@pytest.mark.parametrize("crop_size", [15, 1025, 64.5, "large"])
def test_sizes_have_bounds(manifest: dict[str, Any], crop_size: object) -> None:
    manifest["methods"][0]["crop_size"] = crop_size
    with pytest.raises(ValidationError, match=r"methods\.0\.crop_size"):
        Manifest.model_validate(manifest)


@pytest.mark.parametrize("name", ["", "Age", "1st", "age-cgan", "age cgan"])
def test_method_names_are_plain(manifest: dict[str, Any], name: str) -> None:
    manifest["methods"][0]["name"] = name
    with pytest.raises(ValidationError, match=r"methods\.0\.name"):
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
    with pytest.raises(ValidationError, match=r"methods\.0\.provenance\.data"):
        Manifest.model_validate(manifest)
