"""``dorian-train ae-stylegan``: an encoder to styles and a style-based generator, for ageing by mixing styles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from dorian_training.checkpoint import load_network, load_weights, require_network
from dorian_training.cli.config import (
    CHECKPOINT,
    SelectedSetsConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.runs import cut_splits, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import MILD_AUGMENTATION, centred
from dorian_training.data.batches import LabelledBatch, LabelledBatches, as_images, run_on_centres
from dorian_training.data.crops import Crops, with_margin
from dorian_training.data.sampling import flattening_weights
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.methods.ae_stylegan import AeStyleGanStage, ReadStyles
from dorian_training.methods.ae_stylegan_settings import LEAN_SETTINGS, AeStyleGanSettings
from dorian_training.methods.age_estimator import age_labels
from dorian_training.methods.style_mixing import fit_age_means
from dorian_training.networks.ae_stylegan import PRESETS, AeStyleGanShape, StyleMaps, StyleReader
from dorian_training.networks.age_estimator import DlibAgeEstimator, load_age_estimator, load_compact_age_estimator
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import load_facenet

_AGE_SPAN = 8  # years; ages in such spans are drawn almost equally often
_FLATNESS = 0.9
_OLDEST = 90
_PYRAMID_FACES = 9000


@dataclass(frozen=True, kw_only=True)
class AeStyleGanConfig(SelectedSetsConfig):
    """Options of AE-StyleGAN's training."""

    steps: int = steps_field(20_000)
    batch_size: int = batch_size_field(16)
    preset: str = option("Network layout.", default="lean", kind=click.Choice(list(PRESETS)))
    facenet: Path = option("Checkpoint of the FaceNet whose features compare faces.", kind=CHECKPOINT)
    age_estimator: Path | None = option(
        "Checkpoint of the age estimator whose features the lean preset's styles are.", default=None, kind=CHECKPOINT
    )

    compact_estimator: Path | None = option(
        "Checkpoint of the compact age estimator that the lean preset's discriminator starts from.",
        default=None,
        kind=CHECKPOINT,
    )
    new_discriminator: bool = option("Begin with a new discriminator, not with that of --from.", default=False)
    watched: int = option("Validation faces that are looked at and measured.", default=64, kind=click.IntRange(2))

    def settings(self) -> AeStyleGanSettings:
        """Return the preset's settings with the overrides applied."""
        return apply_overrides(LEAN_SETTINGS if self.preset == "lean" else AeStyleGanSettings(), self.overrides)


