"""Sheets of changed faces to be looked at, the second time among real ones and without knowing which is which."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dorian_bundle.tensors import floats_to_pixels
from dorian_evaluation.age_cgan.face_grid import write_face_grid
from dorian_evaluation.images import Pixels
from dorian_evaluation.stylegan.changes import Domain, draw_deltas, preset_changes, served_changes
from dorian_evaluation.stylegan.networks import Codes, StyleFaces, StyleNetworks, add_deltas

_SIDE = 192  # pixels of a face
_SHOWN = 6  # faces of each domain
_LENDER = "five"
_COLUMNS = 6  # of the shuffled sheet


def write_mixing_sheet(path: Path, networks: StyleNetworks, domains: Sequence[tuple[Domain, StyleFaces]]) -> None:
    """Show six faces of each domain: the photo, its reconstruction, and each preset by the mean of five references, then as served.

    Raises:
        DataError: The suffix of ``path`` stands for no image format.
    """
    names, rows = ["photo", "reconstruction"], list[list[Pixels]]()
    for domain, faces in domains:
        shown = _take(faces, range(min(_SHOWN, len(faces))))
        changes = [c for c in preset_changes(networks, shown, domain) if c.lender == _LENDER]
        changes += [change for change in served_changes(networks, shown, domain) if change.filter is None]
        columns = [shown.views, floats_to_pixels(shown.own)]
        columns += [
            add_deltas(shown.views, draw_deltas(networks, shown, change), networks.template) for change in changes
        ]
        names = [*names[:2], *(change.preset for change in changes)]
        rows += [list(row) for row in zip(*columns, strict=True)]
    write_face_grid(path, names, rows, _SIDE)


def write_blind_sheet(
    path: Path, networks: StyleNetworks, domains: Sequence[tuple[Domain, StyleFaces]], seed: int
) -> Path:
    """Show six faces of each domain changed as served, shuffled with real faces; return the path of the key, a JSON file.

    The key has a row for each row of the sheet: of every face, whether it is ``changed`` or ``real``, and its file.

    Raises:
        DataError: The suffix of ``path`` stands for no image format.
    """
    tiles: list[tuple[Pixels, dict[str, str]]] = []
    for domain, faces in domains:
        count = min(_SHOWN, len(faces) // 2)
        changed, real = _take(faces, range(count)), _take(faces, range(count, 2 * count))
        change = next(served_changes(networks, changed, domain))
        views = add_deltas(changed.views, draw_deltas(networks, changed, change), networks.template)
        for kind, shown, pixels in (("changed", changed, views), ("real", real, real.views)):
            tiles += [
                (face, {"kind": kind, "file": record.name}) for face, record in zip(pixels, shown.records, strict=True)
            ]
    order = np.random.default_rng(seed).permutation(len(tiles))
    rows = [[tiles[index] for index in order[start : start + _COLUMNS]] for start in range(0, len(order), _COLUMNS)]
    names = [str(number + 1) for number in range(_COLUMNS)]
    write_face_grid(path, names, [[face for face, _ in row] for row in rows], _SIDE)
    key = path.with_name(f"{path.stem}-key.json")
    key.write_text(json.dumps([[about for _, about in row] for row in rows], indent=1) + "\n")
    return key


def _take(faces: StyleFaces, indices: range) -> StyleFaces:
    rows = slice(indices.start, indices.stop)
    codes = Codes(faces.codes.structure[rows], faces.codes.styles[rows])
    return StyleFaces(faces.records[rows], faces.crops[rows], faces.views[rows], codes, faces.own[rows])
