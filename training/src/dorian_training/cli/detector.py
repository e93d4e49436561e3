"""``dorian-train detector``: the face detector, on scenes rendered from photographs and face archives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_training.cli.config import RunConfig, apply_overrides, batch_size_field, config_command, option, steps_field
from dorian_training.cli.runs import read_run, run_distributed, run_stage
from dorian_training.data.scene_batches import SceneBatches
from dorian_training.data.scenes import render_scenes
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.methods.detector import DetectorSettings, DetectorStage
from dorian_training.networks.detector import STRIDES, DetectorShape


class _SceneSize(click.IntRange):
    """A multiple of the detector's largest stride."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        size = super().convert(value, param, ctx)
        if size % STRIDES[-1]:
            self.fail(f"{size} is not a multiple of {STRIDES[-1]}", param, ctx)
        return size


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(RunConfig):
    """Options of the face detector's training."""

    steps: int = steps_field(8000)
    batch_size: int = batch_size_field(32)
    scenes: int = option("Scenes to render, once, and to learn from.", default=16_000, kind=click.IntRange(1))
    size: int = option(
        f"Side of a scene in pixels; a multiple of {STRIDES[-1]}.", default=256, kind=_SceneSize(min=128)
    )
    teacher: Path | None = option(
        "YuNet's ONNX file, to find the faces of photographs that the data set does not list.",
        default=None,
        kind=click.Path(path_type=Path, exists=True, dir_okay=False),
    )

    def settings(self) -> DetectorSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(DetectorSettings(), self.overrides)


@config_command("detector", DetectorConfig)
def detector(config: DetectorConfig) -> None:
    """Train the face detector: boxes, landmarks and scores in whole photographs.

    \b
    dorian-train detector --data faces/ --teacher yunet.onnx --out runs/detector
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: DetectorConfig) -> None:
    records = [record for record in load_sources(config.sources) if record.split == "train"]
    seed = config.seed + context.rank
    scenes = render_scenes(records, config.scenes, config.size, seed, config.cache.expanduser(), config.teacher)
    batches = SceneBatches(scenes, config.batch_size, seed, context.device)
    resumed = read_run(config.out, DetectorStage.name)
    shape = DetectorShape.from_dict(resumed["shape"]) if resumed else DetectorShape()
    stage = DetectorStage(shape, config.settings(), context.device, config.amp)
    rendered = {"count": config.scenes, "size": config.size, "teacher": bool(config.teacher)}
    run_stage(stage, batches, records, context, config, {"shape": shape.as_dict(), "scenes": rendered})
