"""The third graph of an Age-cGAN, by which its latents can be searched: what it must be, and that it must fit the bundle's FaceNet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dorian_bundle import ManifestError, load_bundle, write_manifest
from dorian_bundle.families.age_cgan import AgeCganMethod, latent_gradient_signature
from dorian_bundle.manifest import Manifest

Content = dict[str, Any]
GRADIENT = "downhill"


@pytest.fixture
def searchable(manifest: Content) -> Content:
    """The embedded manifest with an Age-cGAN that can be searched. The graph's files are another's; nothing opens them here."""
    (method,) = manifest["methods"]
    sizes = (method["crop_size"], method["latent_size"], len(method["age_groups"]))
    signature = latent_gradient_signature(*sizes, facenet(manifest)["embedding_size"])
    files = manifest["graphs"]["age_cgan_encoder"]["files"]
    manifest["graphs"][GRADIENT] = {"signature": signature.model_dump(mode="json"), "files": files}
    method["graphs"]["latent_gradient"] = GRADIENT
    method["embedding_size"] = facenet(manifest)["embedding_size"]
    return manifest


def facenet(content: Content) -> Content:
    entry: Content = content["readers"]["facenet"]
    return entry


def method_of(content: Content) -> Content:
    entry: Content = content["methods"][0]
    return entry


def signature_of(content: Content) -> Content:
    entry: Content = content["graphs"][GRADIENT]["signature"]
    return entry


def test_a_method_that_can_be_searched(searchable: Content) -> None:
    read = Manifest.model_validate(searchable)
    (method,) = read.methods
    assert isinstance(method, AgeCganMethod)
    assert method.graphs["latent_gradient"] == GRADIENT
    assert method.embedding_size == read.readers.facenet.embedding_size
    assert read.model_dump(mode="json") == searchable


def test_a_method_that_cannot_be_searched_has_no_embedding_size(manifest: Content) -> None:
    del manifest["methods"][0]["embedding_size"]
    (method,) = Manifest.model_validate(manifest).methods
    assert isinstance(method, AgeCganMethod)
    assert method.embedding_size is None
    assert set(method.graphs) == {"encoder", "generator"}


def test_it_loads_as_it_was_written(folder: Path, searchable: Content) -> None:
    written = Manifest.model_validate(searchable)
    write_manifest(folder, written)
    assert load_bundle(folder).manifest == written


def test_methods_that_can_be_searched_and_others_stand_side_by_side(searchable: Content) -> None:
    other = copy.deepcopy(method_of(searchable))
    del other["graphs"]["latent_gradient"]
    searchable["methods"].append(other | {"name": "other", "embedding_size": None})
    first, second = Manifest.model_validate(searchable).methods
    assert [isinstance(item, AgeCganMethod) and item.embedding_size is not None for item in (first, second)] == [
        True,
        False,
    ]


def without_graph(content: Content) -> None:
    del method_of(content)["graphs"]["latent_gradient"]


def swap(content: Content, side: str, one: int, other: int) -> None:
    specs = signature_of(content)[side]
    specs[one], specs[other] = specs[other], specs[one]


def embedding_of(content: Content, size: int, *, in_method: bool, in_graph: bool, in_reader: bool) -> None:
    """Change the size of embeddings in some of the three places that tell it."""
    if in_method:
        method_of(content)["embedding_size"] = size
    if in_graph:
        signature_of(content)["inputs"][3]["shape"][1] = size
    if in_reader:
        facenet(content)["embedding_size"] = size
        content["graphs"][facenet(content)["graph"]]["signature"]["outputs"][0]["shape"][1] = size


# What breaks the manifest of a method that can be searched, and what is said of it.
CONTRADICTIONS: dict[str, tuple[Callable[[Content], object], list[str]]] = {
    "a graph without an embedding size": (
        lambda m: method_of(m).update(embedding_size=None),
        ["method 'age_cgan': needs graphs for encoder, generator, has them for encoder, generator, latent_gradient"],
    ),
    "an embedding size without a graph": (
        without_graph,
        ["method 'age_cgan': needs graphs for encoder, generator, latent_gradient, has them for encoder, generator"],
    ),
    "a graph that the bundle lacks": (
        lambda m: m["graphs"].pop(GRADIENT),
        ["method 'age_cgan': its latent_gradient is the graph 'downhill', which the bundle lacks"],
    ),
    "another graph": (
        lambda m: method_of(m)["graphs"].update(latent_gradient="age_cgan_generator"),
        ["its latent_gradient, the graph 'age_cgan_generator', has the signature", "-> (loss float32[batch], gradient"],
    ),
    "inputs in another order": (
        lambda m: swap(m, "inputs", 0, 1),
        ["its latent_gradient, the graph 'downhill', has the signature (condition", "but (latent float32[batch, "],
    ),
    "outputs in another order": (
        lambda m: swap(m, "outputs", 0, 2),
        ["its latent_gradient, the graph 'downhill',", "-> (terms float32[batch, 3], gradient", "-> (loss"],
    ),
    "no weights": (
        lambda m: signature_of(m)["inputs"].pop(),
        ["its latent_gradient, the graph 'downhill', has the signature", ", weights float32[batch, 3])"],
    ),
    "two terms": (
        lambda m: signature_of(m)["outputs"][2].update(shape=["batch", 2]),
        ["its latent_gradient, the graph 'downhill',", "terms float32[batch, 2])", "terms float32[batch, 3])"],
    ),
    "a graph of another latent": (
        lambda m: signature_of(m)["inputs"][0].update(shape=["batch", 9]),
        ["its latent_gradient, the graph 'downhill', has the signature (latent float32[batch, 9],"],
    ),
    "a graph of other embeddings than the method's": (
        lambda m: embedding_of(m, 7, in_method=False, in_graph=True, in_reader=False),
        ["its latent_gradient, the graph 'downhill',", "embedding float32[batch, 7]"],
    ),
    "a method of other embeddings than FaceNet's": (
        lambda m: embedding_of(m, 7, in_method=True, in_graph=True, in_reader=False),
        ["method 'age_cgan' searches embeddings of 7 values, but FaceNet's have "],
    ),
    "a FaceNet of other embeddings than the method's": (
        lambda m: embedding_of(m, 7, in_method=False, in_graph=False, in_reader=True),
        ["method 'age_cgan' searches embeddings of ", " values, but FaceNet's have 7"],
    ),
}


@pytest.mark.parametrize(("edit", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_does_not_fit_is_refused(
    folder: Path,
    searchable: Content,
    edit_manifest: Callable[[Callable[[Content], object]], None],
    edit: Callable[[Content], object],
    words: list[str],
) -> None:
    Manifest.model_validate(searchable)
    edit_manifest(edit)
    with pytest.raises(ManifestError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'manifest.json'}: ")
    assert [part for part in words if part not in message] == [], message


def test_all_three_of_another_size_fit(searchable: Content) -> None:
    embedding_of(searchable, 7, in_method=True, in_graph=True, in_reader=True)
    assert Manifest.model_validate(searchable).readers.facenet.embedding_size == 7


@pytest.mark.parametrize("size", [0, -1, 1.5, "many"])
def test_embeddings_have_a_size(searchable: Content, size: object) -> None:
    method_of(searchable)["embedding_size"] = size
    with pytest.raises(ValidationError, match=r"methods\.0\.age_cgan\.embedding_size"):
        Manifest.model_validate(searchable)
