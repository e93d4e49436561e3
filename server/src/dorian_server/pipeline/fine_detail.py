"""Fine detail: a drawing's change is brought to a finer crop, and what the photo's own skin changes in detail is added to it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, finer_matrix, warp_crop
from dorian_bundle.gaussian import blurred
from dorian_bundle.graphs import Array
from dorian_bundle.masks import change_mask, part_mask, spectacles_mask
from dorian_bundle.skin_detail import DETAIL_SIZE, SkinDetail, SkinStructure, read_skin
from dorian_bundle.skin_shading import shading_of
from dorian_bundle.tensors import luma, pixels_to_floats
from dorian_server.pipeline.compositing import Patch

_TEETH_SPARED = 0.7  # share of a change that teeth are spared: networks turn them grey, to which nobody ages
_STANDING_OUT = 0.08  # of the range from black to white, how far a change may stand out from what is around it
_LIGHT, _LEAST_LIGHT = (
    0.35,
    0.4,
)  # luma below which it may stand out by less, and the least share: on dark skin little stands out
_AROUND = 1 / 16  # of the crop's side: sigma of what is around
_DEEPEST = 0.3  # share of a pixel's light, at most, that a change takes: a fold drawn over a beard would be black
_CLOSE = 1 / 64  # of the crop's side: sigma of the mean of a pixel's light
_TEETH_EDGE = 0.008  # of the crop's side, over which they are


@dataclass(frozen=True)
class FineCrop:
    """A face cut out finer than a method draws it.

    Args:
        matrix: From the photo's pixels to the crop's, (2, 3).
        skin: Its skin's fine structure.
        mask: Where the photo changes, float32 (DETAIL_SIZE, DETAIL_SIZE) in [0, 1]; hardly the teeth, and not the rims of spectacles.
        colours: Its pixels, the mean of what is close, RGB float32 (DETAIL_SIZE, DETAIL_SIZE, 3) in [0, 1].
    """

    matrix: NDArray[np.float64]
    skin: SkinStructure
    mask: Array
    colours: Array


def cut_finely(
    photo: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    mesh: NDArray[np.float64],
    size: int,
    template: AlignmentTemplate,
) -> FineCrop:
    """Cut a face out of its photo at ``DETAIL_SIZE``.

    Args:
        photo: RGB uint8 (height, width, 3).
        matrix: From its pixels to those of the method's crop, (2, 3).
        mesh: The face's points in pixels of the photo, (73, 2).
        size: Side of the method's crop in pixels.
        template: To which crops are aligned.
    """
    fine = finer_matrix(matrix, DETAIL_SIZE / size)
    points = cv2.transform(mesh[None], fine)[0]
    halved, side = (points + 0.5) / 2 - 0.5, DETAIL_SIZE // 2  # masks are soft, so that half the size says as much
    teeth = cv2.GaussianBlur(part_mask(halved, side, "teeth"), (0, 0), _TEETH_EDGE * side)
    half = change_mask(halved, template, side) * (1 - _TEETH_SPARED * teeth)
    view = warp_crop(photo, fine, DETAIL_SIZE)
    skin = read_skin(view, points)
    mask, worn = (
        cv2.resize(values, (DETAIL_SIZE, DETAIL_SIZE), interpolation=cv2.INTER_LINEAR)
        for values in (half, spectacles_mask(halved, side))
    )
    colours = blurred(pixels_to_floats(view), _CLOSE)
    return FineCrop(fine, skin, np.asarray(mask * (1 - worn * skin.edges), dtype=np.float32), colours)


def detailed_patch(
    patch: Patch, crop: FineCrop, detail: SkinDetail, source: float, target: float, strength: float
) -> Patch:
    """Return ``patch``, a delta, in pixels of ``crop``, with what ``detail`` changes of the skin from ``source`` to ``target`` added.

    How far their sum stands out from what is around is bounded, also where it is multiplied by a ``strength`` above 1: a fold that
    is drawn over a mole would be a spot; and so is the share of a pixel's light that it takes. Where a face gets younger, it may
    stand out as lighter, as deep wrinkles go; where it gets older, what is added to ``patch`` has the colours of shadows on its skin.
    """
    delta = cv2.resize(patch.values, (DETAIL_SIZE, DETAIL_SIZE), interpolation=cv2.INTER_CUBIC)
    drawn = luma(delta)
    light = drawn + detail.change(crop.skin, source, target)
    out = light - blurred(light, _AROUND)
    out = np.minimum(out, 0) if target < source else out
    scale, photo = max(strength, 1.0), luma(crop.colours)
    bound = _STANDING_OUT / scale * np.clip(photo / _LIGHT, _LEAST_LIGHT, 1)
    bounded = light + bound * np.tanh(out / bound) - out
    bounded = np.maximum(bounded, -_DEEPEST / scale * photo)
    added = (bounded - drawn)[..., None]
    return Patch(crop.matrix, crop.mask, delta + (added if target < source else added * shading_of(crop.colours)))
