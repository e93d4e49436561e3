"""Balanced batches: an endless, resumable stream of aligned crops in which every age group comes equally often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dorian_bundle.ages import AgeGroup, group_of_age
from dorian_training.data.augmentation import Augmentation, augmented, centred
from dorian_training.data.crops import Crops
from dorian_training.data.degradation import Degradation, degraded
from dorian_training.errors import DataError

_FACES_AT_ONCE = 64


@dataclass(frozen=True)
class Batch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size), channels_last; ``group`` int64 (batch,)."""

    image: Tensor
    group: Tensor


def as_images(pixels: Tensor) -> Tensor:
    """Return ``pixels``, uint8 RGB (batch, height, width, 3), as float32 in [-1, 1], (batch, 3, height, width)."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def run_on_centres(
    network: nn.Module, crops: Crops, size: int, device: torch.device | str = "cpu", amp: bool = False
) -> Tensor:
    """Return what ``network``, in evaluation mode, says of the ``size`` px centres of ``crops``: float32 (faces, ...), on the CPU."""
    device, outputs = torch.device(device), []
    for pixels in torch.split(torch.from_numpy(crops.pixels), _FACES_AT_ONCE):
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
            outputs.append(network(centred(as_images(pixels.to(device)), size)).float().cpu())
    return torch.cat(outputs)


def groups_of(crops: Crops, groups: Sequence[AgeGroup]) -> np.ndarray:
    """Return the age group index of each crop, int64 (faces,); -1 where the age is unknown.

    A bracket belongs to the group that holds its middle (FairFace's 10-19 so falls into 0-18).
    """
    ages = [record.age for record in crops.records]
    return np.asarray([-1 if age is None else group_of_age(groups, age) for age in ages], dtype=np.int64)


class BalancedBatches:
    """Draws batches in which each age group has the same chance, each face of a group the same chance within it.

    Faces are mirrored at random. Pixels stay uint8 on ``device``. ``state_dict`` makes the stream resume exactly.
    """

    def __init__(
        self, crops: Crops, groups: Sequence[AgeGroup], batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        index = groups_of(crops, groups)
        counts = np.bincount(index[index >= 0], minlength=len(groups))
        if (counts == 0).any():
            empty = [group.label for group, count in zip(groups, counts, strict=True) if count == 0]
            raise DataError(f"no faces in age group {', '.join(empty)}")
        self.counts = counts.tolist()
        self.batch_size = batch_size
        self._members = [torch.from_numpy(np.flatnonzero(index == g)) for g in range(len(groups))]
        self._pixels = torch.from_numpy(crops.pixels).to(device)
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> Batch:
        """Return the next batch."""
        group = torch.randint(len(self._members), (self.batch_size,), generator=self._generator)
        position = torch.rand(self.batch_size, generator=self._generator)
        mirrored = torch.rand(self.batch_size, generator=self._generator) < 0.5
        selected = torch.stack(
            [self._members[g][int(p * len(self._members[g]))] for g, p in zip(group.tolist(), position, strict=True)]
        )
        device = self._pixels.device
        pixels = as_images(self._pixels[selected.to(device)])
        image = torch.where(mirrored.to(device)[:, None, None, None], pixels.flip(3), pixels)
        return Batch(image.contiguous(memory_format=torch.channels_last), group.to(device))

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])


@dataclass(frozen=True)
class LabelledBatch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size), channels_last; ``label`` (batch, ...) as it was given."""

    image: Tensor
    label: Tensor


class LabelledBatches:
    """Draws faces with the chances ``weights`` (none: alike), augmented and degraded, each with its row of ``labels``.

    ``crops`` are cut with ``MARGIN`` around ``size``. Pixels stay uint8 on ``device``; the stream resumes exactly.
    """

    def __init__(
        self,
        crops: Crops,
        labels: Tensor,
        batch_size: int,
        seed: int,
        size: int,
        augmentation: Augmentation,
        weights: Tensor | None = None,
        device: torch.device | str = "cpu",
        degradation: Degradation | None = None,
    ) -> None:
        self.batch_size = batch_size
        self._size, self._augmentation, self._degradation = size, augmentation, degradation
        self._pixels = torch.from_numpy(crops.pixels).to(device)
        self._labels = labels.to(device)
        self._weights = torch.ones(len(crops)) if weights is None else weights.float()
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> LabelledBatch:
        """Return the next batch."""
        selected = self._choose().to(self._pixels.device)
        image = augmented(as_images(self._pixels[selected]), self._size, self._augmentation, self._generator)
        if self._degradation is not None:
            image = degraded(image, self._degradation, self._generator)
        return LabelledBatch(image, self._labels[selected])

    def _choose(self) -> Tensor:
        return torch.multinomial(self._weights, self.batch_size, replacement=True, generator=self._generator)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
