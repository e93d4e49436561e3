"""``dorian-train age-cgan``: Age-cGAN's stages that train networks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click
import torch
from torch import Tensor

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.checkpoint import load_weights
from dorian_training.cli.config import (
    CHECKPOINT,
    RunConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.runs import count_sources, earlier_stages, read_run, run, run_distributed
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
from dorian_training.networks.age_estimator import load_compact_age_estimator
from dorian_training.networks.eigenfaces import fit_eigenfaces
from dorian_training.networks.facenet import load_facenet

_MAX_EIGENFACE_CROPS = 20_000


@dataclass(frozen=True, kw_only=True)
class AgeCganConfig(RunConfig):
    """Options of Age-cGAN's training."""

    steps: int = steps_field(20_000)
    batch_size: int = batch_size_field(32)
    stage: Literal["adversarial", "joint", "latent"] = option("What to train.", default="adversarial")
    preset: str = option("Network layout.", default="lean", kind=click.Choice(list(PRESETS)))
    age_estimator: Path | None = option(
        "Checkpoint of the age estimator that the discriminator of the lean preset starts from.",
        default=None,
        kind=CHECKPOINT,
    )
    new_discriminator: bool = option(
        "With --from, start with a discriminator of --preset in place of the trained one.", default=False
    )
    facenet: Path | None = option(
        "Checkpoint of the FaceNet that preserves identity in the latent stage and in the joint one, which needs it.",
        default=None,
        kind=CHECKPOINT,
    )

    def settings(self) -> AdversarialSettings | JointSettings | LatentSettings:
        """Return the stage's settings with the overrides applied."""
        match self.stage:
            case "adversarial":
                start = PAPER_ADVERSARIAL if self.preset == "paper" else AdversarialSettings()
                return apply_overrides(start, self.overrides)
            case "joint":
                return apply_overrides(JointSettings(), self.overrides)
            case "latent":
                return apply_overrides(LatentSettings(), self.overrides)

    def check(self) -> str:
        """Check that the stage has the networks that it needs, then the inputs as all runs do."""
        self.require_networks(is_resumed=bool(read_run(self.out, self.stage)))
        return super().check()

    def require_networks(self, is_resumed: bool) -> None:
        """Raise ``ConfigError`` unless the stage has the checkpoints that it needs."""
        if self.stage == "joint" and not (self.facenet and self.age_estimator):
            raise ConfigError(
                "the joint stage needs --facenet and --age-estimator: checkpoints of the networks that preserve identity "
                "and estimate ages"
            )
        if self.stage == "latent" and not (self.start or is_resumed):
            raise ConfigError("the latent stage needs --from: a run of the adversarial stage")


@config_command("age-cgan", AgeCganConfig)
def age_cgan(config: AgeCganConfig) -> None:
    """Train Age-cGAN: the adversarial stage, then the initial latent approximation. For the third, see latent-optimisation.

    The joint stage trains all three networks together, in place of the adversarial one or after it.

    \b
    dorian-train age-cgan --data faces/ --age-estimator models/checkpoints/compact_age_estimator --out runs/gan --steps 12000
    dorian-train age-cgan --stage latent --from runs/gan --facenet models/checkpoints/facenet --data faces/ --out runs/encoder
    torchrun --nproc-per-node 4 -m dorian_training.cli.train age-cgan --data faces/ --out runs/gan
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: AgeCganConfig) -> None:
    records = [record for record in load_sources(config.sources) if record.split == "train" and record.age is not None]
    crops = cut_crops(records, SIZE, config.cache.expanduser())
    seed = config.seed + context.rank
    batches = BalancedBatches(crops, PAPER_GROUPS, config.batch_size, seed, context.device)
    resumed = read_run(config.out, config.stage)
    weights, start = load_weights(config.start) if config.start and not resumed else ({}, {})
    config.require_networks(is_resumed=bool(resumed))
    config, shape = _with_shape(config, resumed or start, is_new=bool(config.new_discriminator and weights))
    stage = _build_stage(config, shape, context, batches)
    if weights and config.new_discriminator:
        weights["discriminator"] = stage.networks["discriminator"].state_dict()
    if weights:
        stage.load_pretrained(weights)
    if not resumed:
        _start_from_eigenfaces(stage, shape, weights, crops)
    metadata = {
        "family": "age_cgan",
        "preset": config.preset,
        "shape": shape.as_dict(),
        "stage": stage.name,
        "earlier": resumed.get("earlier", earlier_stages(start) if start else []),
        "data": count_sources(crops.records),
        "group_counts": batches.counts,
        "seed": config.seed,
        "batch_size": config.batch_size * context.world_size,
        "settings": asdict(config.settings()),
    }
    run(stage, batches, context, config, metadata)


def _with_shape(config: AgeCganConfig, metadata: dict[str, Any], is_new: bool) -> tuple[AgeCganConfig, AgeCganShape]:
    """The config with its effective preset, and the shape of the networks.

    Preset and shape are those of the run that is resumed or started from, whose ``metadata`` are given, if there is one;
    with ``is_new`` the discriminator is that of ``--preset``.
    """
    if not metadata:
        return config, PRESETS[config.preset]
    shape = AgeCganShape.from_dict(metadata["shape"])
    if is_new:
        return config, replace(shape, discriminator=PRESETS[config.preset].discriminator)
    return replace(config, preset=metadata.get("preset", config.preset)), shape


def _build_stage(
    config: AgeCganConfig, shape: AgeCganShape, context: DistributedContext, batches: BalancedBatches
) -> Stage[Batch]:
    estimator = load_compact_age_estimator(config.age_estimator) if config.age_estimator else None
    facenet = load_facenet(config.facenet) if config.facenet else None
    match config.settings():
        case JointSettings() as joint:
            assert facenet is not None
            assert estimator is not None
            return JointStage(shape, joint, context.device, config.amp, batches.next(), facenet, estimator)
        case AdversarialSettings() as adversarial:
            return AdversarialStage(shape, adversarial, context.device, config.amp, estimator)
        case LatentSettings() as latent:
            return LatentStage(shape, latent, context.device, config.amp, batches.next(), facenet)


def _start_from_eigenfaces(stage: Stage[Batch], shape: AgeCganShape, pretrained: Collection[str], crops: Crops) -> None:
    """Fit the linear parts of networks that have some, and are not ``pretrained``, to ``crops``."""
    sides = {"encoder": shape.encoder.eigenfaces, "generator": shape.generator.eigenfaces}
    new = {name: side for name, side in sides.items() if side and name in stage.networks and name not in pretrained}
    sample: Tensor = torch.from_numpy(crops.pixels[:: -(-len(crops) // _MAX_EIGENFACE_CROPS)])
    fitted = {side: fit_eigenfaces(as_images(sample), shape.latent, side) for side in set(new.values())}
    for name, side in new.items():
        stage.networks[name].get_submodule("eigenfaces").load_state_dict(getattr(fitted[side], name))
