"""A bundle with an AE-StyleGAN of a few nodes whose answers are known, after the embedded age translator and Age-cGAN."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dorian_bundle import Bundle, load_bundle, write_manifest
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.method_entry import Filter
from dorian_bundle.stored_files import describe_file
from dorian_bundle.style_library import LIBRARY_FILE, StyleLibrary
from tests.server.tiny_methods import CALIBRATION, MAX_YEARS, MIN_YEARS, SIZE, write_graph, write_translator

LEVELS, STYLE, STRUCTURE = 12, 2, 3
AGE_LEVELS = (9, 10, 11, 12)
FILTER_CHANGE = 0.125  # of red

# Graphs for crops of 64 pixels, made with onnx.helper.
# structure = mean red, green and blue; the style of each level = red and blue of it.
_ENCODER = base64.b64decode(
    "CAgSADq6BAo+CgVpbWFnZRIJc3RydWN0dXJlIgpSZWR1Y2VNZWFuKg0KBGF4ZXNAAkADoAEHKg8KCGtlZXBkaW1zGACgAQIKGQoJc3RydWN0dXJl"
    "CgFwEgFmIgZNYXRNdWwKFwoBZgoBcxIGc3R5bGVzIgdSZXNoYXBlEgdlbmNvZGVyKqwCCAMIGBABQgFwSqACAACAPwAAAAAAAIA/AAAAAAAAgD8A"
    "AAAAAACAPwAAAAAAAIA/AAAAAAAAgD8AAAAAAACAPwAAAAAAAIA/AAAAAAAAgD8AAAAAAACAPwAAAAAAAIA/AAAAAAAAgD8AAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAgD8AAAAAAACAPwAAAAAAAIA/AAAAAAAAgD8AAAAAAACAPwAAAAAAAIA/AAAAAAAAgD8AAAAAAACAPwAAAAAAAIA/AAAAAAAAgD8A"
    "AAAAAACAPwAAAAAAAIA/KiEIAxAHQgFzShj//////////wwAAAAAAAAAAgAAAAAAAABaJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaAoCCAMKAghA"
    "CgIIQGIgCglzdHJ1Y3R1cmUSEwoRCAESDQoHEgViYXRjaAoCCANiIQoGc3R5bGVzEhcKFQgBEhEKBxIFYmF0Y2gKAggMCgIIAkIECgAQEQ=="
)
# One colour all over: red = sum over levels of level / 78 * its style's red, green = the same of the style's blue, blue = the structure's.
_GENERATOR = base64.b64decode(
    "CAgSADrwBQoXCgZzdHlsZXMKAXMSAWYiB1Jlc2hhcGUKEQoBZgoBdxIBYSIGTWF0TXVsChkKCXN0cnVjdHVyZQoBYhIBYyIGTWF0TXVsCg4KAWEK"
    "AWMSAWQiA0FkZAoOCgFkCgFlEgFnIgNBZGQKEgoBZwoBdBIBayIHUmVzaGFwZQoVCgFrCgFvEgVpbWFnZSIGRXhwYW5kEglnZW5lcmF0b3IqGQgC"
    "EAdCAXNKEP//////////GAAAAAAAAAAqrAIIGAgDEAFCAXdKoAIhDVI8AAAAAAAAAAAAAAAAIQ1SPAAAAAAhDdI8AAAAAAAAAAAAAAAAIQ3SPAAA"
    "AADZiR09AAAAAAAAAAAAAAAA2YkdPQAAAAAhDVI9AAAAAAAAAAAAAAAAIQ1SPQAAAAA1SIM9AAAAAAAAAAAAAAAANUiDPQAAAADZiZ09AAAAAAAA"
    "AAAAAAAA2YmdPQAAAAB9y7c9AAAAAAAAAAAAAAAAfcu3PQAAAAAhDdI9AAAAAAAAAAAAAAAAIQ3SPQAAAADFTuw9AAAAAAAAAAAAAAAAxU7sPQAA"
    "AAA1SAM+AAAAAAAAAAAAAAAANUgDPgAAAAAHaRA+AAAAAAAAAAAAAAAAB2kQPgAAAADZiR0+AAAAAAAAAAAAAAAA2YkdPgAAAAAqLwgDCAMQAUIB"
    "YkokAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA/KhUIAxABQgFlSgwAAAAAAAAAAAAAAAAqKQgEEAdCAXRKIP//////////AwAA"
    "AAAAAAABAAAAAAAAAAEAAAAAAAAAKikIBBAHQgFvSiABAAAAAAAAAAMAAAAAAAAAQAAAAAAAAABAAAAAAAAAAFogCglzdHJ1Y3R1cmUSEwoRCAES"
    "DQoHEgViYXRjaAoCCANaIQoGc3R5bGVzEhcKFQgBEhEKBxIFYmF0Y2gKAggMCgIIAmIkCgVpbWFnZRIbChkIARIVCgcSBWJhdGNoCgIIAwoCCEAK"
    "AghAQgQKABAR"
)
# The same, redder by 0.125.
_FILTER = base64.b64decode(
    "CAgSADrtBQoXCgZzdHlsZXMKAXMSAWYiB1Jlc2hhcGUKEQoBZgoBdxIBYSIGTWF0TXVsChkKCXN0cnVjdHVyZQoBYhIBYyIGTWF0TXVsCg4KAWEK"
    "AWMSAWQiA0FkZAoOCgFkCgFlEgFnIgNBZGQKEgoBZwoBdBIBayIHUmVzaGFwZQoVCgFrCgFvEgVpbWFnZSIGRXhwYW5kEgZmaWx0ZXIqGQgCEAdC"
    "AXNKEP//////////GAAAAAAAAAAqrAIIGAgDEAFCAXdKoAIhDVI8AAAAAAAAAAAAAAAAIQ1SPAAAAAAhDdI8AAAAAAAAAAAAAAAAIQ3SPAAAAADZ"
    "iR09AAAAAAAAAAAAAAAA2YkdPQAAAAAhDVI9AAAAAAAAAAAAAAAAIQ1SPQAAAAA1SIM9AAAAAAAAAAAAAAAANUiDPQAAAADZiZ09AAAAAAAAAAAA"
    "AAAA2YmdPQAAAAB9y7c9AAAAAAAAAAAAAAAAfcu3PQAAAAAhDdI9AAAAAAAAAAAAAAAAIQ3SPQAAAADFTuw9AAAAAAAAAAAAAAAAxU7sPQAAAAA1"
    "SAM+AAAAAAAAAAAAAAAANUgDPgAAAAAHaRA+AAAAAAAAAAAAAAAAB2kQPgAAAADZiR0+AAAAAAAAAAAAAAAA2YkdPgAAAAAqLwgDCAMQAUIBYkok"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA/KhUIAxABQgFlSgwAAAA+AAAAAAAAAAAqKQgEEAdCAXRKIP//////////AwAAAAAA"
    "AAABAAAAAAAAAAEAAAAAAAAAKikIBBAHQgFvSiABAAAAAAAAAAMAAAAAAAAAQAAAAAAAAABAAAAAAAAAAFogCglzdHJ1Y3R1cmUSEwoRCAESDQoH"
    "EgViYXRjaAoCCANaIQoGc3R5bGVzEhcKFQgBEhEKBxIFYmF0Y2gKAggMCgIIAmIkCgVpbWFnZRIbChkIARIVCgcSBWJhdGNoCgIIAwoCCEAKAghA"
    "QgQKABAR"
)


def level_weight(levels: tuple[int, ...]) -> float:
    """The share of ``levels`` in the red and the green that is drawn."""
    return sum(levels) / sum(range(1, LEVELS + 1))


def tiny_library() -> StyleLibrary:
    """Mean reds that are hundredths of a year, and eight references: four of 20 to 29 years, then four of 60 to 69.

    Of each span first two women, then two men; the second of two is most like a face in its tone. The red of a reference's
    styles is its index in hundredths, the blue 0.3.
    """
    years = np.arange(91, dtype=np.float32) / 100
    means = np.zeros((91, LEVELS, STYLE), np.float32)
    means[:, :, 0] = years[:, None]
    styles = np.full((8, LEVELS, STYLE), 0.3, np.float32)
    styles[:, :, 0] = np.arange(8, dtype=np.float32)[:, None] / 100
    structure = np.tile(np.array([[9, 9, 9], [0.5, 0.5, 0.5]], np.float32), (4, 1))
    low = np.array([20] * 4 + [60] * 4, np.float32)
    return StyleLibrary(means, styles, structure, low, low + 9, np.array([1, 1, 0, 0] * 2, np.float32))


def write_style_bundle(embedded: Bundle, folder: Path, change: Callable[[Path], None] = lambda folder: None) -> Bundle:
    """``embedded`` in ``folder``, with a known age translator first, and a known AE-StyleGAN last.

    Args:
        embedded: The embedded bundle.
        folder: A new folder.
        change: Does something to the folder once the library's entry has been written.
    """
    shutil.copytree(embedded.folder, folder)
    manifest = embedded.manifest
    (age_cgan,) = (method for method in manifest.methods if method.family == "age_cgan")
    translator, graphs = write_translator(folder, age_cgan.provenance)
    tiny_library().save(folder / LIBRARY_FILE)
    method = AeStyleGanMethod(
        name="ae_stylegan",
        description="Colours by level.",
        encoder="tiny_style_encoder",
        generator="tiny_style_generator",
        crop_size=SIZE,
        levels=LEVELS,
        style=STYLE,
        structure=STRUCTURE,
        age_levels=AGE_LEVELS,
        age_groups=PAPER_GROUPS,
        min_years=MIN_YEARS,
        max_years=MAX_YEARS,
        calibration=CALIBRATION,
        library=describe_file(folder, LIBRARY_FILE),
        filters=(Filter(name="redder", description="Redder.", graph="tiny_style_filter"),),
        filters_provenance=age_cgan.provenance,
        provenance=age_cgan.provenance,
    )
    for name, data, signature in (
        (method.encoder, _ENCODER, method.encoder_signature()),
        (method.generator, _GENERATOR, method.generator_signature()),
        ("tiny_style_filter", _FILTER, method.generator_signature()),
    ):
        graphs[name] = write_graph(folder, name, data, signature)
    parts = {"graphs": manifest.graphs | graphs, "methods": (translator, age_cgan, method)}
    write_manifest(folder, manifest.model_copy(update=parts))
    change(folder)
    return load_bundle(folder)
