"""Light and shadow on a face: the colours of what changes its luma. Images are RGB in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.masks import face_mask, skin_mask
from dorian_bundle.mesh import LEFT_EYE, NOSE, OUTER_LIPS, OUTLINE, crop_mesh
from dorian_bundle.skin_shading import SHADING

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue
_PIXEL = 3  # pixels of the crop, side of the box over which a pixel's colour is averaged, twice
_AROUND = 17  # the same of the colour of the skin around it
_ENOUGH = 0.2  # share of skin around a pixel, below which it takes less of its colour
_LEVEL = 0.003  # square of a difference in luma, below which a pixel is as light as the skin around it
_DARKEST = 0.1  # luma of a pixel, from 0 to 2, below which its colour is noise
_MOST_COLOUR = 2.5  # how much a channel may change, of what luma does
# Half axes of the ellipse that a goatee fills, in halves of the mouth's width and of the way from nose to chin.
_GOATEE = (1.7, 1.2)
_GOATEE_FADE = 0.5  # of its half axes, over which it ends
_LIDS_FADE = 0.03  # of the crop's side, over which what is below the eyes begins
_DIRECTIONS = 8  # in which strokes run, evenly spread over half a turn
# Of the crop's side: how far a stroke reaches to each side, and its sigmas along and across.
_STROKE, _ALONG, _ACROSS = 0.085, 0.042, 0.006
_COHERENT = 0.15  # length of a direction from which on strokes follow it
_NEAR = 5  # cells, side of the box over which directions are averaged, twice
_FAINT = 1e-3  # squared grey levels, below which there are no lines
_STRONG = 8.0  # amplitude of lines in grey levels, from which on all of a stroke is drawn
_CLOSE = 3  # cells, side of the box over which its square is averaged, twice
_LEAST = 0.25  # share of a stroke that is drawn where there are no lines


def averaged(values: Tensor, side: int) -> Tensor:
    """``values`` (batch, channels, height, width), each the mean of a box around it, twice; about a Gaussian. A ``side`` of 0 leaves them."""
    for _ in range(2 if side else 0):
        for kernel in ((side, 1), (1, side)):  # a box in two steps
            padding = (kernel[0] // 2, kernel[1] // 2)
            values = F.avg_pool2d(values, kernel, 1, padding, count_include_pad=False)
    return values


def luma_of(image: Tensor) -> Tensor:
    """Return the luma (batch, 1, height, width) of an image or a delta (batch, 3, height, width)."""
    return _LUMA[0] * image[:, :1] + _LUMA[1] * image[:, 1:2] + _LUMA[2] * image[:, 2:]


def shaded(luma: Tensor, image: Tensor, skin: Tensor) -> Tensor:
    """Return the delta (batch, 3, side, side) that adds ``luma`` (batch, 1, side, side) to an aligned crop ``image`` as light and shadow do.

    A pixel whose luma moves towards that of the skin around it takes as much of its colour: highlights are whiter than skin, and
    folds redder. What moves on changes the channels, counted from black, by shares that are in ratios of ``SHADING``. ``skin`` is
    where there is some, (1, 1, side, side) in [0, 1]: see ``skin_of``.
    """
    photo = averaged(image.float(), _PIXEL) + 1  # black is 0, white 2
    near = averaged(skin, _AROUND)  # how much skin there is
    around = averaged(photo * skin, _AROUND) / near.clamp(min=1e-3)
    away = luma_of(around - photo)
    level = (luma * away / (away.square() + _LEVEL)).clamp(0, 1)  # how far it moves towards that around it
    level = level * (near / _ENOUGH).clamp(max=1)
    weights = torch.cat([share * photo[:, channel : channel + 1] for channel, share in enumerate(SHADING)], dim=1)
    shading = (weights / luma_of(weights).clamp(min=_DARKEST)).clamp(max=_MOST_COLOUR)
    return level * (around - photo) + (luma - level * away) * shading


def skin_of(side: int) -> Tensor:
    """Return where an aligned crop shows skin, (1, 1, side, side) in [0, 1]: the face without its features."""
    mesh = crop_mesh(side)
    return torch.from_numpy(face_mask(mesh, side) * skin_mask(mesh, side))[None, None]


def beside_features(side: int) -> Tensor:
    """Return where an aligned crop shows skin, brows or what is beyond the face, (1, 1, side, side) in [0, 1]: see ``skin_mask``."""
    mesh = crop_mesh(side)
    return torch.from_numpy(skin_mask(mesh, side, with_brows=True))[None, None]


def goatee_of(side: int) -> Tensor:
    """Return where an aligned crop shows what a moustache and a goatee cover, (1, 1, side, side) in [0, 1]: from the nose to the chin."""
    mesh = crop_mesh(side)
    nose, chin, lips = mesh[NOSE][-1], mesh[OUTLINE][9], mesh[OUTER_LIPS]
    axes = (np.ptp(lips[:, 0]) / 2 * _GOATEE[0], (chin[1] - nose[1]) / 2 * _GOATEE[1])
    rows, columns = np.mgrid[:side, :side]
    middle = (nose + chin) / 2
    reach = np.hypot((columns - middle[0]) / axes[0], (rows - middle[1]) / axes[1])  # 1 on the ellipse
    mask = np.clip((1 + _GOATEE_FADE / 2 - reach) / _GOATEE_FADE, 0, 1)
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def below_eyes(side: int) -> Tensor:
    """Return where an aligned crop is below the eyes, (1, 1, side, side) in [0, 1]."""
    lids = crop_mesh(side)[LEFT_EYE, 1].max()
    rows = np.clip((np.arange(side) - lids) / (_LIDS_FADE * side), 0, 1)
    return torch.from_numpy(rows.astype(np.float32))[None, None, :, None].repeat(1, 1, 1, side)


def stroke_kernels(side: int) -> Tensor:
    """Return the means along strokes in a crop of ``side`` pixels, (directions, 1, size, size); each sums to 1.

    The first runs along the rows, the next ones by an even part of half a turn further, from the columns' axis towards that of the rows.
    """
    reach = round(_STROKE * side)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    angle = np.pi * np.arange(_DIRECTIONS)[:, None, None] / _DIRECTIONS
    along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
    kernels = np.exp(-((along / (_ALONG * side)) ** 2 + (across / (_ACROSS * side)) ** 2) / 2)
    kernels /= kernels.sum(axis=(1, 2), keepdims=True)
    return torch.from_numpy(kernels.astype(np.float32))[:, None]


def stroke_shares(direction: Tensor, energy: Tensor, where: Tensor) -> Tensor:
    """Return how much of each stroke of ``stroke_kernels`` a pixel takes, and last how much it keeps of itself, (1, directions + 1, side, side).

    It takes strokes where they are wanted and it is known how lines run. Where there are hardly any lines, they run as those near by, and
    are fainter.

    Args:
        direction: How lines run, (2, cells, cells), as a table of skin detail says: the cosine and sine of twice the angle at which a
            gradient across them lies, as long as they are coherent, from 0 to 1.
        energy: How strong they are, (cells, cells).
        where: Where strokes are wanted, (1, 1, side, side) in [0, 1].
    """
    near = averaged(torch.cat([direction * energy, energy[None]])[None].float(), _NEAR)  # (1, 3, cells, cells)
    double = near[:, :2] / near[:, 2:].clamp(min=_FAINT)
    double = F.interpolate(double, where.shape[2:], mode="bicubic")  # (1, 2, side, side)
    # Of half a turn, from 0 to 1, across a gradient.
    turns = torch.atan2(double[:, 1:], double[:, :1]) / (2 * torch.pi) + 0.5
    steps = torch.arange(_DIRECTIONS)[None, :, None, None]
    apart = (turns * _DIRECTIONS - steps).remainder(_DIRECTIONS)  # (1, directions, side, side)
    strokes = (1 - torch.minimum(apart, _DIRECTIONS - apart)).clamp(min=0)
    coherence = (double.square().sum(dim=1, keepdim=True).sqrt() / _COHERENT).clamp(max=1)
    taken = coherence * where
    amplitude = F.interpolate(averaged(energy[None, None].float(), _CLOSE).sqrt(), where.shape[2:], mode="bicubic")
    return torch.cat([strokes * taken * (amplitude / _STRONG).clamp(_LEAST, 1), 1 - taken], dim=1)


def no_strokes(side: int) -> Tensor:
    """Return the ``stroke_shares`` of pixels that keep all of themselves."""
    shares = torch.zeros(1, _DIRECTIONS + 1, side, side)
    shares[:, -1] = 1
    return shares


def along_strokes(values: Tensor, kernels: Tensor, shares: Tensor, gain: float) -> Tensor:
    """Return ``values`` (batch, 1, side, side) drawn out along strokes, as far as ``stroke_shares`` say; what is drawn out has a factor ``gain``."""
    strokes = F.conv2d(values, kernels, padding=kernels.shape[-1] // 2)  # (batch, directions, side, side)
    return gain * (strokes * shares[:, :-1]).sum(dim=1, keepdim=True) + shares[:, -1:] * values
