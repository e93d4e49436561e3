"""Degradation: what cameras, prints, scanners and messengers do to photographs, for networks that must read them all the same."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_SEPIA_GAIN, _SEPIA_SHIFT = (1.0, 0.93, 0.8), (0.1, 0.03, -0.08)  # of red, green and blue in [-1, 1]


@dataclass(frozen=True)
class Degradation:
    """The share of images that each kind of damage happens to.

    ``blur`` and ``strong_blur``: out of focus by one and by two pixels. ``sepia``: a brown print. ``fading``: less contrast,
    and blacks lifted. ``low_light``: dark with a steep gamma. ``grain``: noise, in half of the cases without colour. ``jpeg``:
    compressed at qualities from 18 to 84.
    """

    blur: float = 0.12
    strong_blur: float = 0.06
    sepia: float = 0.12
    fading: float = 0.12
    low_light: float = 0.12
    grain: float = 0.2
    jpeg: float = 0.3


def degraded(images: Tensor, degradation: Degradation, generator: torch.Generator) -> Tensor:
    """Return ``images``, float RGB in [-1, 1] (batch, 3, height, width), each damaged by chance, in the order of the kinds."""
    chances = torch.rand(len(images), 7, generator=generator).tolist()
    damaged = [_degrade(image, degradation, chance, generator) for image, chance in zip(images, chances, strict=True)]
    return torch.stack(damaged).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def _degrade(image: Tensor, degradation: Degradation, chance: list[float], generator: torch.Generator) -> Tensor:
    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    blur, strong_blur, sepia, fading, low_light, grain, jpeg = chance
    if blur < degradation.blur:
        image = _blurred(image, 1)
    if strong_blur < degradation.strong_blur:
        image = _blurred(image, 2)
    if sepia < degradation.sepia:
        gain, shift = (image.new_tensor(values)[:, None, None] for values in (_SEPIA_GAIN, _SEPIA_SHIFT))
        image = image.mean(dim=0, keepdim=True) * gain * between(0.8, 1) + shift * between(0, 1)
    if fading < degradation.fading:
        image = image * between(0.45, 0.9) + between(-0.1, 0.45)
    if low_light < degradation.low_light:
        image = ((image + 1) / 2).clamp(0, 1) ** between(1.3, 2.4) * 2 - 1
    if grain < degradation.grain:
        channels = 3 if grain < degradation.grain / 2 else 1
        noise = torch.randn(channels, *image.shape[1:], generator=generator)
        image = image + noise.to(image.device) * between(0.02, 0.14)
    if jpeg < degradation.jpeg:
        image = _compressed(image, int(between(18, 85)))
    return image


def _blurred(image: Tensor, radius: int) -> Tensor:
    padded = F.pad(image[None], (radius,) * 4, mode="reflect")
    return F.avg_pool2d(padded, 2 * radius + 1, 1)[0]


def _compressed(image: Tensor, quality: int) -> Tensor:
    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])
    restored = torch.from_numpy(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)))
    return restored.permute(2, 0, 1).float().to(image.device) / 127.5 - 1
