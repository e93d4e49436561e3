"""The painted bundle with an AE-StyleGAN of a few nodes: styles are grey levels, and a face is drawn in its mean colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

from dorian_bundle import load_bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.bundle import write_manifest
from dorian_bundle.calibration import Calibration, CalibrationPoint
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Graph, GraphFile, Signature
from dorian_bundle.method_entry import Filter
from dorian_bundle.stored_files import describe_file
from dorian_bundle.style_library import LIBRARY_FILE, StyleLibrary
from tests.evaluation.painted_bundle import ORIGIN, constant, save, write_bundle

SIZE, LEVELS = 16, 12
FILTER = 0.125  # by which the filter's images are lighter, of the range
STRENGTH = 1.5  # of the calibration
OLD, YOUNG = (0.75, 0.875, 0.625), (0.125, 0.25)  # styles of the references of 60 to 69 and of 20 to 29 years
YEARS = 1 / 256  # of the range, that the mean style rises in a year


def write_style_bundle(folder: Path) -> Path:
    """Write the bundle and return its folder.

    The encoder finds the mean colour as the structure, and the mean grey, from 0 to 1, as the style of every level. The
    generator draws the structure, lighter by what the mean of the styles is above the structure's.
    """
    bundle = load_bundle(write_bundle(folder))
    _save_encoder(folder / "style_encoder.onnx")
    _save_generator(folder / "style_generator.onnx", 0.0)
    _save_generator(folder / "stylegan_old.onnx", FILTER)
    _library().save(folder / LIBRARY_FILE)
    method = AeStyleGanMethod(
        name="ae_stylegan",
        description="none",
        encoder="style_encoder",
        generator="style_generator",
        crop_size=SIZE,
        levels=LEVELS,
        style=1,
        structure=3,
        age_levels=tuple(range(7, 13)),
        age_groups=PAPER_GROUPS,
        min_years=1,
        max_years=90,
        calibration=Calibration(points=(CalibrationPoint(asked=30, offset=0, strength=STRENGTH),)),
        library=describe_file(folder, LIBRARY_FILE),
        filters=(Filter(name="stylegan_old", description="none", graph="stylegan_old"),),
        provenance=ORIGIN,
    )
    signatures: dict[str, Signature] = {
        "style_encoder": method.encoder_signature(),
        "style_generator": method.generator_signature(),
        "stylegan_old": method.generator_signature(),
    }
    graphs = {
        name: Graph(signature=signature, files=(GraphFile.of(folder, f"{name}.onnx", "fp32"),))
        for name, signature in signatures.items()
    }
    manifest = bundle.manifest
    update = {"graphs": {**manifest.graphs, **graphs}, "methods": (*manifest.methods, method)}
    write_manifest(folder, manifest.model_copy(update=update))
    return folder


def _library() -> StyleLibrary:
    lent = np.asarray([*OLD, *YOUNG], dtype=np.float32)
    low = [60.0] * len(OLD) + [20.0] * len(YOUNG)
    years = np.arange(101, dtype=np.float32) * YEARS
    return StyleLibrary(
        age_means=np.broadcast_to(years[:, None, None], (101, LEVELS, 1)),
        styles=np.broadcast_to(lent[:, None, None], (len(lent), LEVELS, 1)),
        structure=np.repeat(np.arange(len(lent), dtype=np.float32)[:, None], 3, axis=1),  # the first of each is nearest
        age_low=np.asarray(low, dtype=np.float32),
        age_high=np.asarray(low, dtype=np.float32) + 9,
        woman=np.zeros(len(lent), dtype=np.float32),
    )


def _save_encoder(path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["structure"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["structure"], ["grey"], axes=[1], keepdims=1),
        _integers("shape", [-1, 1, 1]),
        helper.make_node("Reshape", ["grey", "shape"], ["style"]),
        constant("levels", np.ones((1, LEVELS, 1))),
        helper.make_node("Mul", ["style", "levels"], ["styles"]),
    ]
    save(path, nodes, "structure styles", {"image": ["batch", 3, SIZE, SIZE]})


def _save_generator(path: Path, lighter: float) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["styles"], ["style"], axes=[1], keepdims=0),  # (batch, 1)
        helper.make_node("ReduceMean", ["structure"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["style", "grey"], ["above"]),
        helper.make_node("Add", ["structure", "above"], ["drawn"]),
        constant("lighter", lighter),
        helper.make_node("Add", ["drawn", "lighter"], ["colour"]),
        _integers("shape", [-1, 3, 1, 1]),
        helper.make_node("Reshape", ["colour", "shape"], ["pixel"]),
        constant("square", np.ones((SIZE, SIZE))),
        helper.make_node("Mul", ["pixel", "square"], ["image"]),
    ]
    save(path, nodes, "image", {"structure": ["batch", 3], "styles": ["batch", LEVELS, 1]})


def _integers(name: str, values: list[int]) -> object:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(values), name))
