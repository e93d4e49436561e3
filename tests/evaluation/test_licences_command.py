"""``dorian-evaluate licences`` on the embedded bundle, and on a copy of which everything is free."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dorian_evaluation.cli.evaluate import main

DEFAULT_BUNDLE = Path(__file__).resolve().parents[2] / "models" / "default"
FREE = {"name": "FairFace", "licence": "CC BY 4.0", "commercial_use": True, "faces": 5}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["licences", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def free_bundle(tmp_path: Path) -> Path:
    """A copy of the embedded bundle that says that everything in it is free."""
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in (*manifest["readers"].values(), *manifest["methods"]):
        entry["provenance"] |= {"commercial_use": True, "data": [FREE], "networks": [], "licence": "CC BY 4.0"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_every_part_of_the_embedded_bundle_is_listed() -> None:
    result = json.loads(run(DEFAULT_BUNDLE, "--json"))
    manifest = json.loads((DEFAULT_BUNDLE / "manifest.json").read_text())
    methods = [method["name"] for method in manifest["methods"]]
    parts = []
    for method in manifest["methods"]:
        further = {
            "detail_provenance": "skin detail",
            "shape_provenance": "face shape",
            "hair": "hair segmenter",
            "filters_provenance": "filters",
        }
        parts += [method["name"], *(f"{part} of {method['name']}" for key, part in further.items() if method.get(key))]
    assert "skin detail of age_translator" in parts
    assert "hair segmenter of age_translator" in parts
    names = ["face detector", "landmark refiner", "age estimator", "FaceNet"]
    assert [network["name"] for network in result["networks"]] == [*names, *parts]
    assert [method["name"] for method in result["methods"]] == methods
    for part in (*result["networks"], *result["methods"]):
        assert part["commercial_use"] == (not part["obstacles"])
    table = run(DEFAULT_BUNDLE)
    assert all(f"\n| {network['name']} | {network['sources'][0]['name']} (" in table for network in result["networks"])


def test_a_free_bundle(free_bundle: Path) -> None:
    table = run(free_bundle)
    assert "| face detector | FairFace (CC BY 4.0) | CC BY 4.0 | free |" in table.splitlines()
    assert "| age_translator | free for commercial use |" in table.splitlines()
    assert "not free" not in table


def test_one_part_stands_in_the_way(free_bundle: Path) -> None:
    path = free_bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    research = FREE | {"name": "UTKFace", "licence": "non-commercial research", "commercial_use": False}
    manifest["readers"]["age_estimator"]["provenance"] |= {"commercial_use": False, "data": [FREE, research]}
    path.write_text(json.dumps(manifest))
    table = run(free_bundle)
    assert "| age_translator | not free: age estimator: UTKFace (non-commercial research) |" in table.splitlines()


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["licences", str(tmp_path)])
    assert result.exit_code == 1
    assert "is no bundle" in result.output
