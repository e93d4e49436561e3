"""``dorian-train facenet``: the compact FaceNet, whose embeddings tell people apart."""

from __future__ import annotations

from dataclasses import dataclass

from dorian_training.cli.config import RunConfig, apply_overrides, batch_size_field, config_command, steps_field
from dorian_training.cli.runs import cut_splits, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import IdentityBatches
from dorian_training.data.crops import with_margin
from dorian_training.distributed import DistributedContext
from dorian_training.methods.facenet import FaceNetSettings, FaceNetStage, identity_labels
from dorian_training.networks.compact_facenet import SIZE, FaceNetShape


@dataclass(frozen=True, kw_only=True)
class FaceNetConfig(RunConfig):
    """Options of the compact FaceNet's training."""

    steps: int = steps_field(6000)
    batch_size: int = batch_size_field(128)

    def settings(self) -> FaceNetSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(FaceNetSettings(), self.overrides)


@config_command("facenet", FaceNetConfig)
def facenet(config: FaceNetConfig) -> None:
    """Train the compact FaceNet: embeddings of a face that tell people apart.

    \b
    dorian-train facenet --data faces/ --out runs/facenet
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: FaceNetConfig) -> None:
    train, val = cut_splits(config, lambda record: bool(record.identity), with_margin(SIZE))
    labels = identity_labels(train)
    identities = int(labels.max()) + 1
    seed = config.seed + context.rank
    batches = IdentityBatches(train, labels, config.batch_size, seed, SIZE, Augmentation(), context.device)
    resumed = read_run(config.out, FaceNetStage.name)
    shape = FaceNetShape.from_dict(resumed["shape"]) if resumed else FaceNetShape()
    stage = FaceNetStage(shape, config.settings(), identities, context.device, config.amp, val)
    metadata = {"shape": shape.as_dict(), "identities": identities}
    run_stage(stage, batches, train.records, context, config, metadata)
