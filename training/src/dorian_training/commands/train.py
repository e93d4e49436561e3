"""``dorian-train``: one command per method, each stage resumable by giving the same run folder again."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
import yaml

from dorian_bundle import BundleError
from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.checkpoint import RESUME_FILE, load_weights
from dorian_training.commands.options import data_option
from dorian_training.data.batches import BalancedBatches
from dorian_training.data.crops import cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.distributed import Place, joined
from dorian_training.errors import ConfigError, TrainingError
from dorian_training.loop import LoopSettings, train
from dorian_training.methods.age_cgan import (
    PAPER_ADVERSARIAL,
    AdversarialSettings,
    AdversarialStage,
    LatentSettings,
    LatentStage,
)
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import PRESETS, SIZE, AgeCganShape

Settings = TypeVar("Settings", AdversarialSettings, LatentSettings)
CONFIG_FILE = "config.yaml"
DEFAULT_CACHE = Path("~/.cache/dorian")


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train Dorian's networks."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


@main.command("age-cgan")
@click.option("--stage", type=click.Choice(["adversarial", "latent"]), default="adversarial", help="What to train.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="dcgan", help="Network layout.")
@data_option("Data set; give it once per set.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Run folder; resumed if used."
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, exists=True),
    help="Run or weights file to start from; the latent stage takes its generator and discriminator from it.",
)
@click.option("--steps", type=click.IntRange(1), default=20_000, help="Steps in all, those done before included.")
@click.option("--minutes", type=click.FloatRange(0), default=0.0, help="Stop and save after this long; 0: no limit.")
@click.option("--batch-size", type=click.IntRange(2), default=32, help="Faces per step and process.")
@click.option("--seed", type=int, default=0)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0: torch decides.")
@click.option("--amp/--no-amp", default=True, help="bfloat16 autocast.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where aligned crops are kept.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a number of the stage's settings.")
def age_cgan(**options: Any) -> None:
    """Age-cGAN: the adversarial stage, then the initial latent approximation.

    \b
    dorian-train age-cgan --data faces/ --out runs/gan --steps 12000
    dorian-train age-cgan --stage latent --from runs/gan --data utkface:UTKFace/ --out runs/encoder --steps 5000
    torchrun --nproc-per-node 4 -m dorian_training.commands.train age-cgan --data faces/ --out runs/gan
    """
    try:
        with joined(options["device"]) as place:
            _age_cgan(place, **options)
    except (TrainingError, BundleError) as error:
        raise click.ClickException(str(error)) from error


def _age_cgan(place: Place, **options: Any) -> None:
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    records = [r for r in load_sources(options["sources"]) if r.split == "train" and r.age is not None]
    crops = cut_crops(records, SIZE, options["cache"].expanduser())
    torch.manual_seed(options["seed"] + place.rank)
    batches = BalancedBatches(crops, PAPER_GROUPS, options["batch_size"], options["seed"] + place.rank, place.device)
    begun = _begun(options["out"], options["stage"])
    weights, start = load_weights(options["start"]) if options["start"] and not begun else ({}, {})
    if options["stage"] == "latent" and not (weights or begun):
        raise ConfigError("the latent stage needs --from: a run of the adversarial stage")
    known = begun or start
    preset = known.get("preset", options["preset"])
    shape = AgeCganShape.from_dict(known["shape"]) if known else PRESETS[preset]
    stage, settings = _stage(options, preset, shape, place, batches)
    if weights:
        stage.start_from(weights)
    passed = [*start["earlier"], {key: start[key] for key in ("stage", "steps")}] if start else []
    about = {
        "family": "age_cgan",
        "preset": preset,
        "shape": shape.as_dict(),
        "stage": stage.name,
        "earlier": begun.get("earlier", passed),
        "data": dict(sorted(Counter(record.source for record in crops.records).items())),
        "group_counts": batches.counts,
        "seed": options["seed"],
        "batch_size": options["batch_size"] * place.world,
        "settings": asdict(settings),
    }
    loop = LoopSettings(options["steps"], minutes=options["minutes"])
    if place.leads:
        options["out"].mkdir(parents=True, exist_ok=True)
        config = {**about, "loop": asdict(loop), "amp": options["amp"], "device": str(place.device)}
        (options["out"] / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
    train(stage, batches, loop, options["out"], place, about)


def _begun(folder: Path, stage: str) -> dict[str, Any]:
    """What the run in ``folder`` says of itself; empty if none has begun there."""
    if not (folder / RESUME_FILE).is_file():
        return {}
    _, about = load_weights(folder)
    if about["stage"] != stage:
        raise ConfigError(f"{folder} holds a run of the {about['stage']} stage; give the {stage} stage another folder")
    return about


def _stage(
    options: dict[str, Any], preset: str, shape: AgeCganShape, place: Place, batches: BalancedBatches
) -> tuple[Stage, AdversarialSettings | LatentSettings]:
    if options["stage"] == "adversarial":
        start = PAPER_ADVERSARIAL if preset == "paper" else AdversarialSettings()
        adversarial = _changed(start, options["changes"])
        return AdversarialStage(shape, adversarial, place.device, options["amp"]), adversarial
    latent = _changed(LatentSettings(), options["changes"])
    return LatentStage(shape, latent, place.device, options["amp"], watched=batches.next()), latent


def _changed(settings: Settings, changes: tuple[str, ...]) -> Settings:
    """``settings`` with ``NAME=VALUE`` changes applied, each read as the type that its number has."""
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in known:
            raise ConfigError(f"--set {change}: expected NAME=VALUE, with a name among {', '.join(known)}")
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigError(f"--set {change}: {error}") from error
    return replace(settings, **values)


if __name__ == "__main__":
    main()
