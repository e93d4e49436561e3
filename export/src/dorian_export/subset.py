"""A bundle of some methods of another: for those alone that may be used commercially, or that are needed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dorian_bundle import Bundle, write_manifest
from dorian_bundle.licences import method_licences
from dorian_bundle.manifest import CARD_FILE, Manifest
from dorian_export.errors import ExportError
from dorian_export.model_card import render_card_of


def write_subset(bundle: Bundle, names: Sequence[str], folder: Path) -> None:
    """Write a bundle with the methods ``names`` of ``bundle``, in its order, and with the files that they need.

    Args:
        bundle: The bundle.
        names: Of methods.
        folder: Where to write; empty.

    Raises:
        ManifestError: If there are no ``names``, or not all of them are methods.
    """
    manifest = bundle.manifest.subset(names)
    for file in manifest.files():
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file_path(file), target)
    write_manifest(folder, manifest)
    card = render_card_of(replace(bundle, manifest=manifest))
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    for path in bundle.folder.iterdir():
        if f"({path.name})" in card:  # an image that it shows
            shutil.copyfile(path, folder / path.name)


def keep_free(manifest: Manifest, names: Sequence[str], are_named: bool) -> list[str]:
    """Return those of the methods ``names`` that may be used commercially.

    Args:
        manifest: A bundle's.
        names: Of methods.
        are_named: Whether somebody has named them, so that none may be left out in silence.

    Raises:
        ExportError: If none may be used, or one of those that somebody has named may not.
    """
    terms = {licence.name: licence for licence in method_licences(manifest)}
    unfree = [terms[name] for name in names if name in terms and not terms[name].commercial_use]
    kept = [name for name in names if name not in {licence.name for licence in unfree}]
    if unfree and (are_named or not kept):
        reasons = dict.fromkeys(obstacle for licence in unfree for obstacle in licence.obstacles)
        labels = ", ".join(licence.name for licence in unfree)
        raise ExportError(f"not free for commercial use: {labels}, because of {'; '.join(reasons)}")
    return kept