@config_command("ae-stylegan", AeStyleGanConfig)
def ae_stylegan(config: AeStyleGanConfig) -> None:
    """Train AE-StyleGAN: an encoder from faces to styles at twelve levels, and a generator back.

    \b
    dorian-train ae-stylegan --data faces/ --facenet models/checkpoints/facenet \\
        --age-estimator models/checkpoints/style_reader --out runs/style
    dorian-train ae-stylegan --data celeba:CelebA/ --preset paper --facenet models/checkpoints/facenet --out runs/paper
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: AeStyleGanConfig) -> None:
    training = prepare(context, config)
    stage = training.stage(config.settings())
    metadata = {"shape": training.shape.as_dict(), "preset": config.preset}
    run_stage(stage, training.batches(config.batch_size), training.crops.records, context, config, metadata)


@dataclass(frozen=True)
class PreparedTraining:
    """All that a training of AE-StyleGAN needs beside its settings."""

    context: DistributedContext
    config: AeStyleGanConfig
    shape: AeStyleGanShape
    facenet: DlibResNet
    crops: Crops
    labels: Tensor
    read: ReadStyles | None
    maps: StyleMaps | None
    watched: LabelledBatch | None
    is_new: bool

    def stage(self, settings: AeStyleGanSettings) -> AeStyleGanStage:
        """Return the stage with ``settings``; a new one begins with maps and a pyramid that are fitted to the faces."""
        config = self.config
        stage = AeStyleGanStage(
            self.shape,
            settings,
            self.facenet,
            self.context.device,
            config.amp,
            self.read,
            self.watched,
            config.new_discriminator,
        )
        if self.maps is not None and self.is_new:
            stage.start(self.maps, _sample(self.crops, self.shape.size))
        return stage

    def batches(self, batch_size: int) -> LabelledBatches:
        """Return a stream of batches from its beginning."""
        return LabelledBatches(
            self.crops,
            self.labels,
            batch_size,
            self.config.seed + self.context.rank,
            self.shape.size,
            MILD_AUGMENTATION,
            flattening_weights(self.crops, _AGE_SPAN, _FLATNESS),
            self.context.device,
        )


def prepare(context: DistributedContext, config: AeStyleGanConfig) -> PreparedTraining:
    """Cut the faces, and read their styles where these are an age estimator's.

    Raises:
        TrainingError: If there are no faces, or a checkpoint is missing or of another layout.
    """
    weights, start = _earlier(config)
    shape = AeStyleGanShape.from_dict(start["shape"]) if start else PRESETS[config.preset]
    facenet = load_facenet(config.facenet)
    if not isinstance(facenet, DlibResNet):
        raise ConfigError("--facenet needs a checkpoint of dlib's layout, whose features compare faces")
    train, val = cut_splits(
        config, lambda record: config.is_selected(record) and record.age is not None, with_margin(shape.size)
    )
    labels, watched_labels = age_labels(train).float(), None if val is None else age_labels(val).float()
    read: ReadStyles | None = None
    maps = StyleMaps(shape) if shape.structure else None
    if maps is not None:
        estimator = load_style_estimator(config.age_estimator)
        pooled = [
            run_on_centres(StyleReader(estimator), crops, shape.size, context.device, config.amp)
            for crops in (train, val)
            if crops is not None
        ]
        if weights:
            load_network(maps, weights, "encoder")
        else:
            maps.fit(pooled[0], labels.mean(dim=1))
        features = [maps.whitened(part).detach() for part in pooled]
        women = np.asarray([record.is_woman for record in train.records])
        read = ReadStyles(
            estimator.to(context.device),
            fit_age_means(features[0], labels, women, _OLDEST),
            load_compact_age_estimator(config.compact_estimator) if config.compact_estimator else None,
        )
        labels = torch.cat([labels, features[0]], dim=1)
        watched_labels = None if watched_labels is None else torch.cat([watched_labels, features[1]], dim=1)
    watched = (
        None
        if val is None or watched_labels is None
        else _watched(val, watched_labels, config.watched, shape.size, context)
    )
    return PreparedTraining(context, config, shape, facenet, train, labels, read, maps, watched, is_new=not weights)


def _earlier(config: AeStyleGanConfig) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Weights and metadata of the run that is resumed or started from; both empty if there is none."""
    if read_run(config.out, AeStyleGanStage.name):
        return load_weights(config.out)
    if config.start is None:
        return {}, {}
    weights, metadata = load_weights(config.start)
    require_network(weights, "encoder")  # before its shape is read: any checkpoint has one
    return weights, metadata


def load_style_estimator(path: Path | None) -> DlibAgeEstimator:
    """Load the age estimator that reads styles; ``ConfigError`` if none is given, or one of another layout."""
    estimator = load_age_estimator(path) if path else None
    if not isinstance(estimator, DlibAgeEstimator):
        raise ConfigError(
            "the lean preset needs --age-estimator: a checkpoint of dlib's layout, as models/checkpoints/style_reader"
        )
    return estimator.requires_grad_(False)


def _watched(crops: Crops, labels: Tensor, count: int, size: int, context: DistributedContext) -> LabelledBatch:
    """Validation faces to look at, the same each time, of all ages alike."""
    order = np.argsort([record.age or 0.0 for record in crops.records], kind="stable")
    selected = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    selected = np.random.default_rng(0).permutation(selected)
    image = centred(as_images(torch.from_numpy(crops.pixels[selected])), size)
    return LabelledBatch(image.to(context.device), labels[torch.from_numpy(selected)].to(context.device))


def _sample(crops: Crops, size: int) -> Tensor:
    pixels = torch.from_numpy(crops.pixels[:: -(-len(crops) // _PYRAMID_FACES)])
    return torch.cat([centred(as_images(part), size) for part in torch.split(pixels, 512)])
