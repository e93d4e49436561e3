"""``dorian-train skin-detail``: how much fine structure skin has at each age, from real faces, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import torch

from dorian_bundle.skin_detail import DETAIL_SIZE
from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.cli.config import FitConfig, config_command, data_field, option
from dorian_training.cli.runs import count_sources
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError
from dorian_training.methods.skin_detail import fit_skin_detail


@dataclass(frozen=True, kw_only=True)
class SkinDetailConfig(FitConfig):
    """Options of ``skin-detail``."""

    sources: tuple[str, ...] = data_field("Faces of known age, best with sharp portraits among them.")
    only: tuple[str, ...] = option("Use the faces of this set alone; give it once per set.", default=(), metavar="SET")
    faces: int = option("Faces of each bracket of ages and set, at most.", default=500, kind=click.IntRange(2))

    def records(self) -> list[FaceRecord]:
        """Return the faces to fit on: of the training split, of known age.

        Raises:
            DataError: If there are none.
        """
        groups: dict[tuple[str, int], list[FaceRecord]] = {}
        for record in load_sources(self.sources):
            if record.split == "train" and record.age is not None and (not self.only or record.source in self.only):
                groups.setdefault((record.source, int(record.age // 10)), []).append(record)
        if not groups:
            raise DataError("no face to fit on: the training split has none of known age")
        rng = np.random.default_rng(self.seed)
        return [groups[key][i] for key in sorted(groups) for i in rng.permutation(len(groups[key]))[: self.faces]]


@config_command("skin-detail", SkinDetailConfig)
def skin_detail(config: SkinDetailConfig) -> None:
    """Fit how much fine structure skin has at each age, by which photos' own detail is changed.

    \b
    dorian-train skin-detail --data faces/ --only fairface --only portraits --out runs/skin_detail
    """
    config.check()
    crops = cut_crops(config.records(), DETAIL_SIZE, config.cache.expanduser())
    table = fit_skin_detail(crops)
    weights = {"ages": torch.from_numpy(table.ages), "log_energy": torch.from_numpy(table.log_energy)}
    config.out.mkdir(parents=True, exist_ok=True)
    save_weights(config.out / WEIGHTS_FILE, {"skin_detail": weights}, _metadata(config, count_sources(crops.records)))
    click.echo(f"{config.out / WEIGHTS_FILE}: fitted to {len(crops)} faces")


def _metadata(config: SkinDetailConfig, sources: dict[str, int]) -> dict[str, Any]:
    return {
        "family": "skin_detail",
        "stage": "skin_detail",
        "steps": 1,
        "earlier": [],
        "seed": config.seed,
        "data": sources,
        "settings": {"faces": config.faces},
    }
