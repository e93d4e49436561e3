"""``dorian-train cyclegan``: the filters young and old."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import torch

from dorian_training.checkpoint import load_weights, require_network
from dorian_training.cli.config import (
    CHECKPOINT,
    SelectedSetsConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    data_field,
    option,
    steps_field,
)
from dorian_training.cli.runs import read_run, run_distributed, run_stage
from dorian_training.data.augmentation import MILD_AUGMENTATION, centred
from dorian_training.data.batches import as_images
from dorian_training.data.crops import cut_crops, with_margin
from dorian_training.data.domains import (
    DomainBatch,
    DomainBatches,
    Domains,
    domains_by_age,
    domains_by_attribute,
    domains_by_folder,
    draw_faces,
)
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.methods.cyclegan import TRANSLATORS, CycleGanSettings, CycleGanStage
from dorian_training.networks.age_estimator import load_compact_age_estimator
from dorian_training.networks.cyclegan import MAX_SIZE, PRESETS, CycleGanShape

log = logging.getLogger(__name__)

_VALIDATION_FACES = 8  # of each domain
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True, kw_only=True)
class DomainsConfig(SelectedSetsConfig):
    """Options of a training between two domains of faces, young and old."""

    sources: tuple[str, ...] = data_field(
        "Data set with ages or CelebA's attributes; give it once per set.", default=()
    )
    domains: Literal["ages", "attribute"] = option(
        "How young and old are told apart in --data: by ages, or by CelebA's attribute.", default="ages"
    )
    young_from: int = option("First year of the young, for --domains ages.", default=0, kind=click.IntRange(0))
    young_until: int = option("Last year of the young, for --domains ages.", default=30, kind=click.IntRange(0))
    old_from: int = option("First year of the old, for --domains ages.", default=50, kind=click.IntRange(0))
    young_folder: Path | None = option(
        "Folder of young faces, all cropped alike, in place of --data.", default=None, flag="--young", kind=_FOLDER
    )
    old_folder: Path | None = option("Folder of old faces, as --young.", default=None, flag="--old", kind=_FOLDER)
    faces: int = option("Faces of each domain, as many of both; 0: no limit.", default=8000, kind=click.IntRange(0))

    def load_domains(self, split: str) -> Domains:
        """Return the young and the old faces of ``split``.

        Raises:
            ConfigError: If faces are given in no way, or in two.
        """
        if self.young_folder or self.old_folder:
            if not (self.young_folder and self.old_folder) or self.sources:
                raise ConfigError("give both --young and --old, or else --data")
            young, old = domains_by_folder(self.young_folder, self.old_folder)
            return [face for face in young if face.split == split], [face for face in old if face.split == split]
        if not self.sources:
            raise ConfigError("no faces are given; give --data, or both --young and --old")
        records = [
            record for record in load_sources(self.sources) if record.split == split and self.is_selected(record)
        ]
        if self.domains == "attribute":
            return domains_by_attribute(records)
        return domains_by_age(records, self.young_until, self.old_from, self.young_from)

    def domain_rule(self) -> dict[str, Any]:
        """Return how the domains are told apart, as checkpoints say it."""
        if self.young_folder:
            return {"by": "folder"}
        years = {"young_from": self.young_from, "young_until": self.young_until, "old_from": self.old_from}
        return {"by": self.domains, **(years if self.domains == "ages" else {})}

    def check(self) -> str:
        """Check checkpoints and domains; return the number of young and old faces."""
        super().check()
        young, old = self.load_domains("train")
        return f"{len(young)} young and {len(old)} old faces in train"


@dataclass(frozen=True, kw_only=True)
class CycleGanConfig(DomainsConfig):
    """Options of CycleGAN's training."""

    steps: int = steps_field(20_000)
    batch_size: int = batch_size_field(4)
    preset: str = option("Network layout.", default="lean", kind=click.Choice(list(PRESETS)))
    size: int | None = option(
        "Side of the images in pixels; the preset's, or that of the networks that are continued, unless given.",
        default=None,
        kind=click.IntRange(16, MAX_SIZE),
    )
    balanced: bool = option(
        "As many faces of both domains, or all of each, up to --faces.",
        default=True,
        flag="--balanced/--unbalanced",
    )
    age_estimator: Path | None = option(
        "Checkpoint of the age estimator that the discriminators of the lean preset start from.",
        default=None,
        kind=CHECKPOINT,
    )

    def settings(self) -> CycleGanSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(CycleGanSettings(), self.overrides)

    def epoch(self, young: list[FaceRecord], old: list[FaceRecord]) -> int:
        """Return in how many steps as many faces are drawn as the larger domain has."""
        return math.ceil(max(len(young), len(old)) / self.batch_size)


@config_command("cyclegan", CycleGanConfig)
def cyclegan(config: CycleGanConfig) -> None:
    """Train CycleGAN: the filters young and old.

    \b
    dorian-train cyclegan --data faces/ --age-estimator models/checkpoints/compact_age_estimator --out runs/filters
    dorian-train cyclegan --data celeba:CelebA/ --domains attribute --preset resnet9 --batch-size 1 --out runs/published
    dorian-train cyclegan --young pictures/young --old pictures/old --from runs/filters --out runs/own
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: CycleGanConfig) -> None:
    start = read_run(config.out, CycleGanStage.name)
    if config.start and not start:
        weights, start = load_weights(config.start)
        require_network(weights, f"to_{TRANSLATORS[0]}")  # before its shape is read: any checkpoint has one
    shape = CycleGanShape.from_dict(start["shape"]) if start else PRESETS[config.preset]
    shape = shape if config.size is None else shape.at_size(config.size)
    side, template = with_margin(shape.size)
    cache = config.cache.expanduser()
    young, old = draw_faces(config.load_domains("train"), config.faces, config.seed, config.balanced)
    log.info("%d young and %d old faces; an epoch is %d steps", len(young), len(old), config.epoch(young, old))
    crops = (cut_crops(young, side, cache, template), cut_crops(old, side, cache, template))
    seed = config.seed + context.rank
    batches = DomainBatches(crops, config.batch_size, seed, shape.size, MILD_AUGMENTATION, context.device)
    validation = watched_domains(config.load_domains("val"), _VALIDATION_FACES, shape.size, context.device)
    estimator = load_compact_age_estimator(config.age_estimator) if config.age_estimator else None
    stage = CycleGanStage(shape, config.settings(), context.device, config.amp, validation, estimator)
    records = [record for domain in crops for record in domain.records]
    metadata = {"shape": shape.as_dict(), "domains": config.domain_rule(), "balanced": config.balanced}
    run_stage(stage, batches, records, context, config, metadata)


def watched_domains(domains: Domains, count: int, size: int, device: torch.device) -> DomainBatch | None:
    """Return as many faces of each of the ``domains``, up to ``count``, not augmented; ``None`` if one of them has none."""
    if not all(domains):
        return None
    side, template = with_margin(size)
    pixels = [cut_crops(domain[:count], side, template=template).pixels for domain in domains]
    count = min(map(len, pixels))  # faces that cannot be read are left out
    young, old = (centred(as_images(torch.from_numpy(faces[:count])), size).to(device) for faces in pixels)
    return DomainBatch(young, old)
