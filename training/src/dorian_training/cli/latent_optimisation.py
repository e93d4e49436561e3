"""``dorian-train latent-optimisation``: Age-cGAN's third stage on the faces of a data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.files import draft_file
from dorian_bundle.graphs import sha256_of
from dorian_training.checkpoint import WEIGHTS_FILE, load_network, load_weights, require_network
from dorian_training.cli.options import data_option
from dorian_training.cli.runs import DEFAULT_CACHE, apply_overrides, run_distributed
from dorian_training.data.batches import as_images, groups_of
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError, DataError
from dorian_training.losses.latent import TERMS, LatentObjective, mirrored_embedding
from dorian_training.methods.latent_optimisation import Found, SearchSettings, search_latents
from dorian_training.networks.age_cgan import SIZE, AgeCganShape, build_encoder, build_generator
from dorian_training.networks.facenet import load_facenet

_PART = 16  # faces per file
_CHECKPOINT = click.Path(path_type=Path, exists=True)


@click.command("latent-optimisation")
@data_option("Faces whose latents are searched.")
@click.option("--checkpoint", type=_CHECKPOINT, required=True, help="Run or checkpoint of Age-cGAN's latent stage.")
@click.option("--facenet", type=_CHECKPOINT, required=True, help="Checkpoint of the FaceNet that tells the person.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", help="Whose faces.")
@click.option("--faces", type=click.IntRange(1), help="Faces at most; all unless given.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Run folder; resumed if used."
)
@click.option("--seed", type=int, default=0)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0: torch decides.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what is cut is kept.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Change a number of the search's settings."
)
def latent_optimisation(**options: Any) -> None:
    """Age-cGAN's third stage: the latents that draw given faces best.

    Files of some faces each go to the run folder: latents, the faces' names, and the loss's terms before and after. The
    settings' weights choose the paper's objectives: by default that of identity.

    \b
    dorian-train latent-optimisation --checkpoint runs/encoder --facenet models/checkpoints/facenet \\
      --data faces/ --split val --out runs/latents
    dorian-train latent-optimisation … --set pixelwise_weight=30 --set identity_weight=0 --out runs/pixelwise
    """
    run_distributed(_optimise, options)


def _optimise(context: DistributedContext, **options: Any) -> None:
    settings = apply_overrides(SearchSettings(), options["overrides"])
    weights, metadata = load_weights(options["checkpoint"])
    for name in ("encoder_ema", "generator_ema"):
        require_network(weights, name)
    shape = AgeCganShape.from_dict(metadata["shape"])
    encoder, generator = build_encoder(shape), build_generator(shape)
    load_network(encoder, weights, "encoder_ema")
    load_network(generator, weights, "generator_ema")
    objective = LatentObjective(generator, load_facenet(options["facenet"])).to(context.device)
    objective.eval().requires_grad_(False)
    encoder.to(context.device).eval()
    crops = _chosen(options)
    _begin(options["out"], _about(options, settings, crops))
    groups = groups_of(crops, PAPER_GROUPS)
    terms = []
    for number, start in enumerate(tqdm(range(0, len(crops), _PART), desc="searching latents", unit="part")):
        path = options["out"] / f"{number:05d}.npz"
        rows = slice(start, start + _PART)
        if not path.is_file():
            image = as_images(torch.from_numpy(crops.pixels[rows])).to(context.device)
            condition = F.one_hot(torch.from_numpy(groups[rows]), shape.groups).float().to(context.device)
            with torch.no_grad():
                latent, embedding = encoder(image), mirrored_embedding(objective.facenet, image)
            found = search_latents(objective, latent, condition, image, embedding, settings)
            _write(path, found, [record.name for record in crops.records[rows]])
        with np.load(path) as stored:
            terms.append(np.stack([stored["before"], stored["after"]]))
    before, after = np.concatenate(terms, axis=1).mean(axis=1)
    for name, *values in zip(TERMS, before, after, strict=True):
        click.echo(f"{name}: {values[0]:.4f} before, {values[1]:.4f} after")


def _chosen(options: dict[str, Any]) -> Crops:
    records = [r for r in load_sources(options["sources"]) if r.split == options["split"] and r.age is not None]
    if not records:
        raise DataError(f"--data has no faces of known age in the {options['split']} split")
    if options["faces"]:
        drawn = np.random.default_rng(options["seed"]).permutation(len(records))[: options["faces"]]
        records = [records[index] for index in sorted(drawn)]
    return cut_crops(records, SIZE, options["cache"].expanduser())


def _about(options: dict[str, Any], settings: SearchSettings, crops: Crops) -> dict[str, Any]:
    """What tells a search from another: of faces and networks the sums."""
    names = "\n".join(f"{record.source} {record.name}" for record in crops.records)
    paths = {name: options[name] for name in ("checkpoint", "facenet")}
    files = {name: path / WEIGHTS_FILE if path.is_dir() else path for name, path in paths.items()}
    return {
        "settings": asdict(settings),
        "faces": {"count": len(crops), "sha256": hashlib.sha256(names.encode()).hexdigest()},
        "networks": {name: sha256_of(file) for name, file in files.items()},
    }


def _begin(folder: Path, metadata: dict[str, Any]) -> None:
    """Note what the run in ``folder`` is; ``ConfigError`` if another has begun there."""
    note = folder / "search.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != metadata:
        words = "holds a search with other settings, faces or networks; give this one another folder"
        raise ConfigError(f"{folder} {words}")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def _write(path: Path, found: Found, names: Sequence[str]) -> None:
    with draft_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, latents=found.latents, before=found.before, after=found.after, names=np.asarray(names))
