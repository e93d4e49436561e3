"""``dorian-train landmark-refiner``: where eyes, nose and mouth of a found face are."""

from __future__ import annotations

from dataclasses import dataclass

from dorian_training.cli.config import RunConfig, apply_overrides, batch_size_field, config_command, steps_field
from dorian_training.cli.runs import cut_splits, read_run, run_distributed, run_stage
from dorian_training.data.crops import Crops
from dorian_training.data.landmark_batches import LandmarkBatches, Wrongness, cut_template, landmarks_in
from dorian_training.distributed import DistributedContext
from dorian_training.methods.landmark_refiner import LandmarkRefinerSettings, LandmarkRefinerStage
from dorian_training.networks.landmark_refiner import SIZE, LandmarkRefinerShape, view_template

_VALIDATION_VIEWS = 1000


@dataclass(frozen=True, kw_only=True)
class LandmarkRefinerConfig(RunConfig):
    """Options of the landmark refiner's training."""

    steps: int = steps_field(6000)
    batch_size: int = batch_size_field(128)

    def settings(self) -> LandmarkRefinerSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(LandmarkRefinerSettings(), self.overrides)


@config_command("landmark-refiner", LandmarkRefinerConfig)
def landmark_refiner(config: LandmarkRefinerConfig) -> None:
    """Train the landmark refiner: where eyes, nose and mouth of a found face are.

    \b
    dorian-train landmark-refiner --data faces/ --out runs/landmarks
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: LandmarkRefinerConfig) -> None:
    side, template = cut_template(SIZE, view_template())
    train, val = cut_splits(config, lambda record: record.landmarks is not None, (side, template))

    def batches_of(crops: Crops, batch_size: int, seed: int) -> LandmarkBatches:
        landmarks = landmarks_in(crops, template)
        return LandmarkBatches(crops, landmarks, batch_size, seed, SIZE, Wrongness(), context.device)

    validation = batches_of(val, _VALIDATION_VIEWS, 0).next() if val else None
    resumed = read_run(config.out, LandmarkRefinerStage.name)
    shape = LandmarkRefinerShape.from_dict(resumed["shape"]) if resumed else LandmarkRefinerShape()
    stage = LandmarkRefinerStage(shape, config.settings(), context.device, config.amp, validation)
    batches = batches_of(train, config.batch_size, config.seed + context.rank)
    run_stage(stage, batches, train.records, context, config, {"shape": shape.as_dict()})
