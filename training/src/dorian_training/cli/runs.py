"""What all training runs do: join the processes, read the run folder, cut the crops, write the config, train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml

from dorian_bundle.alignment import AlignmentTemplate
from dorian_training.checkpoint import RESUME_FILE, load_weights
from dorian_training.cli.config import ProcessConfig, RunConfig
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.distributed import DistributedContext, distributed_context
from dorian_training.errors import ConfigError, DataError
from dorian_training.loop import BatchKind, BatchStream, train
from dorian_training.methods.stage import Stage

CONFIG_FILE = "config.yaml"


AnyProcessConfig = TypeVar("AnyProcessConfig", bound=ProcessConfig)


def run_distributed(work: Callable[[DistributedContext, AnyProcessConfig], None], config: AnyProcessConfig) -> None:
    """Call ``work`` with the context of this process and ``config``, after setting threads and seed."""
    if config.threads:
        torch.set_num_threads(config.threads)
    with distributed_context(config.device) as context:
        torch.manual_seed(config.seed + context.rank)
        work(context, config)


def read_run(folder: Path, stage: str) -> dict[str, Any]:
    """Return the metadata of the run in ``folder``, empty if none has begun there.

    Raises:
        ConfigError: If the run is of another stage than ``stage``.
    """
    if not (folder / RESUME_FILE).is_file():
        return {}
    _, metadata = load_weights(folder)
    if metadata["stage"] != stage:
        raise ConfigError(
            f"{folder} holds a run of the {metadata['stage']} stage; give the {stage} stage another folder"
        )
    return metadata


def earlier_stages(start: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stages behind a run that starts from the run with the metadata ``start``, with the data and terms of each."""
    return [*start["earlier"], describe_stage(start)]


def describe_stage(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what the checkpoints of later runs keep of a run: its stage, steps and data, who taught it and, of published weights, their licence."""
    return {key: metadata[key] for key in ("stage", "steps", "data", "taught_by", "licence") if key in metadata}


def run(
    stage: Stage[BatchKind],
    batches: BatchStream[BatchKind],
    context: DistributedContext,
    config: RunConfig,
    metadata: dict[str, Any],
) -> None:
    """Write the resolved config of a run into its folder, then train ``stage``.

    Args:
        stage: What is trained.
        batches: The stream of batches that it learns from.
        context: This process.
        config: The options of the run.
        metadata: What the checkpoints of the run say of themselves.
    """
    loop = config.loop()
    if context.is_main:
        config.out.mkdir(parents=True, exist_ok=True)
        written = {**metadata, "loop": asdict(loop), "amp": config.amp, "device": str(context.device)}
        (config.out / CONFIG_FILE).write_text(yaml.safe_dump(written, sort_keys=False))
    train(stage, batches, loop, config.out, context, metadata)


def run_stage(
    stage: Stage[BatchKind],
    batches: BatchStream[BatchKind],
    records: Sequence[FaceRecord],
    context: DistributedContext,
    config: RunConfig,
    metadata: dict[str, Any],
) -> None:
    """Train ``stage`` on ``records``: resume the run folder, or else start from ``--from`` if it is given.

    Args:
        stage: What is trained.
        batches: The stream of batches that it learns from.
        records: The faces behind the batches.
        context: This process.
        config: The options of the run.
        metadata: What checkpoints say beside what those of all runs do, such as the network's shape; ``earlier`` where a run does not
            start from ``--from`` as others do.
    """
    resumed = read_run(config.out, stage.name)
    earlier: list[dict[str, Any]] = resumed.get("earlier", [])
    if config.start and not resumed:
        weights, start = load_weights(config.start)
        stage.load_pretrained(weights)
        earlier = earlier_stages(start)
    metadata = {
        "family": stage.name,
        "earlier": earlier,
        **metadata,
        "stage": stage.name,
        "data": count_sources(records),
        "seed": config.seed,
        "batch_size": config.batch_size * context.world_size,
        "settings": asdict(config.settings()),
    }
    run(stage, batches, context, config, metadata)


def count_sources(records: Sequence[FaceRecord]) -> dict[str, int]:
    """Return the number of faces by the data set that they come from."""
    return dict(sorted(Counter(record.source for record in records).items()))


def cut_splits(
    config: RunConfig, is_usable: Callable[[FaceRecord], bool], layout: tuple[int, AlignmentTemplate]
) -> tuple[Crops, Crops | None]:
    """Cut the usable faces of the training and validation splits.

    Args:
        config: The options of the run.
        is_usable: Whether a face carries the label that the training needs.
        layout: Side and template of the crops.

    Returns:
        The crops to train on, and those to validate on, ``None`` if there are none.

    Raises:
        DataError: If there is nothing to train on.
    """
    records = [record for record in load_sources(config.sources) if is_usable(record)]
    splits = {split: [record for record in records if record.split == split] for split in ("train", "val")}
    if not splits["train"]:
        raise DataError("no face of the training split has the label that this stage needs")
    cache, (side, template) = config.cache.expanduser(), layout
    train_crops, val_crops = (cut_crops(part, side, cache, template) if part else None for part in splits.values())
    assert train_crops is not None
    return train_crops, val_crops
