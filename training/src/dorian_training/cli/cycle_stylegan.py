"""``dorian-train cycle-stylegan``: the filters that take the young to the old and back, fine-tuned from AE-StyleGAN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dorian_training.checkpoint import load_weights, require_network
from dorian_training.cli.ae_stylegan import load_style_estimator
from dorian_training.cli.config import (
    CHECKPOINT,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.cyclegan import DomainsConfig, watched_domains
from dorian_training.cli.runs import earlier_stages, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import MILD_AUGMENTATION
from dorian_training.data.batches import run_on_centres
from dorian_training.data.crops import Crops, cut_crops, with_margin
from dorian_training.data.domains import DomainBatches, evenly
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.loop import LoopSettings
from dorian_training.methods.cycle_stylegan import CycleStyleGanSettings, CycleStyleGanStage, StyleStart
from dorian_training.networks.ae_stylegan import AeStyleGanShape, StyleMaps, StyleReader
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import load_facenet

_WATCHED_FACES = 200  # of each domain, on which Fréchet distances are measured


@dataclass(frozen=True, kw_only=True)
class CycleStyleGanConfig(DomainsConfig):
    """Options of Cycle-StyleGAN's fine-tuning."""

    steps: int = steps_field(300)
    batch_size: int = batch_size_field(8)
    stylegan: Path = option("Run or checkpoint of the AE-StyleGAN that both pairs begin from.", kind=CHECKPOINT)
    facenet: Path = option("Checkpoint of the FaceNet by whose descriptors domains are compared.", kind=CHECKPOINT)
    age_estimator: Path | None = option(
        "Checkpoint of the age estimator whose features the lean preset's styles are.", default=None, kind=CHECKPOINT
    )

    def settings(self) -> CycleStyleGanSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(CycleStyleGanSettings(), self.overrides)

    def loop(self) -> LoopSettings:
        """Return how long to train, and to measure as often as the settings say."""
        every = self.settings().measure_every
        return LoopSettings(self.steps, log_every=10, sample_every=every, save_every=every, minutes=self.minutes)


@config_command("cycle-stylegan", CycleStyleGanConfig)
def cycle_stylegan(config: CycleStyleGanConfig) -> None:
    """Fine-tune AE-StyleGAN to the filters young and old, by a cycle of two pairs of encoder and generator.

    \b
    dorian-train cycle-stylegan --data faces/ --stylegan models/checkpoints/ae_stylegan \\
        --facenet models/checkpoints/facenet --age-estimator models/checkpoints/style_reader --out runs/style_filters
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: CycleStyleGanConfig) -> None:
    read_run(config.out, CycleStyleGanStage.name)
    weights, metadata = load_weights(config.stylegan)
    require_network(weights, "generator_ema")  # before its shape is read: any checkpoint has one
    shape = AeStyleGanShape.from_dict(metadata["shape"])
    facenet = load_facenet(config.facenet)
    if not isinstance(facenet, DlibResNet):
        raise ConfigError("--facenet needs a checkpoint of dlib's layout, whose descriptors compare faces")
    side, template = with_margin(shape.size)
    cache = config.cache.expanduser()
    young, old = evenly(config.load_domains("train"), config.faces, config.seed)
    crops = (cut_crops(young, side, cache, template), cut_crops(old, side, cache, template))
    reader = StyleReader(load_style_estimator(config.age_estimator)) if shape.structure else None
    shifts = None if reader is None else _shifts(reader, shape, weights, crops, context, config)
    batches = DomainBatches(
        crops, config.batch_size, config.seed + context.rank, shape.size, MILD_AUGMENTATION, context.device
    )
    watched = watched_domains(config.load_domains("val"), _WATCHED_FACES, shape.size, context.device)
    stage = CycleStyleGanStage(
        shape, config.settings(), StyleStart(weights, reader, shifts), facenet, context.device, config.amp, watched
    )
    records = [record for domain in crops for record in domain.records]
    about: dict[str, Any] = {
        "shape": shape.as_dict(),
        "domains": config.domain_rule(),
        "from": metadata["steps"],
        "earlier": earlier_stages(metadata),
    }
    run_stage(stage, batches, records, context, config, about)


def _shifts(
    reader: StyleReader,
    shape: AeStyleGanShape,
    weights: dict[str, dict[str, Tensor]],
    crops: tuple[Crops, Crops],
    context: DistributedContext,
    config: CycleStyleGanConfig,
) -> dict[str, Tensor]:
    """By domain, the difference of the mean features (style,) of the domains' faces."""
    maps = StyleMaps(shape)
    maps.load_state_dict(weights["encoder_ema"])
    means = [
        maps.whitened(run_on_centres(reader, part, shape.size, context.device, config.amp)).detach().mean(dim=0)
        for part in crops
    ]
    return {"old": means[1] - means[0], "young": means[0] - means[1]}
