"""A manifest with some of its methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from dorian_bundle import Bundle, ManifestError, load_bundle
from dorian_bundle.manifest import Manifest


@pytest.fixture(scope="module")
def embedded(default_bundle: Path) -> Bundle:
    return load_bundle(default_bundle)


@pytest.mark.parametrize("names", [("cyclegan",), ("ae_stylegan", "age_cgan")])
def test_a_subset_has_its_methods_and_their_graphs_alone(embedded: Bundle, names: tuple[str, ...]) -> None:
    whole = embedded.manifest
    part = whole.subset(names)
    assert [method.name for method in part.methods] == [method.name for method in whole.methods if method.name in names]
    assert Manifest.model_validate(part.model_dump(mode="json")) == part
    for name in part.graphs:
        graphs = {key: graph for key, graph in part.graphs.items() if key != name}
        with pytest.raises(ValueError, match=name):  # each is needed
            Manifest.model_validate(part.model_dump(mode="json") | {"graphs": graphs})
    assert whole.subset([method.name for method in whole.methods]) == whole


def test_a_subset_of_nothing_or_of_strangers_is_refused(embedded: Bundle) -> None:
    with pytest.raises(ManifestError, match=r"has no method 'magic'; it has age_translator, age_cgan"):
        embedded.manifest.subset(["age_cgan", "magic"])
    with pytest.raises(ManifestError, match="would be left without a method"):
        embedded.manifest.subset([])
