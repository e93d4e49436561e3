"""``dorian-train latent-optimisation``: Age-cGAN's third stage on the faces of a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.files import draft_file
from dorian_bundle.stored_files import sha256_of
from dorian_training.checkpoint import WEIGHTS_FILE, load_network, load_weights, require_network
from dorian_training.cli.config import (
    CHECKPOINT,
    ProcessConfig,
    apply_overrides,
    config_command,
    data_field,
    option,
)
from dorian_training.cli.runs import run_distributed
from dorian_training.data.batches import as_images, groups_of
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError, DataError
from dorian_training.losses.latent import TERMS, LatentObjective, embedding_of
from dorian_training.methods.latent_optimisation import LatentSearchResult, SearchSettings, search_latents
from dorian_training.networks.age_cgan import SIZE, AgeCganShape, build_encoder, build_generator
from dorian_training.networks.facenet import load_facenet

_CHUNK = 16  # faces per file


@dataclass(frozen=True, kw_only=True)
class LatentOptimisationConfig(ProcessConfig):
    """Options of the latent optimisation."""

    sources: tuple[str, ...] = data_field("Faces whose latents are optimised.")
    checkpoint: Path = option("Run or checkpoint of Age-cGAN's latent stage.", kind=CHECKPOINT)
    facenet: Path = option("Checkpoint of the FaceNet that preserves identity.", kind=CHECKPOINT)
    split: Literal["train", "val", "test"] = option("Split of the faces.", default="train")
    faces: int | None = option("Faces at most; all unless given.", default=None, kind=click.IntRange(1))

    def settings(self) -> SearchSettings:
        """Return the search's settings with the overrides applied."""
        return apply_overrides(SearchSettings(), self.overrides)

    def check(self) -> str:
        """Check checkpoints and data; return the number of faces."""
        super().check()
        return f"{len(self.records())} faces in {self.split}"

    def records(self) -> list[FaceRecord]:
        """Return the faces to optimise.

        Raises:
            DataError: If there are none.
        """
        records = [face for face in load_sources(self.sources) if face.split == self.split and face.age is not None]
        if not records:
            raise DataError(f"--data has no faces of known age in the {self.split} split")
        if self.faces:
            sample = np.random.default_rng(self.seed).permutation(len(records))[: self.faces]
            records = [records[index] for index in sorted(sample)]
        return records


@config_command("latent-optimisation", LatentOptimisationConfig)
def latent_optimisation(config: LatentOptimisationConfig) -> None:
    """Run Age-cGAN's third stage: find the latents that draw given faces best.

    Files of some faces each go to the run folder: latents, the faces' names, and the loss's terms before and after. The
    settings' weights choose the paper's objectives: by default the identity-preserving one.

    \b
    dorian-train latent-optimisation --checkpoint runs/encoder --facenet models/checkpoints/facenet \\
      --data faces/ --split val --out runs/latents
    dorian-train latent-optimisation … --set pixelwise_weight=30 --set identity_weight=0 --out runs/pixelwise
    """
    run_distributed(_optimise, config)


def _optimise(context: DistributedContext, config: LatentOptimisationConfig) -> None:
    settings = config.settings()
    encoder, objective, groups_count = _load_networks(config, context.device)
    crops = cut_crops(config.records(), SIZE, config.cache.expanduser())
    _write_metadata(config.out, _metadata(config, crops))
    groups = groups_of(crops, PAPER_GROUPS)
    terms = []
    for number, start in enumerate(tqdm(range(0, len(crops), _CHUNK), desc="optimising latents", unit="chunk")):
        path = config.out / f"{number:05d}.npz"
        rows = slice(start, start + _CHUNK)
        if not path.is_file():
            image = as_images(torch.from_numpy(crops.pixels[rows])).to(context.device)  # (rows, 3, size, size)
            condition = F.one_hot(torch.from_numpy(groups[rows]), groups_count).float().to(context.device)
            with torch.no_grad():
                latent, embedding = encoder(image), embedding_of(objective.facenet, image)
            result = search_latents(objective, latent, condition, image, embedding, settings)
            _write(path, result, [record.name for record in crops.records[rows]])
        with np.load(path) as stored:
            terms.append(np.stack([stored["before"], stored["after"]]))  # (2, rows, terms)
    before, after = np.concatenate(terms, axis=1).mean(axis=1)
    for name, *values in zip(TERMS, before, after, strict=True):
        click.echo(f"{name}: {values[0]:.4f} before, {values[1]:.4f} after")


def _load_networks(config: LatentOptimisationConfig, device: torch.device) -> tuple[nn.Module, LatentObjective, int]:
    """The encoder, the objective and the number of age groups of the checkpoint."""
    weights, metadata = load_weights(config.checkpoint)
    for name in ("encoder_ema", "generator_ema"):
        require_network(weights, name)
    shape = AgeCganShape.from_dict(metadata["shape"])
    encoder, generator = build_encoder(shape), build_generator(shape)
    load_network(encoder, weights, "encoder_ema")
    load_network(generator, weights, "generator_ema")
    objective = LatentObjective(generator, load_facenet(config.facenet)).to(device)
    objective.eval().requires_grad_(False)
    return encoder.to(device).eval(), objective, shape.groups


def _metadata(config: LatentOptimisationConfig, crops: Crops) -> dict[str, Any]:
    """What tells one run from another: its settings, and checksums of faces and networks."""
    names = "\n".join(f"{record.source} {record.name}" for record in crops.records)
    paths = {"checkpoint": config.checkpoint, "facenet": config.facenet}
    files = {name: path / WEIGHTS_FILE if path.is_dir() else path for name, path in paths.items()}
    return {
        "settings": asdict(config.settings()),
        "faces": {"count": len(crops), "sha256": hashlib.sha256(names.encode()).hexdigest()},
        "networks": {name: sha256_of(file) for name, file in files.items()},
    }


def _write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write ``metadata`` to the run folder; ``ConfigError`` if it holds those of another run."""
    file = folder / "search.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != metadata:
        raise ConfigError(
            f"{folder} holds a search with other settings, faces or networks; give this one another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def _write(path: Path, result: LatentSearchResult, names: Sequence[str]) -> None:
    with draft_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, latents=result.latents, before=result.before, after=result.after, names=np.asarray(names))
