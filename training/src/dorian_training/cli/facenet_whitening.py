"""``dorian-train facenet-whitening``: a whitening behind dlib's FaceNet, so that its similarities mean the same for all."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.cli.config import (
    CHECKPOINT,
    FitConfig,
    config_command,
    data_field,
    option,
)
from dorian_training.cli.runs import count_sources
from dorian_training.data.batches import as_images
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import CheckpointError, DataError
from dorian_training.methods.whitening import fit_whitening
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import facenet_of

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class FaceNetWhiteningConfig(FitConfig):
    """Options of ``facenet-whitening``."""

    sources: tuple[str, ...] = data_field("Faces of different people with ethnicity and gender, as FairFace's.")
    only: str | None = option("Use the faces of this set alone, where --data holds several, as fairface.", default=None)
    facenet: Path = option("Checkpoint of dlib's FaceNet, as facenet-published writes it.", kind=CHECKPOINT)
    faces: int = option("Faces of each ethnicity and gender.", default=80, kind=click.IntRange(2))
    shrinkage: float = option(
        "How far variances are shrunk towards their mean; 0 whitens fully.", default=1.0, kind=click.FloatRange(0)
    )

    def records(self) -> list[FaceRecord]:
        """Return the faces to fit on, as many of each ethnicity and gender.

        Raises:
            DataError: If a group has too few faces in the training split, or there are no groups.
        """
        groups: dict[str, list[FaceRecord]] = defaultdict(list)
        for record in load_sources(self.sources):
            if record.split == "train" and record.ethnicity and record.gender and self.only in (None, record.source):
                groups[f"{record.ethnicity} {record.gender}"].append(record)
        if not groups:
            raise DataError("no face to fit on: the training split has none with an ethnicity and a gender")
        small = [f"{name} ({len(faces)})" for name, faces in groups.items() if len(faces) < self.faces]
        if small:
            raise DataError(f"fewer than {self.faces} faces of {', '.join(sorted(small))}; lower --faces")
        rng = np.random.default_rng(self.seed)
        return [groups[name][i] for name in sorted(groups) for i in rng.permutation(len(groups[name]))[: self.faces]]


@config_command("facenet-whitening", FaceNetWhiteningConfig)
def facenet_whitening(config: FaceNetWhiteningConfig) -> None:
    """Fit a whitening behind dlib's FaceNet, so that its similarities mean the same in all groups of people.

    \b
    dorian-train facenet-whitening --facenet runs/dlib --data fairface:FairFace/ --out runs/facenet
    """
    config.check()
    weights, metadata = load_weights(config.facenet)
    network = facenet_of(weights, metadata)
    if not isinstance(network, DlibResNet):
        raise CheckpointError(f"{config.facenet} holds a FaceNet of another layout than dlib's")
    crops = cut_crops(config.records(), network.size, config.cache.expanduser())
    whitening = fit_whitening(_descriptors(network, crops), config.shrinkage)
    network.whitening_mean.copy_(torch.from_numpy(whitening.mean))
    network.whitening.copy_(torch.from_numpy(whitening.matrix))
    config.out.mkdir(parents=True, exist_ok=True)
    save_weights(config.out / WEIGHTS_FILE, {"facenet_ema": network.state_dict()}, _metadata(config, metadata, crops))
    click.echo(f"{config.out / WEIGHTS_FILE}: whitened on {len(crops)} faces")


@torch.inference_mode()
def _descriptors(network: DlibResNet, crops: Crops) -> NDArray[np.float64]:
    """The descriptors (faces, 128) of ``crops``."""
    batches = torch.split(torch.from_numpy(crops.pixels), _BATCH)
    return np.concatenate([network.descriptor(as_images(batch)).double().numpy() for batch in batches])


def _metadata(config: FaceNetWhiteningConfig, metadata: dict[str, Any], crops: Crops) -> dict[str, Any]:
    sources = count_sources(crops.records)
    return {
        **metadata,
        "data": {**metadata["data"], **sources},
        "settings": {
            **metadata["settings"],
            "whitening": {"faces": sources, "shrinkage": config.shrinkage, "seed": config.seed},
        },
    }
