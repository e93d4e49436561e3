"""``dorian-train search``: AE-StyleGAN's settings compared, each value on equally many images from one checkpoint.

The report's search: encoder steps, R1's weight, and the weight of reconstructions in the discriminator's loss.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from matplotlib.figure import Figure

from dorian_training.checkpoint import load_weights
from dorian_training.cli.ae_stylegan import AeStyleGanConfig, PreparedTraining, prepare
from dorian_training.cli.config import config_command, option, replace_default
from dorian_training.cli.runs import run_distributed
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError

log = logging.getLogger(__name__)

# The values that the report compares, by setting.
VALUES: dict[str, tuple[float, ...]] = {
    "encoder_steps": (1, 2, 5, 10),
    "r1_weight": (0.1024, 0.2048, 1.0, 5.0),
    "rec_d_weight": (0.125, 0.25, 0.5, 1.0),
}
RESULTS_FILE = "search.json"
_EMA_DECAY = 0.9  # short, so that averages show what few steps change
Points = list[tuple[int, float, float]]  # images seen, mean squared error, Fréchet distance


@dataclass(frozen=True, kw_only=True)
class SearchConfig(AeStyleGanConfig):
    """Options of the search."""

    steps: int = replace_default(AeStyleGanConfig, "steps", 1)
    watched: int = replace_default(AeStyleGanConfig, "watched", 256)
    images: int = option("Images that each value sees.", default=6400, kind=click.IntRange(1))
    measure_every: int = option("Images between two measurements.", default=1600, kind=click.IntRange(1))
    only_settings: tuple[str, ...] = option(
        "Setting to compare; give it once per setting, all of them unless given.",
        default=(),
        flag="--setting",
        kind=click.Choice(list(VALUES)),
    )


@config_command("search", SearchConfig)
def search(config: SearchConfig) -> None:
    """Compare values of AE-StyleGAN's settings, each trained on equally many images from the checkpoint --from.

    Writes search.json and a chart for each setting into --out; values that it has done already are not done again.

    \b
    dorian-train search --data faces/ --from runs/style --facenet models/checkpoints/facenet \\
        --age-estimator models/checkpoints/style_reader --out runs/search
    """
    run_distributed(_search, config)


def _search(context: DistributedContext, config: SearchConfig) -> None:
    if config.start is None:
        raise ConfigError("the search needs --from: a run or checkpoint of ae-stylegan, from which every value begins")
    training = prepare(context, config)
    if training.watched is None:
        raise ConfigError("the search measures on validation faces; --data has none")
    config.out.mkdir(parents=True, exist_ok=True)
    path = config.out / RESULTS_FILE
    results: dict[str, dict[str, Points]] = json.loads(path.read_text()) if path.is_file() else {}
    for name in config.only_settings or VALUES:
        for value in VALUES[name]:
            if f"{value:g}" in results.get(name, {}):
                continue
            results.setdefault(name, {})[f"{value:g}"] = _train_with(training, config, name, value)
            path.write_text(json.dumps(results, indent=1))
        draw_search(config.out / f"{name}.png", name, results[name])


def _train_with(training: PreparedTraining, config: SearchConfig, name: str, value: float) -> Points:
    """Train with setting ``name`` at ``value`` from the checkpoint; return what is measured on the way."""
    torch.manual_seed(config.seed)
    base = config.settings()
    settings = replace(
        base, encoder_steps=max(1, base.encoder_steps), r1_warm_up=0, discriminator_alone=0, ema_decay=_EMA_DECAY
    )
    stage = training.stage(replace(settings, **{name: type(getattr(settings, name))(value)}))
    assert config.start is not None
    stage.load_pretrained(load_weights(config.start)[0])
    batches = training.batches(config.batch_size)
    points: Points = [(0, *stage.reconstruction_quality())]
    for step in range(config.images // config.batch_size):
        stage.step(batches.next(), step)
        seen = (step + 1) * config.batch_size
        if seen % config.measure_every < config.batch_size:
            points.append((seen, *stage.reconstruction_quality()))
            log.info("%s %g: %d images, error %.5f, Fréchet distance %.4f", name, value, *points[-1])
    return points


def draw_search(path: Path, name: str, results: dict[str, Points]) -> None:
    """Draw pixel loss and Fréchet distance against images seen for every value of setting ``name`` in ``results``."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, column, title in zip(figure.subplots(1, 2), (1, 2), ("pixel loss", "Fréchet distance"), strict=True):
        for value, points in results.items():
            axes.plot([point[0] for point in points], [point[column] for point in points], marker="o", label=value)
        axes.set_xlabel("images seen")
        axes.set_title(f"{title} of reconstructions")
        axes.legend(title=name, fontsize=7)
    figure.savefig(path, dpi=100)
