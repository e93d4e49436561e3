"""``dorian-export subset``: a bundle of some methods of another, which passes the same check."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dorian_bundle import load_bundle
from dorian_bundle.licences import method_licences
from dorian_bundle.manifest import MANIFEST_FILE
from dorian_export.check import check_bundle
from dorian_export.cli import main

EMBEDDED = Path(__file__).parents[2] / "models" / "default"
Subset = Callable[..., Result]


@pytest.fixture
def subset(tmp_path: Path) -> Subset:
    def run(*args: object, bundle: Path = EMBEDDED) -> Result:
        command = ["subset", str(bundle), *map(str, args), "-o", str(tmp_path / "part")]
        return CliRunner().invoke(main, command)

    return run


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_free_for_commercial_use(subset: Subset, tmp_path: Path) -> None:
    result = subset("--licences", "commercial")
    assert result.exit_code == 0, result.output
    written, whole = check_bundle(tmp_path / "part"), load_bundle(EMBEDDED)
    free = [licence.name for licence in method_licences(whole.manifest) if licence.commercial_use]
    assert [method.name for method in written.manifest.methods] == free
    assert written.sha256 in result.output
    card = (tmp_path / "part" / "README.md").read_text()
    assert "not free" not in card
    images = {name for name in files_in(EMBEDDED) if f"({name})" in card}
    listed = {file.path for file in written.manifest.files()}
    assert files_in(tmp_path / "part") == listed | images | {"README.md", MANIFEST_FILE}
    assert len(listed) < len(whole.manifest.files())


def test_methods_by_name_keep_the_bundles_order(subset: Subset, tmp_path: Path) -> None:
    assert subset("--methods", "cyclegan, age_cgan").exit_code == 0
    manifest = load_bundle(tmp_path / "part").manifest
    assert [method.name for method in manifest.methods] == ["age_cgan", "cyclegan"]
    card = (tmp_path / "part" / "README.md").read_text()
    assert "(curves_age_cgan.png)" in card
    assert (tmp_path / "part" / "curves_age_cgan.png").is_file()
    assert not (tmp_path / "part" / "curves_age_translator.png").exists()


def test_a_subset_replaces_a_bundle_and_nothing_else(subset: Subset, tmp_path: Path) -> None:
    assert subset("--methods", "cyclegan").exit_code == 0
    assert subset("--methods", "age_cgan").exit_code == 0
    assert [method.name for method in load_bundle(tmp_path / "part").manifest.methods] == ["age_cgan"]
    shutil.rmtree(tmp_path / "part")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "letter.txt").write_text("dear")
    result = subset("--methods", "cyclegan")
    assert (result.exit_code, "something other than a bundle" in result.output) == (1, True)
    assert files_in(tmp_path / "part") == {"letter.txt"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--methods", "magic"], "has no method 'magic'; it has age_translator, age_cgan"),
        (
            ["--methods", "age_cgan", "--licences", "commercial"],
            "not free for commercial use: age_cgan, because of age_cgan: UTKFace",
        ),
    ],
)
def test_what_cannot_be_is_refused(subset: Subset, tmp_path: Path, args: list[str], words: str) -> None:
    result = subset(*args)
    assert (result.exit_code, words in result.output) == (1, True), result.output
    assert not (tmp_path / "part").exists()


def test_readers_that_are_not_free_leave_nothing(subset: Subset, tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "whole")
    path = tmp_path / "whole" / MANIFEST_FILE
    content: dict[str, Any] = json.loads(path.read_bytes())
    content["readers"]["facenet"]["provenance"] |= {"commercial_use": False, "licence": "for research"}
    path.write_text(json.dumps(content))
    result = subset("--licences", "commercial", bundle=tmp_path / "whole")
    assert (result.exit_code, "FaceNet: dlib" in result.output) == (1, True), result.output
