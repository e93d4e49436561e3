"""Which parts of a bundle may be used commercially."""

from __future__ import annotations

from typing import Any

import pytest

from dorian_bundle.entries import Provenance
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.licences import MethodLicence, method_licence, network_licences
from dorian_bundle.manifest import Manifest

FREE = {"name": "FairFace", "licence": "CC BY 4.0", "commercial_use": True, "faces": 5}
RESEARCH = {"name": "UTKFace", "licence": "non-commercial research", "commercial_use": False, "faces": 7}
READERS = ("detector", "landmark_refiner", "age_estimator", "facenet")


@pytest.fixture
def free_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a bundle of which everything is free."""
    for entry in (*(manifest["readers"][name] for name in READERS), *manifest["methods"]):
        entry["provenance"] |= {"commercial_use": True, "data": [FREE], "networks": [], "licence": "CC BY 4.0"}
    return manifest


def test_a_bundle_of_free_parts_is_free(free_manifest: dict[str, Any]) -> None:
    manifest = Manifest.model_validate(free_manifest)
    networks = network_licences(manifest)
    names = ["face detector", "landmark refiner", "age estimator", "FaceNet"]
    assert [network.name for network in networks] == [*names, *(method.name for method in manifest.methods)]
    assert all(network.commercial_use for network in networks)
    licences = [method_licence(method, manifest.readers) for method in manifest.methods]
    assert [(licence.commercial_use, licence.obstacles) for licence in licences] == [(True, ())]


def test_what_stands_in_the_way_is_named(free_manifest: dict[str, Any]) -> None:
    estimator = free_manifest["readers"]["age_estimator"]["provenance"]
    estimator |= {"commercial_use": False, "data": [FREE, RESEARCH, RESEARCH | {"faces": 8}]}
    free_manifest["methods"][0]["provenance"] |= {"commercial_use": False, "data": [RESEARCH]}
    manifest = Manifest.model_validate(free_manifest)
    licence = method_licence(manifest.methods[0], manifest.readers)
    assert not licence.commercial_use
    reason = "UTKFace (non-commercial research)"
    assert licence.obstacles == (f"age_cgan: {reason}", f"age estimator: {reason}")
    age_estimator = network_licences(manifest)[2]
    assert [source.name for source in age_estimator.sources] == ["FairFace", "UTKFace"]  # each once


def test_published_weights_go_by_their_own_licence(free_manifest: dict[str, Any]) -> None:
    detector, facenet = (free_manifest["readers"][name]["provenance"] for name in ("detector", "facenet"))
    detector |= {"data": [RESEARCH], "licence": "MIT"}
    facenet |= {"commercial_use": False, "licence": "for research"}
    manifest = Manifest.model_validate(free_manifest)
    networks = {network.name: network for network in network_licences(manifest)}
    assert networks["face detector"].commercial_use
    assert networks["FaceNet"].obstacles == ("for research",)


def test_labelling_networks_are_sources(free_manifest: dict[str, Any]) -> None:
    mesh = {"name": "MediaPipe face mesh", "licence": "Apache-2.0", "commercial_use": True}
    free_manifest["readers"]["landmark_refiner"]["provenance"]["networks"] = [mesh]
    refiner = network_licences(Manifest.model_validate(free_manifest))[1]
    assert [source.name for source in refiner.sources] == ["FairFace", "MediaPipe face mesh"]
    assert refiner.commercial_use


@pytest.mark.parametrize("field", ["commercial_use", "licence"])
def test_whether_it_is_free_has_to_be_stated(manifest: dict[str, Any], field: str) -> None:
    del manifest["methods"][0]["provenance"][field]
    with pytest.raises(ValueError, match=rf"provenance\.{field}"):
        Manifest.model_validate(manifest)


def test_filters_and_detail_of_other_origin_count(manifest: dict[str, Any]) -> None:
    free = manifest["methods"][0]["provenance"] | {"commercial_use": True, "data": [FREE], "licence": "CC BY 4.0"}
    unfree = free | {"commercial_use": False, "data": [RESEARCH]}
    levels: dict[str, Any] = {"levels": 2, "age_levels": (1,), "structure": 0}
    for entry in (manifest["readers"][name] for name in READERS):
        entry["provenance"] = free
    readers = Manifest.model_validate(manifest).readers

    def licence(filters: dict[str, Any] | None) -> MethodLicence:
        method = AeStyleGanMethod.model_construct(
            name="styles", **levels, provenance=_provenance(free), filters_provenance=filters and _provenance(filters)
        )
        return method_licence(method, readers)

    assert licence(None).commercial_use
    assert licence(free).commercial_use
    assert licence(unfree).obstacles == ("filters of styles: UTKFace (non-commercial research)",)
    parts = {"provenance": _provenance(free), "detail_provenance": _provenance(unfree)}
    detailed = method_licence(AgeTranslatorMethod.model_construct(name="translator", **parts), readers)
    assert detailed.obstacles == ("skin detail of translator: UTKFace (non-commercial research)",)


def _provenance(entry: dict[str, Any]) -> Provenance:
    return Provenance.model_validate(entry)
