"""Two domains of faces, young and old: told by age, by CelebA's attribute, or by the folder that they lie in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import LabelledBatches
from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord, split_of
from dorian_training.errors import DataError

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
Domains = tuple[list[FaceRecord], list[FaceRecord]]


def domains_by_age(records: Sequence[FaceRecord], young_until: int, old_from: int, young_from: int = 0) -> Domains:
    """Return the faces whose whole label lies from ``young_from`` to ``young_until`` years, and those at ``old_from`` or above."""
    if young_from > young_until:
        raise DataError(f"the young begin at {young_from} years and end at {young_until}")
    if young_until >= old_from:
        raise DataError(f"the young end at {young_until} years, the old begin at {old_from}; they must lie apart")
    spans = [(record, record.age_low, record.age_high) for record in records]
    young = [
        record
        for record, low, high in spans
        if low is not None and high is not None and young_from <= low and high <= young_until
    ]
    old = [record for record, low, _ in spans if low is not None and low >= old_from]
    return young, old


def domains_by_attribute(records: Sequence[FaceRecord]) -> Domains:
    """Return the faces with and without CelebA's attribute "Young"."""
    young = [record for record in records if record.young is True]
    return young, [record for record in records if record.young is False]


def domains_by_folder(young: Path, old: Path) -> Domains:
    """Return the images in two folders and their subfolders: faces that are all cropped alike, as in aligned public sets."""
    return _pictures(young), _pictures(old)


def evenly(domains: Domains, limit: int, seed: int) -> Domains:
    """Return as many faces of each domain, drawn at random: all of the smaller, but at most ``limit`` (0: no limit).

    ``DataError`` if a domain has none.
    """
    return draw_faces(domains, limit, seed, balanced=True)


def draw_faces(domains: Domains, limit: int, seed: int, balanced: bool) -> Domains:
    """Return faces of each domain, drawn at random: if ``balanced`` as many of both, else all; at most ``limit`` (0: no limit).

    ``DataError`` if a domain has none.
    """
    for name, domain in zip(("young", "old"), domains, strict=True):
        if not domain:
            raise DataError(f"the domain of the {name} has no faces")
    fewest = min(len(domain) for domain in domains)
    counts = [min(fewest if balanced else len(domain), limit or len(domain)) for domain in domains]
    rng = random.Random(seed)
    young, old = (rng.sample(domain, count) for domain, count in zip(domains, counts, strict=True))
    return young, old


@dataclass(frozen=True)
class DomainBatch:
    """Faces of both domains, unpaired: float32 RGB in [-1, 1], each (batch, 3, size, size), channels_last."""

    young: Tensor
    old: Tensor


class DomainBatches:
    """Draws faces of either domain, all alike, each by itself; ``crops`` are cut with ``MARGIN`` around ``size``."""

    def __init__(
        self,
        crops: tuple[Crops, Crops],
        batch_size: int,
        seed: int,
        size: int,
        augmentation: Augmentation,
        device: torch.device | str = "cpu",
    ) -> None:
        self._streams = [
            LabelledBatches(
                domain, torch.zeros(len(domain)), batch_size, 2 * seed + number, size, augmentation, device=device
            )
            for number, domain in enumerate(crops)
        ]

    def next(self) -> DomainBatch:
        """Return the next batch."""
        young, old = (stream.next().image for stream in self._streams)
        return DomainBatch(young, old)

    def state_dict(self) -> dict[str, Any]:
        return {name: stream.state_dict() for name, stream in zip(("young", "old"), self._streams, strict=True)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, stream in zip(("young", "old"), self._streams, strict=True):
            stream.load_state_dict(state[name])


def _pictures(folder: Path) -> list[FaceRecord]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    return [
        FaceRecord(source="own pictures", container=folder, name=name, split=split_of(name))
        for name in (str(path.relative_to(folder)) for path in paths)
    ]
