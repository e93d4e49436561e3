"""``dorian-train detector``: the face detector, on scenes rendered from photographs and face archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dorian_training.cli.options import data_option
from dorian_training.cli.runs import apply_overrides, read_run, run_distributed, run_options, run_stage
from dorian_training.data.scene_batches import SceneBatches
from dorian_training.data.scenes import render_scenes
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.methods.detector import DetectorSettings, DetectorStage
from dorian_training.networks.detector import STRIDES, DetectorShape


def _multiple(context: click.Context, option: click.Parameter, size: int) -> int:
    if size % STRIDES[-1]:
        raise click.BadParameter(f"{size} is not a multiple of {STRIDES[-1]}")
    return size


@click.command("detector")
@data_option("Data set with boxes and landmarks; give it once per set.")
@click.option("--scenes", type=click.IntRange(1), default=16_000, help="Scenes to render, once, and to learn from.")
@click.option(
    "--size",
    type=click.IntRange(128),
    default=256,
    callback=_multiple,
    help=f"Side of a scene in pixels; a multiple of {STRIDES[-1]}.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="YuNet's ONNX file, to find the faces of photographs that the data set does not list.",
)
@run_options(steps=8000, batch_size=32)
def detector(**options: Any) -> None:
    """The face detector: boxes, landmarks and scores in whole photographs.

    \b
    dorian-train detector --data faces/ --teacher yunet.onnx --out runs/detector
    """
    run_distributed(_detector, options)


def _detector(context: DistributedContext, **options: Any) -> None:
    records = [record for record in load_sources(options["sources"]) if record.split == "train"]
    seed = options["seed"] + context.rank
    scenes = render_scenes(
        records, options["scenes"], options["size"], seed, options["cache"].expanduser(), options["teacher"]
    )
    batches = SceneBatches(scenes, options["batch_size"], seed, context.device)
    known = read_run(options["out"], DetectorStage.name)
    shape = DetectorShape.from_dict(known["shape"]) if known else DetectorShape()
    settings = apply_overrides(DetectorSettings(), options["overrides"])
    stage = DetectorStage(shape, settings, context.device, options["amp"])
    scenes_used = {"count": options["scenes"], "size": options["size"], "teacher": bool(options["teacher"])}
    metadata = {"shape": shape.as_dict(), "scenes": scenes_used}
    run_stage(stage, batches, records, context, options, metadata, settings, known)
