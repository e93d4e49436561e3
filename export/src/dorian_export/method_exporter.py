"""What an exporter of a method family is given, what it gives to the bundle, and how it is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dorian_bundle.families import Method
from dorian_bundle.graphs import Graph, Precision
from dorian_export.faces import Faces


@dataclass(frozen=True)
class ExportJob:
    """What all exporters of a bundle work with.

    Attributes:
        checkpoints: Run folders or shipped checkpoints, by family, by face reader, or by the name that an exporter gives to
            further ones.
        faces: Real faces to verify graphs and to calibrate on.
        folder: Folder of the bundle.
        precisions: Of the graphs' files.
        metrics: What was measured, by family or face reader.
    """

    checkpoints: Mapping[str, Path]
    faces: Faces
    folder: Path
    precisions: Sequence[Precision]
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def metrics_with(self, part: str, differences: Mapping[str, float]) -> dict[str, Any]:
        """Return what was measured on ``part``, with the differences of its graphs from torch by file."""
        return {**self.metrics.get(part, {}), "onnx_difference": dict(differences)}


@dataclass(frozen=True)
class MethodExport:
    """A method of a bundle.

    Attributes:
        entry: The method in the manifest.
        graphs: Its graphs, by name.
        differences: Largest difference from torch by graph file.
        images: Names of the images that it wrote beside the model card, for its section of the card.
    """

    entry: Method
    graphs: dict[str, Graph]
    differences: dict[str, float]
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodExporter:
    """How checkpoints of a family become a method. The family's section of the card is ``templates/methods/FAMILY.md.j2``.

    Attributes:
        help: What the family's checkpoint is, as the option of ``dorian-export onnx`` says.
        crop_size: Side in pixels that the family's crops usually have; real faces are cut as large as the largest.
        export: Writes the graphs of ``job.checkpoints[name]``, where ``name`` is the method's,; raises ``ParityError`` if one differs too much from torch,
            and ``ExportError`` if the checkpoint is of another family or there are too few faces.
        further_checkpoints: Names of further options, and their help texts.
    """

    help: str
    crop_size: int
    export: Callable[[ExportJob], MethodExport]
    further_checkpoints: Mapping[str, str] = field(default_factory=dict)
