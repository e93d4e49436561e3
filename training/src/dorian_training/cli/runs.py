"""What all training commands share: the options of a run, its settings, and how it is told apart from another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
import yaml

from dorian_bundle import BundleError
from dorian_bundle.alignment import AlignmentTemplate
from dorian_training.checkpoint import RESUME_FILE, load_weights
from dorian_training.cli.options import Command
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext, distributed_context
from dorian_training.errors import ConfigError, DataError, TrainingError
from dorian_training.loop import BatchKind, BatchStream, LoopSettings, train
from dorian_training.methods.stage import Stage

Settings = TypeVar("Settings", bound=Any)
CONFIG_FILE = "config.yaml"
DEFAULT_CACHE = Path("~/.cache/dorian")


def run_options(steps: int, batch_size: int) -> Callable[[Command], Command]:
    """The options of every run, with the defaults ``steps`` and ``batch_size``."""
    options = [
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            required=True,
            help="Run folder; resumed if used.",
        ),
        click.option(
            "--from", "start", type=click.Path(path_type=Path, exists=True), help="Run or weights file to start from."
        ),
        click.option(
            "--steps", type=click.IntRange(1), default=steps, help="Steps in all, those done before included."
        ),
        click.option(
            "--minutes", type=click.FloatRange(0), default=0.0, help="Stop and save after this long; 0: no limit."
        ),
        click.option("--batch-size", type=click.IntRange(2), default=batch_size, help="Faces per step and process."),
        click.option("--seed", type=int, default=0),
        click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N."),
        click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads; 0: torch decides."),
        click.option("--amp/--no-amp", default=True, help="bfloat16 autocast."),
        click.option(
            "--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what is cut is kept."
        ),
        click.option(
            "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Change a number of the stage's settings."
        ),
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def run_distributed(work: Callable[..., None], options: dict[str, Any]) -> None:
    """Call ``work`` with this process's place among those that train together, and ``options``; errors become click's."""
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    try:
        with distributed_context(options["device"]) as context:
            torch.manual_seed(options["seed"] + context.rank)
            work(context, **options)
    except (TrainingError, BundleError) as error:
        raise click.ClickException(str(error)) from error


def read_run(folder: Path, stage: str) -> dict[str, Any]:
    """What the run in ``folder`` says of itself; empty if none has begun there. ``ConfigError`` if it is of another stage."""
    if not (folder / RESUME_FILE).is_file():
        return {}
    _, metadata = load_weights(folder)
    if metadata["stage"] != stage:
        raise ConfigError(
            f"{folder} holds a run of the {metadata['stage']} stage; give the {stage} stage another folder"
        )
    return metadata


def earlier_stages(start: dict[str, Any]) -> list[dict[str, Any]]:
    """What a run that starts from the run ``start`` notes of the stages behind it."""
    return [*start["earlier"], {key: start[key] for key in ("stage", "steps")}]


def apply_overrides(settings: Settings, overrides: Sequence[str]) -> Settings:
    """``settings`` with ``NAME=VALUE`` changes applied, each read as the type that its number has."""
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    values: dict[str, Any] = {}
    for change in overrides:
        name, equals, value = change.partition("=")
        if not equals or name not in known:
            raise ConfigError(f"--set {change}: expected NAME=VALUE, with a name among {', '.join(known)}")
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigError(f"--set {change}: {error}") from error
    result: Settings = replace(settings, **values)
    return result


def run(
    stage: Stage[BatchKind],
    batches: BatchStream[BatchKind],
    context: DistributedContext,
    options: dict[str, Any],
    metadata: dict[str, Any],
) -> None:
    """Train ``stage`` as ``options`` say, noting them, and what the run is ``metadata``, in its folder."""
    loop = LoopSettings(options["steps"], minutes=options["minutes"])
    if context.is_main:
        options["out"].mkdir(parents=True, exist_ok=True)
        config = {**metadata, "loop": asdict(loop), "amp": options["amp"], "device": str(context.device)}
        (options["out"] / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
    train(stage, batches, loop, options["out"], context, metadata)


def run_stage(
    stage: Stage[BatchKind],
    batches: BatchStream[BatchKind],
    records: Sequence[FaceRecord],
    context: DistributedContext,
    options: dict[str, Any],
    metadata: dict[str, Any],
    settings: Any,
    known: dict[str, Any],
) -> None:
    """Train ``stage`` on ``records``, from where ``--from`` says or, if it is ``known``, from where the run stopped.

    ``metadata`` is what the run notes beside what all runs do: the network's shape, and how it was trained.
    """
    earlier: list[dict[str, Any]] = []
    if options["start"] and not known:
        weights, start = load_weights(options["start"])
        stage.start_from(weights)
        earlier = earlier_stages(start)
    metadata = {
        "family": stage.name,
        **metadata,
        "stage": stage.name,
        "earlier": known.get("earlier", earlier),
        "data": dict(sorted(Counter(record.source for record in records).items())),
        "seed": options["seed"],
        "batch_size": options["batch_size"] * context.world_size,
        "settings": asdict(settings),
    }
    run(stage, batches, context, options, metadata)


def cut(
    options: dict[str, Any], usable: Callable[[FaceRecord], bool], wide: tuple[int, AlignmentTemplate]
) -> tuple[Crops, Crops | None]:
    """Crops of the usable faces to train on, and of those to watch, if there are any; ``wide`` is their side and template."""
    records: Sequence[FaceRecord] = [record for record in load_sources(options["sources"]) if usable(record)]
    parts = {split: [record for record in records if record.split == split] for split in ("train", "val")}
    if not parts["train"]:
        raise DataError("none of the faces to train on carries the label that this needs")
    cache, (side, template) = options["cache"].expanduser(), wide
    train, val = (cut_crops(part, side, cache, template) if part else None for part in parts.values())
    assert train is not None
    return train, val
