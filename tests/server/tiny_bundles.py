"""Tiny bundles that change while a server has them open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.manifest import MANIFEST_FILE


def rewrite(folder: Path, **changes: Any) -> Bundle:
    """Changes fields of the manifest in ``folder`` at a stroke, as whoever delivers bundles should; gives what is there now."""
    path = folder / MANIFEST_FILE
    text = json.dumps(json.loads(path.read_bytes()) | changes)
    write_at_a_stroke(path, text.encode())
    return load_bundle(folder)


def break_graph(bundle: Bundle, name: str = "age") -> None:
    """Puts another byte at the end of a graph's file, so that its hash is not the manifest's."""
    path = bundle.graph_path(name)
    data = path.read_bytes()
    write_at_a_stroke(path, data[:-1] + bytes([data[-1] ^ 1]))


def write_at_a_stroke(path: Path, data: bytes) -> None:
    """Whoever reads ``path`` finds what was there, or ``data``."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
