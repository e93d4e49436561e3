"""The manifest's methods: each family says what its graphs must be, and a manifest may hold them side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dorian_bundle import load_bundle, write_manifest
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.families.age_translator import AgeTranslatorMethod, age_translator_signature
from dorian_bundle.families.cyclegan import CycleGanMethod, cyclegan_signature
from dorian_bundle.graphs import Signature
from dorian_bundle.manifest import Manifest

Content = dict[str, Any]
TRANSLATOR, CYCLEGAN = 1, 2


@pytest.fixture
def three(manifest: Content) -> Content:
    """The embedded manifest with a method of every family. The new graphs' files are another's; nothing opens them here."""
    age_cgan, files = manifest["methods"][0], manifest["graphs"]["age_cgan_encoder"]["files"]

    def add_graph(name: str, signature: Signature) -> None:
        manifest["graphs"][name] = {"signature": signature.model_dump(mode="json"), "files": files}

    add_graph("translator", age_translator_signature(96))
    for name in ("beard", "no_beard"):
        add_graph(name, cyclegan_signature(128))
    manifest["methods"] += [
        {
            "family": "age_translator",
            "name": "any_age",
            "description": "Any age.",
            "graph": "translator",
            "age_groups": age_cgan["age_groups"],
            "crop_size": 96,
            "min_years": 3.0,
            "max_years": 88.0,
            "calibration": {
                "points": [{"asked": 60.0, "offset": 4.0, "strength": 1.2}],
                "by_source": [],
                "estimates": [],
            },
            "mirrored": True,
            "reads_back": False,
            "detail": None,
            "detail_provenance": None,
            "shape": None,
            "shape_provenance": None,
            "hair": None,
            "provenance": age_cgan["provenance"],
        },
        {
            "family": "cyclegan",
            "name": "filters",
            "description": "Beards.",
            "filters": [
                {"name": "beard", "description": "A beard.", "graph": "beard"},
                {"name": "no_beard", "description": "None.", "graph": "no_beard"},
            ],
            "crop_size": 128,
            "provenance": age_cgan["provenance"],
        },
    ]
    return manifest


def again(content: Content, method: int, **changes: object) -> None:
    """Add another method that differs from ``method`` in ``changes``."""
    content["methods"].append(copy.deepcopy(content["methods"][method]) | changes)


def rename_filters(content: Content, *names: str, method: int = CYCLEGAN) -> None:
    for entry, name in zip(content["methods"][method]["filters"], names, strict=True):
        entry["name"] = name


def swap_ages(content: Content) -> None:
    inputs = content["graphs"]["translator"]["signature"]["inputs"]
    inputs.append(inputs.pop(1))


def test_families_stand_side_by_side(three: Content) -> None:
    read = Manifest.model_validate(three)
    assert [type(method) for method in read.methods] == [AgeCganMethod, AgeTranslatorMethod, CycleGanMethod]
    assert read.model_dump(mode="json") == three
    assert Manifest.model_validate_json(read.model_dump_json()) == read


def test_a_bundle_of_every_family_loads_as_it_was_written(folder: Path, three: Content) -> None:
    manifest = Manifest.model_validate(three)
    write_manifest(folder, manifest)
    assert load_bundle(folder).manifest == manifest


def test_any_family_may_be_the_default_one(three: Content) -> None:
    for _ in range(3):
        three["methods"].append(three["methods"].pop(0))
        Manifest.model_validate(three)


def test_several_methods_of_a_family(three: Content) -> None:
    again(three, TRANSLATOR, name="any_age_again")
    again(three, CYCLEGAN, name="more_filters")
    rename_filters(three, "grey_beard", "no_grey_beard", method=-1)
    assert len(Manifest.model_validate(three).methods) == 5


# What breaks a manifest of three families, where that is seen, and what is said of it.
CONTRADICTIONS: dict[str, tuple[Callable[[Content], object], str, list[str]]] = {
    "unknown family": (
        lambda m: m["methods"][TRANSLATOR].update(family="magic"),
        "methods.1",
        ["'magic'", "'family'", "'age_cgan', 'age_translator', 'cyclegan'"],
    ),
    "no family": (lambda m: m["methods"][TRANSLATOR].pop("family"), "methods.1", ["'family'"]),
    "another family's fields": (
        lambda m: m["methods"][TRANSLATOR].update(family="cyclegan"),
        "methods.1.cyclegan.filters",
        ["required"],
    ),
    "unknown field": (
        lambda m: m["methods"][CYCLEGAN].update(age_groups=[]),
        "methods.2.cyclegan.age_groups",
        ["not permitted"],
    ),
    "translator without a graph": (
        lambda m: m["methods"][TRANSLATOR].update(graph="nothing"),
        "",
        ["method 'any_age': its translator is the graph 'nothing', which the bundle lacks"],
    ),
    "translator of another crop size": (
        lambda m: m["methods"][TRANSLATOR].update(crop_size=128),
        "",
        [
            "method 'any_age': its translator, the graph 'translator', has the signature",
            "(image float32[batch, 3, 96, 96], source_age float32[batch], target_age float32[batch])",
            "but (image float32[batch, 3, 128, 128], source_age float32[batch], target_age float32[batch])",
        ],
    ),
    "translator that takes the target age first": (
        swap_ages,
        "",
        ["its translator, the graph 'translator', has the signature", "target_age float32[batch], source_age float32"],
    ),
    "translator that gives pictures": (
        lambda m: m["methods"][TRANSLATOR].update(graph="beard"),
        "",
        ["its translator, the graph 'beard', has the signature", "-> (translated", "-> (delta"],
    ),
    "years in the wrong order": (
        lambda m: m["methods"][TRANSLATOR].update(min_years=50, max_years=49.5),
        "methods.1.age_translator",
        ["min_years 50 must be less than max_years 49.5"],
    ),
    "no years at all": (
        lambda m: m["methods"][TRANSLATOR].update(min_years=50, max_years=50),
        "methods.1.age_translator",
        ["min_years 50 must be less than max_years 50"],
    ),
    "years below birth": (
        lambda m: m["methods"][TRANSLATOR].update(min_years=-1),
        "methods.1.age_translator.min_years",
        ["greater than or equal to 0"],
    ),
    "years beyond ages": (
        lambda m: m["methods"][TRANSLATOR].update(max_years=121),
        "methods.1.age_translator.max_years",
        ["less than or equal to 120"],
    ),
    "gap between a translator's groups": (
        lambda m: m["methods"][TRANSLATOR].update(
            age_groups=[g for g in m["methods"][TRANSLATOR]["age_groups"] if g["label"] != "19-29"]
        ),
        "",
        ["method 'any_age': age group '30-39' must start one year after '0-18' ends"],
    ),
    "calibration that descends": (
        lambda m: m["methods"][TRANSLATOR]["calibration"]["points"].append(
            {"asked": 40.0, "offset": 0.0, "strength": 1.0}
        ),
        "methods.1.age_translator.calibration",
        ["calibration points must ascend: 40 follows 60"],
    ),
    "no calibration": (
        lambda m: m["methods"][TRANSLATOR].pop("calibration"),
        "methods.1.age_translator.calibration",
        ["required"],
    ),
    "no filters": (
        lambda m: m["methods"][CYCLEGAN].update(filters=[]),
        "methods.2.cyclegan.filters",
        ["at least 1"],
    ),
    "filter without a graph": (
        lambda m: m["methods"][CYCLEGAN]["filters"][1].update(graph="nothing"),
        "",
        ["method 'filters': its filter 'no_beard' is the graph 'nothing', which the bundle lacks"],
    ),
    "filters of another crop size": (
        lambda m: m["methods"][CYCLEGAN].update(crop_size=96),
        "",
        [
            "method 'filters': its filter 'beard', the graph 'beard', has the signature",
            "(image float32[batch, 3, 128, 128]) -> (translated float32[batch, 3, 128, 128])",
            "but (image float32[batch, 3, 96, 96]) -> (translated float32[batch, 3, 96, 96])",
        ],
    ),
    "one filter of another shape": (
        lambda m: m["methods"][CYCLEGAN]["filters"][1].update(graph="translator"),
        "",
        ["method 'filters': its filter 'no_beard', the graph 'translator', has the signature", "delta float32"],
    ),
    "filter twice in a method": (
        lambda m: rename_filters(m, "beard", "beard"),
        "",
        ["filter names repeat: beard, beard"],
    ),
    "filter in two methods": (
        lambda m: again(m, CYCLEGAN, name="filters_again"),
        "",
        ["filter names repeat: beard, no_beard, beard, no_beard"],
    ),
    "filter of another form": (
        lambda m: rename_filters(m, "beard", "no beard"),
        "methods.2.cyclegan.filters.1.name",
        ["^[a-z][a-z0-9_]*$"],
    ),
    "two families of one name": (
        lambda m: m["methods"][CYCLEGAN].update(name="any_age"),
        "",
        ["method names repeat: age_cgan, any_age, any_age"],
    ),
}


@pytest.mark.parametrize(("edit", "place", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_methods_that_contradict_themselves_or_their_schema(
    three: Content, edit: Callable[[Content], object], place: str, words: list[str]
) -> None:
    edit(three)
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate(three)
    result = {".".join(map(str, problem["loc"])): problem["msg"] for problem in caught.value.errors()}
    assert place in result, result
    assert [part for part in words if part not in result[place]] == [], result[place]


@pytest.mark.parametrize("method", [TRANSLATOR, CYCLEGAN])
@pytest.mark.parametrize("crop_size", [15, 1025, 64.5])
def test_crops_of_every_family_have_bounds(three: Content, method: int, crop_size: float) -> None:
    three["methods"][method]["crop_size"] = crop_size
    with pytest.raises(ValidationError, match=rf"methods\.{method}\.\w+\.crop_size"):
        Manifest.model_validate(three)


@pytest.mark.parametrize("method", [TRANSLATOR, CYCLEGAN])
@pytest.mark.parametrize("name", ["", "Age", "1st", "age-cgan", "age cgan"])
def test_names_of_every_family_are_plain(three: Content, method: int, name: str) -> None:
    three["methods"][method]["name"] = name
    with pytest.raises(ValidationError, match=rf"methods\.{method}\.\w+\.name"):
        Manifest.model_validate(three)
