"""A bundle: a folder with a manifest, ONNX graphs and a model card; loaded here, and verified."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dorian_bundle.errors import ManifestError
from dorian_bundle.graphs import Precision
from dorian_bundle.manifest import CARD_FILE, MANIFEST_FILE, SCHEMA_VERSION, Manifest
from dorian_bundle.stored_files import StoredFile


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. ``sha256`` is the manifest's; through the graphs' hashes in it, it stands for the whole."""

    folder: Path
    manifest: Manifest
    sha256: str

    def graph_path(self, name: str, precision: Precision | None = None) -> Path:
        """Return the file of graph ``name``, of ``precision`` or else the most precise one; raises ``GraphFileError`` if there is none."""
        return self.file_path(self.manifest.graphs[name].file(precision))

    def file_path(self, file: StoredFile) -> Path:
        """Return where ``file`` of the manifest is."""
        return self.folder / file.path


def load_bundle(folder: Path) -> Bundle:
    """Load and verify the bundle in ``folder``: the manifest, its consistency, every file and its hash.

    Whether the graphs really take and give what the manifest says can only be seen where they are opened; sessions compare
    with ``Signature.require_same``.

    Raises:
        ManifestError: If the manifest or the model card is missing, or the manifest is of another schema or inconsistent.
        GraphFileError: If a file is missing or not the one that the manifest describes.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ManifestError(f"{folder} is no bundle: it has no {MANIFEST_FILE}")
    data = path.read_bytes()
    manifest = _parse(path, data)
    for file in manifest.files():
        file.verify(folder)
    if not (folder / CARD_FILE).is_file():
        raise ManifestError(f"{folder} has no model card ({CARD_FILE})")
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest())


def _parse(path: Path, data: bytes) -> Manifest:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ManifestError(f"{path} has schema version {version!r}; this release reads version {SCHEMA_VERSION}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'manifest'}: {problem['msg']}" for problem in error.errors()
        ]
        raise ManifestError(f"{path}: {'; '.join(problems)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest`` to ``folder``, where its graphs already are."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST_FILE).write_text(f"{text}\n", encoding="utf-8")
