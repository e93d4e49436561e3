"""Batches of scenes: an endless, resumable stream, mirrored, recoloured and reduced at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.face_readers import DETECTOR_STRIDES
from dorian_training.data.batches import as_images
from dorian_training.data.face_labels import FACE, IGNORED, MIRRORED_POINTS, NO_FACE
from dorian_training.data.scenes import SMALLEST_FACE, Scenes

_REDUCED = 0.4  # share of batches that are reduced, to no less than this part of their size:
_LEAST_PART = 0.3
_BRIGHTNESS, _CONTRAST, _CAST = 0.15, 0.15, 0.05  # the largest changes; images reach from -1 to 1


@dataclass(frozen=True)
class SceneBatch:
    """``image`` float32 RGB in [-1, 1], (batch, 3, size, size), and its faces, as in ``Scenes``.

    ``boxes`` float32 (batch, 32, 4); ``landmarks`` float32 (batch, 32, 5, 2); ``kind`` int8 (batch, 32).
    """

    image: Tensor
    boxes: Tensor
    landmarks: Tensor
    kind: Tensor


class SceneBatches:
    """Draws scenes, each with the same chance. Pixels stay uint8 on ``device``. ``state_dict`` makes the stream resume exactly."""

    def __init__(self, scenes: Scenes, batch_size: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.batch_size = batch_size
        self._size = scenes.size
        self._pixels = torch.from_numpy(scenes.pixels).to(device)
        self._boxes = torch.from_numpy(scenes.boxes).to(device)
        self._landmarks = torch.from_numpy(scenes.landmarks).to(device)
        self._kind = torch.from_numpy(scenes.kind).to(device)
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> SceneBatch:
        """The next batch."""
        device = self._pixels.device
        chosen = torch.randint(len(self._pixels), (self.batch_size,), generator=self._generator).to(device)
        turned = (torch.rand(self.batch_size, generator=self._generator) < 0.5).to(device)
        image = as_images(self._pixels[chosen])
        image = torch.where(turned[:, None, None, None], image.flip(3), image)
        boxes, landmarks, kind = self._boxes[chosen], self._landmarks[chosen], self._kind[chosen]
        mirrored = mirrored_labels(boxes, landmarks, kind, self._size)
        boxes = torch.where(turned[:, None, None], mirrored[0], boxes)
        landmarks = torch.where(turned[:, None, None, None], mirrored[1], landmarks)
        batch = SceneBatch(self._recoloured(image), boxes, landmarks, kind)
        chance, part = torch.rand(2, generator=self._generator).tolist()
        if chance < _REDUCED:
            batch = reduced(batch, round(self._size * (_LEAST_PART + (1 - _LEAST_PART) * part)))
        return replace(batch, image=batch.image.contiguous(memory_format=torch.channels_last))

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])

    def _recoloured(self, image: Tensor) -> Tensor:
        def spread(limit: float, channels: int) -> Tensor:
            values = torch.rand(len(image), channels, 1, 1, generator=self._generator)
            return ((2 * values - 1) * limit).to(image.device)

        offset = spread(_BRIGHTNESS, 1) + spread(_CAST, 3)
        return (image * (1 + spread(_CONTRAST, 1)) + offset).clamp(-1, 1)


def reduced(batch: SceneBatch, size: int) -> SceneBatch:
    """``batch`` with scenes of ``size`` pixels, black beyond them up to a multiple of the detector's last stride.

    So are small photos seen: whole, and with that rim. Faces that become too small are ignored.
    """
    multiple = DETECTOR_STRIDES[-1]
    factor = size / batch.image.shape[2]
    rim = -size % multiple
    image = F.pad(F.interpolate(batch.image, (size, size), mode="area"), (0, rim, 0, rim), value=-1.0)
    boxes = batch.boxes * factor
    tiny = (batch.kind == FACE) & (boxes[..., 2:].amax(dim=-1) < SMALLEST_FACE)
    kind = torch.where(tiny, torch.full_like(batch.kind, IGNORED), batch.kind)
    known = (batch.kind != NO_FACE)[..., None, None]
    landmarks = torch.where(known, (batch.landmarks + 0.5) * factor - 0.5, batch.landmarks)
    return SceneBatch(image, boxes, landmarks, kind)


def mirrored_labels(boxes: Tensor, landmarks: Tensor, kind: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """``boxes`` and ``landmarks`` of scenes ``size`` pixels wide that are turned over, left to right; empty room stays 0."""
    held = (kind != NO_FACE)[:, :, None]
    x, y, width, height = boxes.unbind(dim=2)
    turned = torch.stack([size - x - width, y, width, height], dim=2)
    across, down = landmarks[:, :, list(MIRRORED_POINTS)].unbind(dim=3)
    points = torch.stack([size - 1 - across, down], dim=3)
    return turned * held, points * held[..., None]
