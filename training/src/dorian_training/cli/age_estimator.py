"""``dorian-train age-estimator``: how old a face looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dorian_training.checkpoint import load_weights
from dorian_training.cli.config import (
    CHECKPOINT,
    SelectedSetsConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.runs import cut_splits, earlier_stages, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import LabelledBatches
from dorian_training.data.crops import Crops, cut_crops, with_margin
from dorian_training.data.degradation import Degradation
from dorian_training.data.records import FaceRecord
from dorian_training.data.sampling import flattening_weights, people_kinds, people_weights
from dorian_training.distributed import DistributedContext
from dorian_training.methods.age_estimator import (
    AgeEstimatorSettings,
    AgeEstimatorStage,
    age_labels,
    narrowed_labels,
    read_ages,
)
from dorian_training.networks.age_estimator import (
    AgeEstimatorShape,
    CompactAgeEstimatorShape,
    DlibAgeEstimatorShape,
    age_estimator_shape,
    build_age_estimator,
    load_age_estimator,
)

# Harder than the default: colour, sharpness and parts of a face say little about its age.
_AUGMENTATION = replace(Augmentation(), grey=0.12, erase=0.1)
_DECADE = 10  # years


@dataclass(frozen=True, kw_only=True)
class AgeEstimatorConfig(SelectedSetsConfig):
    """Options of the age estimator's training."""

    layout: Literal["dlib", "compact"] = option(
        "dlib: 150 px, begun from dlib's FaceNet by --from. compact: 64 px, which discriminators of ages start from.",
        default="dlib",
    )
    steps: int = steps_field(4400)
    batch_size: int = batch_size_field(48)
    teacher: Path | None = option(
        "Checkpoint of another age estimator: within their brackets, faces are as old as it reads them.",
        default=None,
        kind=CHECKPOINT,
    )

    def settings(self) -> AgeEstimatorSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(AgeEstimatorSettings(), self.overrides)

    def shape(self) -> AgeEstimatorShape:
        """Return the shape of a new network."""
        return DlibAgeEstimatorShape() if self.layout == "dlib" else CompactAgeEstimatorShape()

    def is_usable(self, record: FaceRecord) -> bool:
        """Return whether to train on a face: its age is known, and its set is wanted."""
        return record.age is not None and self.is_selected(record)


@config_command("age-estimator", AgeEstimatorConfig)
def age_estimator(config: AgeEstimatorConfig) -> None:
    """Train the age estimator: how old a face looks.

    \b
    dorian-train age-estimator --data faces/ --from models/checkpoints/facenet --out runs/age
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: AgeEstimatorConfig) -> None:
    resumed = read_run(config.out, AgeEstimatorStage.name)
    shape = age_estimator_shape(resumed["shape"]) if resumed else config.shape()
    settings = config.settings()
    size = build_age_estimator(shape).size
    train, val = cut_splits(config, config.is_usable, with_margin(size))
    kinds, kind = _kinds_of_people(train)
    batches = LabelledBatches(
        train,
        torch.cat([_labels(train, config, context), kind[:, None]], dim=1),
        config.batch_size,
        config.seed + context.rank,
        size,
        _AUGMENTATION,
        flattening_weights(train, power=settings.balance) * people_weights(train, _DECADE, settings.people_balance),
        context.device,
        Degradation(),
    )
    stage = AgeEstimatorStage(shape, settings, context.device, config.amp, val, kinds)
    taught = {"taught_by": earlier_stages(load_weights(config.teacher)[1])} if config.teacher else {}
    run_stage(stage, batches, train.records, context, config, {"shape": shape.as_dict(), **taught})


def _labels(train: Crops, config: AgeEstimatorConfig, context: DistributedContext) -> Tensor:
    """First and last whole year of each face's label, (faces, 2), narrowed by the teacher if there is one."""
    labels = age_labels(train)
    if config.teacher is None:
        return labels
    teacher = load_age_estimator(config.teacher).to(context.device)
    seen = cut_crops(train.records, teacher.size, config.cache.expanduser())
    return narrowed_labels(labels, torch.from_numpy(read_ages(teacher, seen, teacher.size, context.device, config.amp)))


def _kinds_of_people(crops: Crops) -> tuple[int, Tensor]:
    """How many pairs of ethnicity and gender there are, and the index of each face's, (faces,); -1 where either is unknown."""
    is_known = np.asarray([bool(record.ethnicity and record.gender) for record in crops.records], dtype=np.bool_)
    kinds, index = np.unique(np.asarray(people_kinds(crops.records))[is_known], return_inverse=True)
    of_face = np.full(len(crops), -1)
    of_face[is_known] = index
    return len(kinds), torch.from_numpy(of_face)
