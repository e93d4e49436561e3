"""``dorian-train`` for the networks that translate faces from one age to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from dorian_training.checkpoint import load_weights, require_network
from dorian_training.cli.options import data_option
from dorian_training.cli.runs import apply_overrides, cut, read_run, run_distributed, run_options, run_stage
from dorian_training.data.augmentation import Augmentation, centred
from dorian_training.data.batches import LabelledBatches, as_images
from dorian_training.data.crops import cut_crops, with_margin
from dorian_training.data.domains import (
    DomainBatch,
    DomainBatches,
    Domains,
    domains_by_age,
    domains_by_attribute,
    domains_by_folder,
    evenly,
)
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.methods.age_estimator import age_labels, flattening_weights
from dorian_training.methods.age_translator import AgeTranslatorSettings, AgeTranslatorStage, GuideNetworks
from dorian_training.methods.cyclegan import TRANSLATORS, CycleGanSettings, CycleGanStage
from dorian_training.networks.age_estimator import load_age_estimator
from dorian_training.networks.age_translator import AgeTranslatorShape
from dorian_training.networks.cyclegan import PRESETS, CycleGanShape
from dorian_training.networks.facenet import load_facenet

# Views that differ as photographs do, but not so far that the discriminator would learn it of faces.
_VIEWS = Augmentation(
    shift=0.02, scale=0.03, turn=3.0, light=0.1, contrast=0.1, saturation=0.1, grey=0.02, coarse=0.0, erase=0.0
)
_AGE_SPAN = 8  # years; ages in such spans are met almost equally often
_FLATNESS = 0.9
_WATCHED = 8  # faces of each domain
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("cyclegan")
@data_option("Data set with ages or CelebA's attributes; give it once per set.", required=False)
@click.option(
    "--domains",
    type=click.Choice(["ages", "attribute"]),
    default="ages",
    help="How young and old are told apart in --data: by ages, or by CelebA's attribute.",
)
@click.option("--young-from", type=click.IntRange(0), default=0, help="First year of the young, for --domains ages.")
@click.option("--young-until", type=click.IntRange(0), default=30, help="Last year of the young, for --domains ages.")
@click.option("--old-from", type=click.IntRange(0), default=50, help="First year of the old, for --domains ages.")
@click.option("--young", "young_folder", type=_FOLDER, help="Folder of young faces, cut out alike, in place of --data.")
@click.option("--old", "old_folder", type=_FOLDER, help="Folder of old faces, as --young.")
@click.option(
    "--faces", type=click.IntRange(0), default=8000, help="Faces of each domain, as many of both; 0: no limit."
)
@click.option("--preset", type=click.Choice(list(PRESETS)), default="lean", help="Network layout.")
@click.option(
    "--age-estimator",
    type=click.Path(path_type=Path, exists=True),
    help="Checkpoint of the age estimator that the discriminators of the lean preset begin as.",
)
@run_options(steps=20_000, batch_size=4)
def cyclegan(**options: Any) -> None:
    """CycleGAN: the filters young and old.

    \b
    dorian-train cyclegan --data faces/ --age-estimator models/checkpoints/age_estimator --out runs/filters
    dorian-train cyclegan --data celeba:CelebA/ --domains attribute --preset resnet9 --batch-size 1 --out runs/published
    dorian-train cyclegan --young pictures/young --old pictures/old --from runs/filters --out runs/own
    """
    run_distributed(_cyclegan, options)


@click.command("age-translator")
@data_option("Data set with ages; give it once per set.")
@click.option(
    "--facenet",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Checkpoint of the FaceNet that holds the person.",
)
@click.option(
    "--age-estimator",
    type=click.Path(path_type=Path, exists=True),
    help="Checkpoint of the age estimator that the discriminator begins as, and that then watches.",
)
@run_options(steps=12_000, batch_size=32)
def age_translator(**options: Any) -> None:
    """The age translator: what any change of age adds to a face, in one pass.

    \b
    dorian-train age-translator --data faces/ --facenet models/checkpoints/facenet --out runs/translator
    """
    run_distributed(_age_translator, options)


def _cyclegan(context: DistributedContext, **options: Any) -> None:
    known = read_run(options["out"], CycleGanStage.name)
    start = known
    if options["start"] and not known:
        weights, start = load_weights(options["start"])
        require_network(weights, f"to_{TRANSLATORS[0]}")  # before its shape is read: any checkpoint has one
    shape = CycleGanShape.from_dict(start["shape"]) if start else PRESETS[options["preset"]]
    side, template = with_margin(shape.size)
    cache = options["cache"].expanduser()
    young, old = evenly(_domains(options, "train"), options["faces"], options["seed"])
    train = (cut_crops(young, side, cache, template), cut_crops(old, side, cache, template))
    seed = options["seed"] + context.rank
    batches = DomainBatches(train, options["batch_size"], seed, shape.size, _VIEWS, context.device)
    settings = apply_overrides(CycleGanSettings(), options["overrides"])
    watched = _watched(_domains(options, "val"), shape.size, context.device)
    estimator = None
    if options["age_estimator"]:
        estimator = load_age_estimator(options["age_estimator"])
    stage = CycleGanStage(shape, settings, context.device, options["amp"], watched, estimator)
    records = [record for each in train for record in each.records]
    metadata = {"shape": shape.as_dict(), "domains": _told(options)}
    run_stage(stage, batches, records, context, options, metadata, settings, known)


def _watched(domains: Domains, size: int, device: torch.device) -> DomainBatch | None:
    """As many faces of each of the validation split's ``domains``, uncut by augmentation; ``None`` if one has none."""
    if not all(domains):
        return None
    side, template = with_margin(size)
    found = [cut_crops(domain[:_WATCHED], side, template=template).pixels for domain in domains]
    count = min(map(len, found))  # those that cannot be read are left out
    young, old = (centred(as_images(torch.from_numpy(each[:count])), size).to(device) for each in found)
    return DomainBatch(young, old)


