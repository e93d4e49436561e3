"""The embedded bundle, whole and broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEFAULT_BUNDLE = Path(__file__).resolve().parents[2] / "models" / "default"

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def default_bundle() -> Path:
    """The folder of the embedded bundle; not to be written to."""
    return DEFAULT_BUNDLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded bundle, to be broken."""
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The embedded bundle's manifest, as JSON has it, with Age-cGAN as its one method, whose latents cannot be searched."""
    content: dict[str, Any] = json.loads((DEFAULT_BUNDLE / "manifest.json").read_bytes())
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
