"""A bundle of checkpoints: graphs, manifest, model card and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dorian_bundle import write_manifest
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.graphs import Graph, Precision
from dorian_bundle.manifest import CARD_FILE, Manifest
from dorian_export.curves import draw_curves, read_curves
from dorian_export.errors import ExportError
from dorian_export.exporters import EXPORTERS
from dorian_export.face_readers import export_face_readers
from dorian_export.faces import Faces
from dorian_export.method_exporter import ExportJob, MethodExport
from dorian_export.model_card import curves_file, render_card

# Of all networks but the detector, which is small: a CPU widens the weights when it loads them (docs/decisions/0007).
_PRECISIONS: tuple[Precision, ...] = ("fp16",)


@dataclass(frozen=True)
class BundleInfo:
    """A bundle's name and version, and what was measured on its parts: ``metrics`` by family or face reader."""

    name: str
    version: str
    metrics: dict[str, dict[str, Any]]


def build_bundle(
    checkpoints: Mapping[str, Path], folder: Path, faces: Faces, info: BundleInfo
) -> tuple[Manifest, dict[str, float]]:
    """Write a bundle.

    Args:
        checkpoints: Run folders or shipped checkpoints, and the detector's file, by the names of ``READERS``, which are all needed, and of
            ``EXPORTERS``, of which at least one is, with those that these exporters name further.
        folder: Where to write; empty.
        faces: Real faces to verify graphs, to calibrate and to measure thresholds on.
        info: Name, version and measurements.

    Returns:
        The bundle's manifest, and the largest difference from its network by graph file.

    Raises:
        ExportError: If there is no method, or a checkpoint or the faces do not fit.
        ParityError: If a graph differs too much from its network.
    """
    job = ExportJob(checkpoints, faces, folder, _PRECISIONS, info.metrics)
    methods = _export_methods(job)
    readers, (reader_graphs, reader_differences) = export_face_readers(job)
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for method in methods:
        graphs |= method.graphs
        differences |= method.differences
    graphs |= reader_graphs
    differences |= reader_differences
    manifest = Manifest(
        name=info.name,
        version=info.version,
        created=datetime.now(UTC).date().isoformat(),
        alignment=DEFAULT_TEMPLATE,
        graphs=graphs,
        readers=readers,
        methods=tuple(method.entry for method in methods),
    )
    images = _draw_curves(methods, checkpoints, folder) | {image for method in methods for image in method.images}
    (folder / CARD_FILE).write_text(render_card(manifest, differences, images), encoding="utf-8")
    write_manifest(folder, manifest)
    return manifest, differences


def _export_methods(job: ExportJob) -> list[MethodExport]:
    methods = [exporter.export(job) for family, exporter in EXPORTERS.items() if family in job.checkpoints]
    if not methods:
        *families, last = EXPORTERS
        raise ExportError(f"a bundle needs a method; give at least one of {', '.join(families)} and {last}")
    return methods


def _draw_curves(methods: Sequence[MethodExport], checkpoints: Mapping[str, Path], folder: Path) -> set[str]:
    """Draw the learning curves that methods' checkpoints keep; returns the names of the images."""
    images = set()
    for method in methods:
        if curves := read_curves(checkpoints[method.entry.name]):
            draw_curves(folder / curves_file(method.entry), curves)
            images.add(curves_file(method.entry))
    return images
