"""What the commands share that fit a table by age to real faces: which faces, and the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import torch
from numpy.typing import NDArray

from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.cli.config import FitConfig, option
from dorian_training.cli.runs import count_sources
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError


@dataclass(frozen=True, kw_only=True)
class AgeTableConfig(FitConfig):
    """The options of a command that fits a table by age."""

    sources: tuple[str, ...]  # each command says which faces are best
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

    def save(
        self, family: str, table: Mapping[str, NDArray[Any]], faces: Sequence[FaceRecord], settings: dict[str, Any]
    ) -> None:
        """Write the checkpoint of a table, and say where it is.

        Args:
            family: What the table is called.
            table: Its arrays.
            faces: What it was fitted to.
            settings: The numbers of the fit.
        """
        weights = {name: torch.from_numpy(values) for name, values in table.items()}
        about = {
            "family": family,
            "stage": family,
            "steps": 1,
            "earlier": [],
            "seed": self.seed,
            "data": count_sources(faces),
            "settings": settings,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        save_weights(self.out / WEIGHTS_FILE, {family: weights}, about)
        click.echo(f"{self.out / WEIGHTS_FILE}: fitted to {len(faces)} faces")
