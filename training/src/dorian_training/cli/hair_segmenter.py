"""``dorian-train hair-segmenter``: which pixels around a face are hair, and which are beard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from dorian_training.cli.config import (
    SelectedSetsConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.runs import read_run, run_distributed, run_stage
from dorian_training.data.hair_batches import HairBatches, cut_hair_views
from dorian_training.data.hair_kinds import hair_kind
from dorian_training.data.records import FaceRecord, split_of
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import DataError
from dorian_training.methods.hair_segmenter import HairSegmenterSettings, HairSegmenterStage
from dorian_training.networks.hair_segmenter import HairSegmenterShape


@dataclass(frozen=True, kw_only=True)
class HairSegmenterConfig(SelectedSetsConfig):
    """Options of the hair segmenter's training."""

    steps: int = steps_field(2400)
    batch_size: int = batch_size_field(48)
    people: Path = option(
        "ONNX file of the network that finds people.",
        flag="--person-segmenter",
        kind=click.Path(path_type=Path, exists=True),
    )

    def settings(self) -> HairSegmenterSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(HairSegmenterSettings(), self.overrides)

    def is_usable(self, record: FaceRecord) -> bool:
        """Return whether to train on a face: of the training split, of a set that is wanted, and something is known of its hair."""
        is_wanted = record.split == "train" and record.landmarks is not None and self.is_selected(record)
        return is_wanted and hair_kind(record).is_known


@config_command("hair-segmenter", HairSegmenterConfig)
def hair_segmenter(config: HairSegmenterConfig) -> None:
    """Train the hair segmenter: which pixels around a face are hair or beard, and not cloth or skin.

    The faces are those of archives with a mesh.npz beside faces.csv; labels are made of their colours.

    \b
    dorian-train hair-segmenter --data faces/ --only fairface --only portraits \\
      --person-segmenter models/checkpoints/person_segmenter/selfie_segmentation.onnx --out runs/hair
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: HairSegmenterConfig) -> None:
    records = [record for record in load_sources(config.sources) if config.is_usable(record)]
    if not records:
        raise DataError("no face of the training split has a labelled head; give FairFace or portraits")
    views, faces = cut_hair_views(records, config.people, config.cache.expanduser())
    # A tenth of the labelled faces, which are all of the training split.
    held_out = np.array([split_of(face.name) != "train" for face in faces])
    resumed = read_run(config.out, HairSegmenterStage.name)
    shape = HairSegmenterShape.from_dict(resumed["shape"]) if resumed else HairSegmenterShape()
    watched = views.where(held_out) if held_out.any() else None
    stage = HairSegmenterStage(shape, config.settings(), context.device, config.amp, watched)
    batches = HairBatches(views.where(~held_out), config.batch_size, config.seed + context.rank, context.device)
    learned = [face for face, is_held_out in zip(faces, held_out, strict=True) if not is_held_out]
    run_stage(stage, batches, learned, context, config, {"shape": shape.as_dict()})
