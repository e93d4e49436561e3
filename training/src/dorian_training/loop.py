"""The one training loop: batches in, a stage's steps, logs, sample grids and checkpoints out; resumes exactly."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dorian_training.checkpoint import WEIGHTS_FILE, load_resume, load_weights, save_resume, save_weights
from dorian_training.distributed import DistributedContext, broadcast_flag, broadcast_state
from dorian_training.errors import ConfigError
from dorian_training.methods.stage import Stage

log = logging.getLogger(__name__)

BEST_FILE = "best.safetensors"  # in a run folder, of the step with the highest score
SCORE = "score"  # name of the metric that a stage's checkpoints are compared by


BatchKind = TypeVar("BatchKind")
BatchGiven = TypeVar("BatchGiven", covariant=True)


class BatchStream(Protocol[BatchGiven]):
    """An endless stream of batches that can be continued where it stopped."""

    def next(self) -> BatchGiven: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class LoopSettings:
    """How long to train, and how often to write. Counts are steps; ``minutes`` ends a run early (0: no limit)."""

    steps: int
    log_every: int = 50
    sample_every: int = 500
    save_every: int = 500
    minutes: float = 0.0


def train(
    stage: Stage[BatchKind],
    batches: BatchStream[BatchKind],
    settings: LoopSettings,
    folder: Path,
    context: DistributedContext,
    metadata: dict[str, Any],
) -> int:
    """Train ``stage`` to ``settings.steps``, from where the run in ``folder`` stopped; returns the steps done in all.

    ``metadata`` is kept with the weights. Under ``torchrun`` only the first process writes; each resumes its own stream.
    """
    broadcast_state((*stage.networks.values(), *stage.averages.values()))
    run = _Run(stage, batches, folder, context, metadata)
    number = run.resume()
    if number > settings.steps:
        raise ConfigError(f"{folder} has done {number} steps already, more than the {settings.steps} asked for")
    deadline = time.monotonic() + settings.minutes * 60

    def in_time() -> bool:
        return not settings.minutes or broadcast_flag(time.monotonic() < deadline, context.device)

    writer = SummaryWriter(folder) if context.is_main else None
    bar = tqdm(
        total=settings.steps, initial=number, desc=stage.name, unit="step", disable=not context.is_main, mininterval=5
    )
    with bar:
        while number < settings.steps and in_time():
            stage.schedule(number / settings.steps)
            losses = stage.step(batches.next(), number)
            number += 1
            bar.update()
            last = number == settings.steps
            if writer and (number % settings.log_every == 0 or last):
                _log(writer, bar, losses, number)
            if number % settings.save_every == 0 and not last:
                run.save(number)
            if context.is_main and (number % settings.sample_every == 0 or last):
                run.keep_best(_watch(writer, stage, folder, number), number)
        run.save(number)
    if writer:
        writer.close()
    return number


class _Run:
    """The part of a run that outlives the process."""

    def __init__(
        self,
        stage: Stage[Any],
        batches: BatchStream[Any],
        folder: Path,
        context: DistributedContext,
        metadata: dict[str, Any],
    ) -> None:
        self.stage, self.batches, self.context, self.metadata = stage, batches, context, metadata
        self.folder = folder
        self.process_folder = folder if context.is_main else folder / f"rank{context.rank}"
        self.process_folder.mkdir(parents=True, exist_ok=True)

    def save(self, number: int) -> None:
        cuda = self.context.device.type == "cuda"
        state = {
            "step": number,
            "stage": self.stage.state_dict(),
            "batches": self.batches.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.context.device) if cuda else None,
        }
        if self.context.is_main:
            save_weights(self.folder / WEIGHTS_FILE, self.stage.weights(), {**self.metadata, "steps": number})
        save_resume(self.process_folder, state)  # last: where it is, the weights are too

    def keep_best(self, metrics: dict[str, float], number: int) -> None:
        """Write the weights to ``BEST_FILE`` if their ``score`` is the run's highest; stages without one have no best."""
        if SCORE not in metrics:
            return
        path, score = self.folder / BEST_FILE, metrics[SCORE]
        best = load_weights(path)[1][SCORE] if path.is_file() else -math.inf
        if score > best:
            save_weights(path, self.stage.weights(), {**self.metadata, "steps": number, SCORE: score})
            log.info("kept step %d as the best until now", number)

    def resume(self) -> int:
        state = load_resume(self.process_folder)
        if state is None:
            return 0
        try:
            self.stage.load_state_dict(state["stage"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ConfigError(f"{self.folder} holds a run of another stage or of other networks") from error
        self.batches.load_state_dict(state["batches"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.context.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.context.device)
        log.info("resumed %s at step %d", self.folder, state["step"])
        return int(state["step"])


def _watch(writer: SummaryWriter | None, stage: Stage[Any], folder: Path, number: int) -> dict[str, float]:
    """Write samples and metrics; return the metrics."""
    samples = stage.samples()
    if samples is not None:
        write_grid(folder / "samples" / f"{number:07d}.jpg", samples)
    metrics = stage.measure()
    for name, value in metrics.items():
        log.info("step %d: %s %.4f", number, name, value)
        if writer:
            writer.add_scalar(name, value, number)
    return metrics


def _log(writer: SummaryWriter, bar: tqdm[Any], losses: dict[str, Tensor], number: int) -> None:
    values = {name: float(loss) for name, loss in losses.items()}
    for name, value in values.items():
        writer.add_scalar(name, value, number)
    bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)


def write_grid(path: Path, images: Tensor) -> None:
    """Write ``images``, float RGB in [-1, 1] (rows, columns, 3, height, width), as one picture."""
    rows, columns, _, height, width = images.shape
    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    sheet = pixels.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])
