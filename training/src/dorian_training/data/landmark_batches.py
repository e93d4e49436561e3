"""Views of faces as a landmark refiner gets them: aligned, but by landmarks that are somewhat wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_bundle.mesh import MIRRORED_POINTS, OUTLINE
from dorian_training.data.augmentation import Augmentation, coarsened, recoloured
from dorian_training.data.batches import as_images
from dorian_training.data.crops import Crops, with_margin
from dorian_training.data.occlusion import covered

MARGIN = 1 / 4  # of a view's side, on each side, that crops show beyond it
_COLOURS = Augmentation(grey=0.1, coarse=0.2)
_QUARTER_TURNS = (1, 2, 3)


@dataclass(frozen=True)
class LandmarkBatch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size); ``landmarks`` (batch, points, 2) as fractions of its side.

    ``visible`` (batch,): the share of the face that can be seen; 0 where the view shows no face, or one that is turned.
    """

    image: Tensor
    landmarks: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Wrongness:
    """How wrong the landmarks are that views are aligned by: ``shift`` and ``scale`` as fractions, ``turn`` in degrees.

    ``covered``: the share of views in which something is in front of the face; ``turned``: of those that show it turned by
    a quarter or half; ``missed``: of those that show what is beside a face.
    """

    shift: float = 0.045
    scale: float = 0.12
    turn: float = 12.0
    covered: float = 0.2
    turned: float = 0.08
    missed: float = 0.05


class LandmarkBatches:
    """Draws views of ``size`` of the faces in ``crops``, cut with ``MARGIN``; the stream resumes exactly.

    Args:
        crops: The faces.
        landmarks: Theirs, (faces, points, 2), as fractions of a crop's side.
        batch_size: Views of a batch.
        seed: Of all random numbers.
        size: Side of a view in pixels.
        wrongness: Of the landmarks by which views are aligned.
        mirrored: Whose place each landmark takes in the mirror; views are mirrored at random.
        outline: Which landmarks are corners of the face's outline.
        device: Where pixels are kept.
    """

    def __init__(
        self,
        crops: Crops,
        landmarks: Tensor,
        batch_size: int,
        seed: int,
        size: int,
        wrongness: Wrongness,
        mirrored: Sequence[int] = MIRRORED_POINTS,
        outline: slice = OUTLINE,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size = batch_size
        self._size, self._wrongness = size, wrongness
        self._mirrored, self._outline = list(mirrored), outline
        self._pixels = torch.from_numpy(crops.pixels).to(device)
        self._landmarks = landmarks.float().to(device)
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> LandmarkBatch:
        """Return the next batch."""
        selected = torch.randint(len(self._pixels), (self.batch_size,), generator=self._generator)
        selected = selected.to(self._pixels.device)
        images, landmarks = self._viewed(as_images(self._pixels[selected]), self._landmarks[selected])
        images, visible = covered(images, landmarks[:, self._outline], self._wrongness.covered, self._generator)
        images, visible = self._spoilt(images, visible.to(images.device))
        images = coarsened(recoloured(images, _COLOURS, self._generator), _COLOURS.coarse, self._generator)
        return LandmarkBatch(images.contiguous(memory_format=torch.channels_last), landmarks, visible)

    def _spoilt(self, images: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Return the views, some of which no longer show an upright face, and the visible shares."""
        chance = torch.rand(len(images), generator=self._generator).tolist()
        for index, value in enumerate(chance):
            if value < self._wrongness.turned:
                quarters = _QUARTER_TURNS[int(torch.randint(3, (), generator=self._generator))]
                images[index], visible[index] = images[index].rot90(quarters, (1, 2)), 0.0
            elif value < self._wrongness.turned + self._wrongness.missed:
                corner = images[index, :, : self._size // 3, : self._size // 3]
                images[index] = F.interpolate(corner[None], (self._size, self._size), mode="bilinear")[0]
                visible[index] = 0.0
        return images, visible

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
        positions = torch.where(mirrored[:, None, None], positions[:, self._mirrored], positions)
        return views, positions / 2 + 0.5


def cut_template(size: int, view: AlignmentTemplate) -> tuple[int, AlignmentTemplate]:
    """Return side and template of the crops from which views of ``size`` aligned to ``view`` are drawn."""
    return with_margin(size, view, MARGIN)


def points_in(crops: Crops, points: NDArray[np.float64], template: AlignmentTemplate) -> Tensor:
    """Return points of the pictures of ``crops`` as fractions of the crops' sides.

    Args:
        crops: Faces cut to ``template``; all records carry landmarks.
        points: In pixels of the faces' pictures, (faces, points, 2).
        template: Where the landmarks of the records lie in the crops.

    Returns:
        Points (faces, points, 2).
    """
    positions = np.empty(points.shape)
    for index, (record, face) in enumerate(zip(crops.records, points, strict=True)):
        matrix = crop_matrix(np.asarray(record.landmarks, dtype=np.float64), template, crops.size)
        positions[index] = (cv2.transform(face[None], matrix)[0] + 0.5) / crops.size
    return torch.from_numpy(positions)