def _domains(options: dict[str, Any], split: str) -> Domains:
    """The young and the old of ``split``."""
    folders = (options["young_folder"], options["old_folder"])
    if any(folders):
        if not all(folders) or options["sources"]:
            raise ConfigError("give both --young and --old, or else --data")
        young, old = domains_by_folder(*folders)
        return [each for each in young if each.split == split], [each for each in old if each.split == split]
    if not options["sources"]:
        raise ConfigError("no faces are given; give --data, or both --young and --old")
    records = [record for record in load_sources(options["sources"]) if record.split == split]
    if options["domains"] == "attribute":
        return domains_by_attribute(records)
    return domains_by_age(records, options["young_until"], options["old_from"], options["young_from"])


def _told(options: dict[str, Any]) -> dict[str, Any]:
    """How the domains are told apart, as a run notes it."""
    if options["young_folder"]:
        return {"by": "folder"}
    by_age = {name: options[name] for name in ("young_from", "young_until", "old_from")}
    return {"by": options["domains"], **(by_age if options["domains"] == "ages" else {})}


def _age_translator(context: DistributedContext, **options: Any) -> None:
    known = read_run(options["out"], AgeTranslatorStage.name)
    shape = AgeTranslatorShape.from_dict(known["shape"]) if known else AgeTranslatorShape()
    size = shape.translator.size
    train, val = cut(options, lambda record: record.age is not None, with_margin(size))
    batches = LabelledBatches(
        train,
        age_labels(train),
        options["batch_size"],
        options["seed"] + context.rank,
        size,
        _VIEWS,
        flattening_weights(train, _AGE_SPAN, _FLATNESS),
        context.device,
    )
    settings = apply_overrides(AgeTranslatorSettings(), options["overrides"])
    guides = GuideNetworks(load_facenet(options["facenet"]))
    if options["age_estimator"]:
        estimator = load_age_estimator(options["age_estimator"])
        guides = replace(guides, age_estimator=estimator)
    stage = AgeTranslatorStage(shape, settings, guides, context.device, options["amp"], val)
    run_stage(stage, batches, train.records, context, options, {"shape": shape.as_dict()}, settings, known)
