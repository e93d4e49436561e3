"""``dorian-train``: one command per method, each stage resumable by giving the same run folder again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.checkpoint import load_weights
from dorian_training.cli.detector import detector
from dorian_training.cli.latent_optimisation import latent_optimisation
from dorian_training.cli.options import data_option
from dorian_training.cli.published_facenet import facenet_published
from dorian_training.cli.readers import age_estimator, facenet, landmark_refiner
from dorian_training.cli.runs import apply_overrides, earlier_stages, read_run, run, run_distributed, run_options
from dorian_training.cli.translators import age_translator, cyclegan
from dorian_training.data.batches import BalancedBatches, Batch, as_images
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.methods.age_cgan import (
    PAPER_ADVERSARIAL,
    AdversarialSettings,
    AdversarialStage,
    LatentSettings,
    LatentStage,
)
from dorian_training.methods.age_cgan_joint import JointSettings, JointStage
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import PRESETS, SIZE, AgeCganShape
from dorian_training.networks.age_estimator import load_age_estimator
from dorian_training.networks.eigenfaces import fit_eigenfaces
from dorian_training.networks.facenet import load_facenet

_EIGENFACES_OF = 20_000  # faces, at most


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train Dorian's networks."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


@main.command("age-cgan")
@click.option(
    "--stage", type=click.Choice(["adversarial", "joint", "latent"]), default="adversarial", help="What to train."
)
@click.option("--preset", type=click.Choice(list(PRESETS)), default="lean", help="Network layout.")
@click.option(
    "--age-estimator",
    type=click.Path(path_type=Path, exists=True),
    help="Checkpoint of the age estimator that the discriminator of the lean preset begins as.",
)
@click.option(
    "--new-discriminator",
    is_flag=True,
    help="With --from, begin with a discriminator of --preset in place of the one that was trained.",
)
@click.option(
    "--facenet",
    type=click.Path(path_type=Path, exists=True),
    help="Checkpoint of the FaceNet that holds the person in the latent stage and in the joint one, which needs it.",
)
@data_option("Data set; give it once per set.")
@run_options(steps=20_000, batch_size=32)
def age_cgan(**options: Any) -> None:
    """Age-cGAN: the adversarial stage, then the initial latent approximation. For the third, see latent-optimisation.

    The joint stage trains all three networks together, in place of the adversarial one or after it.

    \b
    dorian-train age-cgan --data faces/ --age-estimator models/checkpoints/age_estimator --out runs/gan --steps 12000
    dorian-train age-cgan --stage latent --from runs/gan --facenet models/checkpoints/facenet --data faces/ --out runs/encoder
    torchrun --nproc-per-node 4 -m dorian_training.cli.train age-cgan --data faces/ --out runs/gan
    """
    run_distributed(_age_cgan, options)


def _age_cgan(context: DistributedContext, **options: Any) -> None:
    records = [r for r in load_sources(options["sources"]) if r.split == "train" and r.age is not None]
    crops = cut_crops(records, SIZE, options["cache"].expanduser())
    batches = BalancedBatches(
        crops, PAPER_GROUPS, options["batch_size"], options["seed"] + context.rank, context.device
    )
    run_metadata = read_run(options["out"], options["stage"])
    weights, start = load_weights(options["start"]) if options["start"] and not run_metadata else ({}, {})
    if options["stage"] == "joint" and not (options["facenet"] and options["age_estimator"]):
        raise ConfigError(
            "the joint stage needs --facenet and --age-estimator: checkpoints of what holds the person, and sees ages"
        )
    if options["stage"] == "latent" and not (weights or run_metadata):
        raise ConfigError("the latent stage needs --from: a run of the adversarial stage")
    known = run_metadata or start
    preset = known.get("preset", options["preset"])
    shape = AgeCganShape.from_dict(known["shape"]) if known else PRESETS[preset]
    if options["new_discriminator"] and weights:
        preset = options["preset"]
        shape = replace(shape, discriminator=PRESETS[preset].discriminator)
    stage, settings = _stage(options, preset, shape, context, batches)
    if weights and options["new_discriminator"]:
        weights["discriminator"] = stage.networks["discriminator"].state_dict()
    if weights:
        stage.start_from(weights)
    if not run_metadata:
        _begin_as_eigenfaces(stage, shape, weights, crops)
    passed = earlier_stages(start) if start else []
    metadata = {
        "family": "age_cgan",
        "preset": preset,
        "shape": shape.as_dict(),
        "stage": stage.name,
        "earlier": run_metadata.get("earlier", passed),
        "data": dict(sorted(Counter(record.source for record in crops.records).items())),
        "group_counts": batches.counts,
        "seed": options["seed"],
        "batch_size": options["batch_size"] * context.world_size,
        "settings": asdict(settings),
    }
    run(stage, batches, context, options, metadata)


def _begin_as_eigenfaces(stage: Stage[Batch], shape: AgeCganShape, known: Collection[str], crops: Crops) -> None:
    """Give the linear parts of the networks of ``stage`` that have some, and are not ``known``, what ``crops`` differ in."""
    parts = {"encoder": shape.encoder.eigenfaces, "generator": shape.generator.eigenfaces}
    new = {name: side for name, side in parts.items() if side and name in stage.networks and name not in known}
    some = crops.pixels[:: -(-len(crops) // _EIGENFACES_OF)]
    found = {side: fit_eigenfaces(as_images(torch.from_numpy(some)), shape.latent, side) for side in set(new.values())}
    for name, side in new.items():
        stage.networks[name].get_submodule("eigenfaces").load_state_dict(getattr(found[side], name))


def _stage(
    options: dict[str, Any], preset: str, shape: AgeCganShape, context: DistributedContext, batches: BalancedBatches
) -> tuple[Stage[Batch], AdversarialSettings | JointSettings | LatentSettings]:
    estimator = load_age_estimator(options["age_estimator"]) if options["age_estimator"] else None
    facenet = load_facenet(options["facenet"]) if options["facenet"] else None
    if options["stage"] == "adversarial":
        start = PAPER_ADVERSARIAL if preset == "paper" else AdversarialSettings()
        adversarial = apply_overrides(start, options["overrides"])
        return AdversarialStage(shape, adversarial, context.device, options["amp"], estimator), adversarial
    if options["stage"] == "joint":
        assert facenet is not None
        assert estimator is not None
        joint = apply_overrides(JointSettings(), options["overrides"])
        return JointStage(shape, joint, context.device, options["amp"], batches.next(), facenet, estimator), joint
    latent = apply_overrides(LatentSettings(), options["overrides"])
    return LatentStage(shape, latent, context.device, options["amp"], batches.next(), facenet), latent


main.add_command(latent_optimisation)
main.add_command(facenet)
main.add_command(facenet_published)
main.add_command(age_estimator)
main.add_command(age_translator)
main.add_command(cyclegan)
main.add_command(detector)
main.add_command(landmark_refiner)

if __name__ == "__main__":
    main()
