"""``dorian-train age-estimator``: how old a face looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dorian_training.cli.config import RunConfig, apply_overrides, batch_size_field, config_command, steps_field
from dorian_training.cli.runs import cut_splits, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import LabelledBatches
from dorian_training.data.crops import with_margin
from dorian_training.distributed import DistributedContext
from dorian_training.methods.age_estimator import (
    AgeEstimatorSettings,
    AgeEstimatorStage,
    age_labels,
    flattening_weights,
)
from dorian_training.networks.age_estimator import SIZE, AgeEstimatorShape


@dataclass(frozen=True, kw_only=True)
class AgeEstimatorConfig(RunConfig):
    """Options of the age estimator's training."""

    steps: int = steps_field(4000)
    batch_size: int = batch_size_field(64)

    def settings(self) -> AgeEstimatorSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(AgeEstimatorSettings(), self.overrides)


@config_command("age-estimator", AgeEstimatorConfig)
def age_estimator(config: AgeEstimatorConfig) -> None:
    """Train the age estimator: how old a face looks.

    \b
    dorian-train age-estimator --data faces/ --out runs/age
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: AgeEstimatorConfig) -> None:
    train, val = cut_splits(config, lambda record: record.age is not None, with_margin(SIZE))
    batches = LabelledBatches(
        train,
        age_labels(train),
        config.batch_size,
        config.seed + context.rank,
        SIZE,
        replace(Augmentation(), grey=0.1),
        flattening_weights(train),
        context.device,
    )
    resumed = read_run(config.out, AgeEstimatorStage.name)
    shape = AgeEstimatorShape.from_dict(resumed["shape"]) if resumed else AgeEstimatorShape()
    stage = AgeEstimatorStage(shape, config.settings(), context.device, config.amp, val)
    run_stage(stage, batches, train.records, context, config, {"shape": shape.as_dict()})
