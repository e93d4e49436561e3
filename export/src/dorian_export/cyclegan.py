"""CycleGAN: a checkpoint's two averaged translators as graphs, the filters old and young."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dorian_bundle.families.cyclegan import CycleGanMethod, cyclegan_signature
from dorian_bundle.graphs import Graph, Precision
from dorian_bundle.method_entry import Filter
from dorian_export.faces import Faces
from dorian_export.graphs import FilterGraph
from dorian_export.made import Made, with_differences
from dorian_export.origin import provenance
from dorian_export.parity import BATCHES
from dorian_export.proven import export_proven, image_inputs, require_faces, require_family
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.networks.cyclegan import CycleGanShape, build_translator

_DESCRIPTION = "CycleGAN after Zhu et al. 2017: a translator from young faces to old ones, and one back."
_FILTERS = {"old": "Makes faces look old.", "young": "Makes faces look young."}


def make_cyclegan(
    checkpoint: Path, faces: Faces, folder: Path, precisions: Sequence[Precision], metrics: dict[str, Any]
) -> Made:
    """The method of ``checkpoint``, a filter for each domain; graphs in ``folder``. Errors as ``make_age_translator``."""
    weights, about = load_weights(checkpoint)
    require_family(about, "cyclegan")
    shape = CycleGanShape.from_dict(about["shape"])
    pictures = faces.pictures(shape.size)
    require_faces(pictures)
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for domain in _FILTERS:
        network = build_translator(shape).eval().requires_grad_(False)
        load_network(network, weights, f"to_{domain}_ema")
        name = f"cyclegan_{domain}"
        inputs = image_inputs(pictures[: max(BATCHES)])
        graphs[name], found = export_proven(
            name, FilterGraph(network), cyclegan_signature(shape.size), inputs, folder, precisions
        )
        differences |= found
    entry = CycleGanMethod(
        name="cyclegan",
        description=_DESCRIPTION,
        filters=tuple(
            Filter(name=name, description=words, graph=f"cyclegan_{name}") for name, words in _FILTERS.items()
        ),
        crop_size=shape.size,
        provenance=provenance(about, with_differences(metrics, differences)),
    )
    return Made(entry, graphs, differences)
