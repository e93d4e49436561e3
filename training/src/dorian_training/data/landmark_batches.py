"""Views of faces as a landmark refiner gets them: aligned, but by landmarks that are somewhat wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_training.data.augmentation import Augmentation, coarsened, recoloured
from dorian_training.data.batches import as_images
from dorian_training.data.crops import Crops, with_margin

MARGIN = 1 / 4  # of a view's side, on each side, that crops show beyond it
_MIRRORED = [1, 0, 2, 4, 3]  # whose place each landmark takes in the mirror
_COLOURS = Augmentation(grey=0.15, coarse=0.4)


@dataclass(frozen=True)
class LandmarkBatch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size); ``landmarks`` (batch, 5, 2) as fractions of its side."""

    image: Tensor
    landmarks: Tensor


@dataclass(frozen=True)
class Wrongness:
    """How wrong the landmarks are that views are aligned by: ``shift`` and ``scale`` as fractions, ``turn`` in degrees."""

    shift: float = 0.08
    scale: float = 0.18
    turn: float = 18.0


class LandmarkBatches:
    """Draws views of ``size`` of the faces in ``crops``, cut with ``MARGIN``; ``landmarks`` (faces, 5, 2) are theirs.

    ``landmarks`` are fractions of a crop's side. Views are mirrored at random. The stream resumes exactly.
    """

    def __init__(
        self,
        crops: Crops,
        landmarks: Tensor,
        batch_size: int,
        seed: int,
        size: int,
        wrongness: Wrongness,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size = batch_size
        self._size, self._wrongness = size, wrongness
        self._pixels = torch.from_numpy(crops.pixels).to(device)
        self._landmarks = landmarks.float().to(device)
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> LandmarkBatch:
        """Return the next batch."""
        selected = torch.randint(len(self._pixels), (self.batch_size,), generator=self._generator)
        selected = selected.to(self._pixels.device)
        images, landmarks = self._viewed(as_images(self._pixels[selected]), self._landmarks[selected])
        images = coarsened(recoloured(images, _COLOURS, self._generator), _COLOURS.coarse, self._generator)
        return LandmarkBatch(images.contiguous(memory_format=torch.channels_last), landmarks)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])

    def _viewed(self, images: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        count, how = len(images), self._wrongness

        def spread(limit: float) -> Tensor:
            return ((torch.rand(count, generator=self._generator) * 2 - 1) * limit).to(images.device)

        angle = spread(how.turn) * (math.pi / 180)
        scale = self._size / images.shape[2] * (1 + spread(how.scale))
        mirrored = spread(1) < 0
        sign = torch.where(mirrored, -1.0, 1.0)
        cosine, sine = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([cosine * sign, -sine, sine * sign, cosine], dim=1).view(count, 2, 2)
        shift = torch.stack([spread(2 * how.shift), spread(2 * how.shift)], dim=1)
        rows = torch.cat([turn, shift[..., None]], dim=2)  # from a view's place to a crop's, both in [-1, 1]
        grid = F.affine_grid(rows, [count, 3, self._size, self._size], align_corners=False)
        views = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        positions = torch.linalg.solve(turn, (landmarks * 2 - 1 - shift[:, None]).transpose(1, 2)).transpose(1, 2)
        positions = torch.where(mirrored[:, None, None], positions[:, _MIRRORED], positions)
        return views, positions / 2 + 0.5


def cut_template(size: int, view: AlignmentTemplate) -> tuple[int, AlignmentTemplate]:
    """Return side and template of the crops from which views of ``size`` aligned to ``view`` are drawn."""
    return with_margin(size, view, MARGIN)


def landmarks_in(crops: Crops, template: AlignmentTemplate) -> Tensor:
    """Return the landmarks of ``crops``, which are cut to ``template``, as fractions of their side (faces, 5, 2).

    All records carry landmarks.
    """
    positions = np.empty((len(crops), 5, 2))
    for index, record in enumerate(crops.records):
        points = np.asarray(record.landmarks, dtype=np.float64)
        positions[index] = (
            cv2.transform(points[None], crop_matrix(points, template, crops.size))[0] + 0.5
        ) / crops.size
    return torch.from_numpy(positions)
