"""A bundle of several methods, of which all but one are graphs of a few nodes whose answers are known; see also ``tiny_searches``."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

from dorian_bundle import Bundle, load_bundle, write_manifest
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.calibration import Calibration, CalibrationPoint
from dorian_bundle.entries import Provenance
from dorian_bundle.families.age_translator import AgeTranslatorMethod, age_translator_signature
from dorian_bundle.families.cyclegan import CycleGanMethod, cyclegan_signature
from dorian_bundle.graphs import Graph, GraphFile, Signature
from dorian_bundle.method_entry import Filter

SIZE = 64
MIN_YEARS, MAX_YEARS = 5.0, 90.0
FILTER_CHANGE = 0.16  # of each channel, in [0, 1]: lighter, or darker
# Faces asked for at 70 are drawn at 76, and a quarter as much again.
CALIBRATION = Calibration(
    points=(
        CalibrationPoint(asked=50, offset=0, strength=1),
        CalibrationPoint(asked=70, offset=6, strength=1.25),
    )
)

# Graphs for crops of 64 pixels, made with onnx.helper.
# delta: red = (target_age - source_age) / 100, green = blue = 0; of an image that is not looked at.
_TRANSLATOR = base64.b64decode(
    "CAgSADrBAgogCgp0YXJnZXRfYWdlCgpzb3VyY2VfYWdlEgF5IgNTdWIKFAoBeQoBYRIBdSIJVW5zcXVlZXplCg4KAXUKAXISAWQiA011bAoWCg"
    "VpbWFnZQoFaW1hZ2USAXoiA1N1YgoSCgF6CgFkEgVkZWx0YSIDQWRkEgFnKiEIAxAHQgFhShgBAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAqGwgB"
    "CAMIAQgBEAFCAXJKDArXIzwAAAAAAAAAAFokCgVpbWFnZRIbChkIARIVCgcSBWJhdGNoCgIIAwoCCEAKAghAWh0KCnNvdXJjZV9hZ2USDwoNCA"
    "ESCQoHEgViYXRjaFodCgp0YXJnZXRfYWdlEg8KDQgBEgkKBxIFYmF0Y2hiJAoFZGVsdGESGwoZCAESFQoHEgViYXRjaAoCCAMKAghACgIIQEIE"
    "CgAQEQ=="
)
# translated = image + 0.16
_LIGHTER = base64.b64decode(
    "CAgSADp+ChsKBWltYWdlCgFjEgp0cmFuc2xhdGVkIgNBZGQSAWcqCxABQgFjSgQK1yM+WiQKBWltYWdlEhsKGQgBEhUKBxIFYmF0Y2gKAggDCg"
    "IIQAoCCEBiKQoKdHJhbnNsYXRlZBIbChkIARIVCgcSBWJhdGNoCgIIAwoCCEAKAghAQgQKABAR"
)
# translated = image - 0.16
_DARKER = base64.b64decode(
    "CAgSADp+ChsKBWltYWdlCgFjEgp0cmFuc2xhdGVkIgNBZGQSAWcqCxABQgFjSgQK1yO+WiQKBWltYWdlEhsKGQgBEhUKBxIFYmF0Y2gKAggDCg"
    "IIQAoCCEBiKQoKdHJhbnNsYXRlZBIbChkIARIVCgcSBWJhdGNoCgIIAwoCCEAKAghAQgQKABAR"
)


def write_bundle(embedded: Bundle, folder: Path) -> Bundle:
    """``embedded`` in ``folder``, with a known age translator before its Age-cGAN and known filters after it."""
    shutil.copytree(embedded.folder, folder)
    manifest = embedded.manifest
    (age_cgan,) = (method for method in manifest.methods if method.family == "age_cgan")
    translator, translator_graphs = write_translator(folder, age_cgan.provenance)
    filters, filter_graphs = write_filters(folder, age_cgan.provenance)
    graphs = translator_graphs | filter_graphs
    parts = {"graphs": manifest.graphs | graphs, "methods": (translator, age_cgan, filters)}
    write_manifest(folder, manifest.model_copy(update=parts))
    return load_bundle(folder)


def write_filters(folder: Path, provenance: Provenance) -> tuple[CycleGanMethod, dict[str, Graph]]:
    """The filters ``young`` and ``old``, named ``cyclegan``, and their graphs, written to ``folder``."""
    method = CycleGanMethod(
        name="cyclegan",
        description="Lighter or darker.",
        filters=(
            Filter(name="young", description="Lighter.", graph="tiny_young"),
            Filter(name="old", description="Darker.", graph="tiny_old"),
        ),
        crop_size=SIZE,
        provenance=provenance,
    )
    return method, {
        "tiny_young": write_graph(folder, "tiny_young", _LIGHTER, cyclegan_signature(SIZE)),
        "tiny_old": write_graph(folder, "tiny_old", _DARKER, cyclegan_signature(SIZE)),
    }


def write_translator(folder: Path, provenance: Provenance) -> tuple[AgeTranslatorMethod, dict[str, Graph]]:
    """The age translator, named ``age_translator``, and its graph, written to ``folder``."""
    method = AgeTranslatorMethod(
        name="age_translator",
        description="Redder with the years.",
        graph="tiny_translator",
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        min_years=MIN_YEARS,
        max_years=MAX_YEARS,
        calibration=CALIBRATION,
        mirrored=True,
        provenance=provenance,
    )
    return method, {
        "tiny_translator": write_graph(folder, "tiny_translator", _TRANSLATOR, age_translator_signature(SIZE))
    }


def write_graph(folder: Path, name: str, data: bytes, signature: Signature) -> Graph:
    """The graph ``name``, its file written to ``folder``."""
    path = f"graphs/{name}.fp32.onnx"
    (folder / path).write_bytes(data)
    return Graph(signature=signature, files=(GraphFile.of(folder, path, "fp32"),))
