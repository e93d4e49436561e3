"""``dorian-train skin-detail``: how much fine structure skin has at each age, from real faces, in closed form."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import click
import numpy as np

from dorian_bundle.skin_detail import DETAIL_SIZE
from dorian_training.cli.age_tables import AgeTableConfig
from dorian_training.cli.config import config_command, data_field, option
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.methods.skin_detail import fit_skin_detail


@dataclass(frozen=True, kw_only=True)
class SkinDetailConfig(AgeTableConfig):
    """Options of ``skin-detail``."""

    sources: tuple[str, ...] = data_field("Faces of known age, best with sharp portraits among them.")
    faces: int = option("Faces of each bracket of ages and set, at most.", default=500, kind=click.IntRange(2))

    def records(self) -> list[FaceRecord]:
        """Return the faces to fit on: of the training split, of known age, so many of each ten years and set."""
        groups: dict[tuple[str, int], list[FaceRecord]] = {}
        for record in super().records():
            groups.setdefault((record.source, int((record.age or 0) // 10)), []).append(record)
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
    config.save("skin_detail", asdict(fit_skin_detail(crops)), crops.records, {"faces": config.faces})
