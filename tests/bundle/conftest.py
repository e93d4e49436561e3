"""The embedded bundle, whole and broken."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bundle.onnx_encoding import empty_model

DEFAULT_BUNDLE = Path(__file__).resolve().parents[2] / "models" / "default"

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def default_bundle() -> Path:
    """The folder of the embedded bundle; not to be written to."""
    return DEFAULT_BUNDLE


@pytest.fixture(scope="session")
def light_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded bundle with a few kilobytes in place of each graph: loading verifies files and opens none."""
    folder = tmp_path_factory.mktemp("light") / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder, ignore=shutil.ignore_patterns("*.onnx"))
    content = json.loads((folder / "manifest.json").read_bytes())
    for graph in content["graphs"].values():
        for file in graph["files"]:
            data = empty_model(file["path"] * 100)
            (folder / file["path"]).write_bytes(data)
            file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def folder(light_bundle: Path, tmp_path: Path) -> Path:
    """A copy of ``light_bundle``, to be broken."""
    return Path(shutil.copytree(light_bundle, tmp_path / "bundle"))


@pytest.fixture
def manifest(light_bundle: Path) -> dict[str, Any]:
    """The manifest of ``light_bundle``, as JSON has it, with Age-cGAN as its one method, whose latents cannot be searched."""
    content: dict[str, Any] = json.loads((light_bundle / "manifest.json").read_bytes())
    (age_cgan,) = (method for method in content["methods"] if method["family"] == "age_cgan")
    age_cgan["graphs"].pop("latent_gradient", None)
    return content | {"methods": [age_cgan | {"embedding_size": None}]}


@pytest.fixture
def edit_manifest(folder: Path, manifest: dict[str, Any]) -> Callable[[Edit], None]:
    """Changes the manifest of ``folder``."""

    def change(edit: Edit) -> None:
        edit(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    return change
