"""``dorian-train`` for the networks that read single faces: FaceNet, the age estimator and the landmark refiner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from dorian_training.cli.options import data_option
from dorian_training.cli.runs import apply_overrides, cut, read_run, run_distributed, run_options, run_stage
from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import IdentityBatches, LabelledBatches
from dorian_training.data.crops import Crops, with_margin
from dorian_training.data.landmark_batches import LandmarkBatches, Wrongness, cut_template, landmarks_in
from dorian_training.distributed import DistributedContext
from dorian_training.methods.age_estimator import (
    AgeEstimatorSettings,
    AgeEstimatorStage,
    age_labels,
    flattening_weights,
)
from dorian_training.methods.facenet import FaceNetSettings, FaceNetStage, identity_labels
from dorian_training.methods.landmark_refiner import LandmarkRefinerSettings, LandmarkRefinerStage
from dorian_training.networks.age_estimator import SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import AgeEstimatorShape
from dorian_training.networks.compact_facenet import SIZE as FACENET_SIZE
from dorian_training.networks.compact_facenet import FaceNetShape
from dorian_training.networks.landmark_refiner import SIZE as LANDMARK_SIZE
from dorian_training.networks.landmark_refiner import LandmarkRefinerShape, view_template

_WATCHED_VIEWS = 1000


@click.command("facenet")
@data_option("Data set with identities; give it once per set.")
@run_options(steps=6000, batch_size=128)
def facenet(**options: Any) -> None:
    """The compact FaceNet: embeddings of a face that tell people apart.

    \b
    dorian-train facenet --data faces/ --out runs/facenet
    """
    run_distributed(_facenet, options)


@click.command("age-estimator")
@data_option("Data set with ages; give it once per set.")
@run_options(steps=4000, batch_size=64)
def age_estimator(**options: Any) -> None:
    """The age estimator: how old a face looks.

    \b
    dorian-train age-estimator --data faces/ --out runs/age
    """
    run_distributed(_age_estimator, options)


@click.command("landmark-refiner")
@data_option("Data set with landmarks; give it once per set.")
@run_options(steps=6000, batch_size=128)
def landmark_refiner(**options: Any) -> None:
    """The landmark refiner: where eyes, nose and mouth of a found face are.

    \b
    dorian-train landmark-refiner --data faces/ --out runs/landmarks
    """
    run_distributed(_landmark_refiner, options)


def _facenet(context: DistributedContext, **options: Any) -> None:
    train, val = cut(options, lambda record: bool(record.identity), with_margin(FACENET_SIZE))
    labels = identity_labels(train)
    identities = int(labels.max()) + 1
    seed = options["seed"] + context.rank
    batches = IdentityBatches(train, labels, options["batch_size"], seed, FACENET_SIZE, Augmentation(), context.device)
    known = read_run(options["out"], FaceNetStage.name)
    shape = FaceNetShape.from_dict(known["shape"]) if known else FaceNetShape()
    settings = apply_overrides(FaceNetSettings(), options["overrides"])
    stage = FaceNetStage(shape, settings, identities, context.device, options["amp"], val)
    run_stage(
        stage,
        batches,
        train.records,
        context,
        options,
        {"shape": shape.as_dict(), "identities": identities},
        settings,
        known,
    )


def _age_estimator(context: DistributedContext, **options: Any) -> None:
    train, val = cut(options, lambda record: record.age is not None, with_margin(AGE_SIZE))
    batches = LabelledBatches(
        train,
        age_labels(train),
        options["batch_size"],
        options["seed"] + context.rank,
        AGE_SIZE,
        replace(Augmentation(), grey=0.1),
        flattening_weights(train),
        context.device,
    )
    known = read_run(options["out"], AgeEstimatorStage.name)
    shape = AgeEstimatorShape.from_dict(known["shape"]) if known else AgeEstimatorShape()
    settings = apply_overrides(AgeEstimatorSettings(), options["overrides"])
    stage = AgeEstimatorStage(shape, settings, context.device, options["amp"], val)
    run_stage(stage, batches, train.records, context, options, {"shape": shape.as_dict()}, settings, known)


def _landmark_refiner(context: DistributedContext, **options: Any) -> None:
    side, template = cut_template(LANDMARK_SIZE, view_template())
    train, val = cut(options, lambda record: record.landmarks is not None, (side, template))
    seed = options["seed"] + context.rank

    def batches_of(crops: Crops, count: int, seed: int) -> LandmarkBatches:
        places = landmarks_in(crops, template)
        return LandmarkBatches(crops, places, count, seed, LANDMARK_SIZE, Wrongness(), context.device)

    watched = batches_of(val, _WATCHED_VIEWS, 0).next() if val else None
    known = read_run(options["out"], LandmarkRefinerStage.name)
    shape = LandmarkRefinerShape.from_dict(known["shape"]) if known else LandmarkRefinerShape()
    settings = apply_overrides(LandmarkRefinerSettings(), options["overrides"])
    stage = LandmarkRefinerStage(shape, settings, context.device, options["amp"], watched)
    batches = batches_of(train, options["batch_size"], seed)
    run_stage(stage, batches, train.records, context, options, {"shape": shape.as_dict()}, settings, known)
