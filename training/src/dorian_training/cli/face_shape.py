"""``dorian-train face-shape``: where the points of faces lie at each age, from real faces, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import click
import torch

from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.cli.config import FitConfig, config_command, data_field, option
from dorian_training.cli.runs import count_sources
from dorian_training.data.mesh import load_mesh
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError
from dorian_training.methods.face_shape import fit_face_shape, frontal_meshes


@dataclass(frozen=True, kw_only=True)
class FaceShapeConfig(FitConfig):
    """Options of ``face-shape``."""

    sources: tuple[str, ...] = data_field("Archives of faces of known age, with a mesh.npz beside their faces.csv.")
    only: tuple[str, ...] = option("Use the faces of this set alone; give it once per set.", default=(), metavar="SET")

    def records(self) -> list[FaceRecord]:
        """Return the faces to fit on: of the training split, of known age.

        Raises:
            DataError: If there are none.
        """
        records = [
            record
            for record in load_sources(self.sources)
            if record.split == "train" and record.age is not None and (not self.only or record.source in self.only)
        ]
        if not records:
            raise DataError("no face to fit on: the training split has none of known age")
        return records


@config_command("face-shape", FaceShapeConfig)
def face_shape(config: FaceShapeConfig) -> None:
    """Fit where the points of faces lie at each age, by which a photo's face changes its shape.

    \b
    dorian-train face-shape --data faces/ --only fairface --only portraits --out runs/face_shape
    """
    config.check()
    records = config.records()
    meshes, is_frontal = frontal_meshes(load_mesh(records))
    seen = [record for record, frontal in zip(records, is_frontal, strict=True) if frontal]
    table = fit_face_shape(meshes, seen)
    weights = {"ages": torch.from_numpy(table.ages), "offsets": torch.from_numpy(table.offsets)}
    about = {
        "family": "face_shape",
        "stage": "face_shape",
        "steps": 1,
        "earlier": [],
        "seed": config.seed,
        "data": count_sources(seen),
        "settings": {},
    }
    config.out.mkdir(parents=True, exist_ok=True)
    save_weights(config.out / WEIGHTS_FILE, {"face_shape": weights}, about)
    click.echo(f"{config.out / WEIGHTS_FILE}: fitted to {len(seen)} faces")
