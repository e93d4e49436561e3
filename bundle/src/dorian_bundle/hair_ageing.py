"""How hair, beards and brows change with age: they go grey, the lighter strands first, and hair dark again; children have no beard."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.gaussian import blurred, broadly_blurred
from dorian_bundle.hair import LEAST_PIXELS, SURE, Hair
from dorian_bundle.hair_colour import FloatArray, eye_distance, eye_height, lab_colours
from dorian_bundle.masks import depth_in_face, mouth_mask, part_mask, skin_mask
from dorian_bundle.mesh import LEFT_BROW, RIGHT_BROW
from dorian_bundle.tensors import luma, pixels_to_floats

# Share of an adult's hair that is grey: a logistic function of age, with half of its most at the middle.
_MOST_GREY, _GREY_MIDDLE, _GREY_PACE = 0.85, 57.0, 8.0  # share, years, years
_GREY, _DARK = 0.62, 0.2  # mean luma, from 0 to 1, of grey hair, and of hair that has lost its grey
_BROWN = np.array([1.12, 0.97, 0.84], dtype=np.float32)  # red, green and blue of the latter, over its luma
_BROAD = 0.03  # of the fine view's side: sigma of the mean around a pixel, about which its strands vary
_SHADES = (0.45, 1.5)  # between which the broad light on hair is kept
_SOFTER = 0.6  # exponent of that light on grey hair, which shines through
_MOST_CONTRAST = 1.4  # by which strands differ more on grey hair
_GREY_FIRST = 0.8  # how much sooner strands go grey that are a standard deviation lighter, as a log ratio of odds
_LIGHT_HAIR, _LIGHT_HAIR_FADE = 0.27, 0.2  # mean luma, from which on hair may be grey
_COLOURED, _COLOURED_FADE = 18.0, 6.0  # chroma of CIE Lab, from which on it is not: it is blond or red
_ALL_DARK = 0.3  # less grey, from which on all grey hair goes dark
_LEAST_CHANGE = 0.02  # share of hair, below which nothing is done

_BROWS = 0.6  # share of a brow that goes grey where all hair does
_BROW = 0.35  # share of the skin's light that a wholly dark brow takes
_BROW_EDGE = 0.007  # of the view's side, over which brows end
_BROW_REACH = 5  # pixels, side of the square by which they are larger than the mesh's
_BROWS_REACH = 1.35  # distances between the eyes, from the middle of both brows, that are looked at
_BESIDE_BROWS = 0.03  # of the view's side: sigma of the mean of the skin around
_LIT = (0.5, 1.1)  # between which grey brows are as light as the skin
_TINGED = 0.4  # share of the skin's colour that grey brows have

_ADULT = 16.0  # years, from which on beards are shaved where a face becomes a child's
_FIRST_BEARD, _FIRST_BEARD_FADE = 17.0, 4.0  # years, below and over which there is none
# In distances between the eyes; depths are below the face's outline.
_NECK = -0.2  # depth, outside of the face, up to which a beard is shaved
_STUBBLE = (0.3, 0.65)  # of a beard's matte, from which on some of it, and all, is shaved
_STRAND = 0.35  # share of the skin's light that is taken by what is wholly beard
_BESIDE_FACE = (0.7, 0.9)  # of a beard's matte beside the face, from which on some of it, and all, greys
_OUTLINE = 0.05  # distances between the eyes, over which the face ends
_FRINGE, _BESIDE = 5, 7  # pixels of the view, sides of squares by which what is shaved, and is no skin, is larger
_BELOW_EYES, _WITHIN = 0.2, 0.08  # below the eyes, and the depth, from which there is skin to fill in
_FILLS = (0.25, 0.1, 0.05, 0.025)  # of the view's side: sigmas of the means that fill in, the broadest first
_BROADLY = 0.05  # from which on they are taken at a quarter of the size
_ENOUGH = 0.25  # share of skin around a pixel, from which on a mean of it is as good as a broader one
_EDGE, _EDGE_LIGHT = 0.25, 0.82  # depth up to which a face turns from the light, and the share of it at its outline


def grey_share(years: float) -> float:
    """Return the share of hair that is grey at an age of ``years``, 0 to 1."""
    return float(_MOST_GREY / (1 + np.exp(-(years - _GREY_MIDDLE) / _GREY_PACE)))


def shaved_share(source: float, target: float) -> float:
    """Return how much of a beard is gone at an age of ``target`` years, of a face of ``source`` years, 0 to 1."""
    return float(np.clip((_FIRST_BEARD - target) / _FIRST_BEARD_FADE, 0, 1)) if source >= _ADULT else 0.0


def keeps_hair(source: float, target: float) -> bool:
    """Return whether hair and beard are the same at ages of ``source`` and ``target`` years."""
    is_as_grey = abs(grey_share(target) - grey_share(source)) < _LEAST_CHANGE
    return is_as_grey and shaved_share(source, target) == 0


def recolour_hair(hair: Hair, source: float, target: float) -> FloatArray | None:
    """Return what changes the colour of ``hair`` from an age of ``source`` years to one of ``target``.

    Older, a share of its strands goes grey, the lighter ones first; younger, what of it is grey goes dark again.

    Returns:
        A delta, float32 (HAIR_SIZE, HAIR_SIZE, 3) in [-1, 1], to be applied under the matte; ``None`` where nothing changes.
    """
    before, after = grey_share(source), grey_share(target)
    pixels, weight = pixels_to_floats(hair.view), hair.matte + np.float32(1e-4)
    light = luma(pixels)
    mean = float((light * weight).sum() / weight.sum())
    broad = blurred(light * weight, _BROAD) / blurred(weight, _BROAD)
    strands = light - broad
    shade = np.clip(broad / max(mean, 0.05), *_SHADES)
    if after > before:
        share = _greying_share(source, target)
        spread = float(np.sqrt((strands**2 * weight).sum() / weight.sum())) + 0.01
        amount = 1 / (1 + (1 - share) / share * np.exp(-_GREY_FIRST * strands / spread))
        lighter = max(_GREY, mean)
        contrast = np.clip((lighter / max(mean, 0.08)) ** 0.7, 1, _MOST_CONTRAST)
        new = (lighter * shade**_SOFTER + contrast * strands)[..., None]
    else:
        share = min((before - after) / _ALL_DARK, 1.0) * _greyness(hair, mean)
        amount = np.full_like(light, share)
        new = (_DARK * shade + _SOFTER * strands).clip(0)[..., None] * _BROWN
    if share < _LEAST_CHANGE:
        return None
    return np.asarray(amount[..., None] * (new - pixels), dtype=np.float32)


def recolour_brows(
    view: NDArray[np.uint8], mesh: NDArray[np.float64], source: float, target: float
) -> tuple[FloatArray, FloatArray] | None:
    """Return what turns brows grey from an age of ``source`` years to one of ``target``; that they get dark again is not drawn.

    Args:
        view: The wide view, RGB uint8 (size, size, 3).
        mesh: The face's points in its pixels, (73, 2).
        source: The face's age.
        target: The age that it is to have.

    Returns:
        A delta, float32 (size, size, 3) in [-1, 1], and the matte under which it is to be applied, (size, size) in [0, 1]; ``None``
        where nothing changes.
    """
    share = _greying_share(source, target)
    if share < _LEAST_CHANGE:
        return None
    size, unit = len(view), eye_distance(mesh)
    # A square about the brows is looked at, cut off where the view ends.
    middle = np.concatenate([mesh[RIGHT_BROW], mesh[LEFT_BROW]]).mean(axis=0)
    first = np.clip(np.floor(middle - _BROWS_REACH * unit), 0, size - 2).astype(int)
    side = int(np.clip(np.ceil(2 * _BROWS_REACH * unit), 2, size - first.max()))
    here = np.s_[first[1] : first[1] + side, first[0] : first[0] + side]
    points, share_of_side = mesh - first, size / side
    near = cv2.dilate(part_mask(points, side, "brows"), np.ones((_BROW_REACH, _BROW_REACH), np.uint8))
    brows = blurred(np.asarray(near, dtype=np.float32), _BROW_EDGE * share_of_side)
    skin = np.asarray((1 - brows) * skin_mask(points, side) + 1e-3, dtype=np.float32)
    pixels, beside = pixels_to_floats(view[here]), _BESIDE_BROWS * share_of_side
    around = blurred(pixels * skin[..., None], beside) / blurred(skin, beside)[..., None]
    light = luma(around)
    dark = np.clip((1 - luma(pixels) / (light + 0.05)) / _BROW, 0, 1)
    tinge = 1 + _TINGED * (around / np.maximum(light, 0.05)[..., None] - 1)
    grey = (_GREY * np.clip(light / _GREY, *_LIT))[..., None] * tinge
    delta, matte = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    delta[here], matte[here] = _BROWS * share * (grey - pixels), brows * dark
    return delta, matte


@dataclass(frozen=True)
class BeardChange:
    """How a beard changes.

    Args:
        delta: Float32 (HAIR_SIZE, HAIR_SIZE, 3) in [-1, 1], to be applied under the beard's matte, or under ``shaved``.
        shaved: Where it is shaved, float32 (HAIR_SIZE, HAIR_SIZE) in [0, 1]; ``None``: nowhere.
    """

    delta: FloatArray
    shaved: FloatArray | None = None


def change_beard(beard: Hair, mesh: NDArray[np.float64], source: float, target: float) -> BeardChange | None:
    """Return what changes a ``beard`` from an age of ``source`` years to one of ``target``; ``None`` where nothing does.

    Args:
        beard: The beard.
        mesh: The face's points in pixels of the beard's view, (73, 2).
        source: The face's age.
        target: The age that it is to have.
    """
    share, size = shaved_share(source, target), len(beard.matte)
    depth = depth_in_face(mesh, size) / np.float32(eye_distance(mesh))
    if share == 0:
        return _recolour_beard(beard, mesh, depth, source, target)
    mouth = cv2.erode(mouth_mask(mesh, size), np.ones((3, 3), np.uint8))  # beards reach the edge of the lips
    inside = np.clip(depth / -_NECK + 1, 0, 1) * (1 - mouth)
    stubble = np.clip((_grown(beard.matte, _FRINGE) - _STUBBLE[0]) / (_STUBBLE[1] - _STUBBLE[0]), 0, 1)
    skin = _skin_below(beard, mesh, depth) - pixels_to_floats(beard.view)
    return BeardChange(skin, np.asarray(share * inside * stubble, dtype=np.float32))


def _recolour_beard(
    beard: Hair, mesh: NDArray[np.float64], depth: FloatArray, source: float, target: float
) -> BeardChange | None:
    """As ``change_beard``, where none of it is shaved: what greys is darker than skin, and surely a beard where it is beside the face."""
    delta = recolour_hair(beard, source, target)
    if delta is None:
        return None
    if target < source:
        return BeardChange(delta)
    skin = luma(_skin_below(beard, mesh, depth))
    dark = np.clip((1 - luma(pixels_to_floats(beard.view)) / np.maximum(skin, 0.05)) / _STRAND, 0, 1)
    sure = np.clip((beard.matte - _BESIDE_FACE[0]) / (_BESIDE_FACE[1] - _BESIDE_FACE[0]), 0, 1)
    within = np.clip(1 + depth / _OUTLINE, 0, 1)  # 1 in the face, 0 beside it
    return BeardChange(np.asarray(delta * (dark * (within + (1 - within) * sure))[..., None], dtype=np.float32))


def _skin_below(beard: Hair, mesh: NDArray[np.float64], depth: FloatArray) -> FloatArray:
    """Return the skin that a ``beard`` covers: that around it, filled in, RGB (HAIR_SIZE, HAIR_SIZE, 3).

    ``depth`` (HAIR_SIZE, HAIR_SIZE) is how deep pixels lie within the face's outline, in distances between the eyes.
    """
    size = len(beard.matte)
    cheeks = (depth > _WITHIN) & (np.arange(size)[:, None] > eye_height(mesh) + _BELOW_EYES * eye_distance(mesh))
    beside = np.clip(1 - 2 * _grown(beard.matte, _BESIDE), 0, 1)
    weight = np.asarray(cheeks * skin_mask(mesh, size) * beside, dtype=np.float32)
    pixels = pixels_to_floats(beard.view) * weight[..., None]
    filled = np.zeros_like(pixels)
    for sigma in _FILLS:
        blur = broadly_blurred if sigma >= _BROADLY else blurred
        near = blur(weight, sigma)[..., None]
        share = np.clip(near / _ENOUGH, 0, 1) if sigma < _FILLS[0] else 1
        filled += share * (blur(pixels, sigma) / (near + 1e-6) - filled)
    light = 1 - (1 - _EDGE_LIGHT) * np.clip(1 - depth / _EDGE, 0, 1)
    return np.asarray(filled * light[..., None], dtype=np.float32)


def _grown(matte: FloatArray, pixels: int) -> FloatArray:
    """Return ``matte`` (HAIR_SIZE, HAIR_SIZE) with the largest value of each square of ``pixels``, an odd number, on a side."""
    return np.asarray(cv2.dilate(matte, np.ones((pixels, pixels), np.uint8)), dtype=np.float32)


def _greying_share(source: float, target: float) -> float:
    """Return how much of what has its colour at an age of ``source`` years is grey at ``target``; below 0 where that is younger."""
    before, after = grey_share(source), grey_share(target)
    return (after - before) / (1 - before)


def _greyness(hair: Hair, mean: float) -> float:
    """Return how far hair of the ``mean`` luma is grey, from 0 for dark, blond or red hair to 1."""
    inside = hair.matte > SURE
    if inside.sum() < LEAST_PIXELS:
        return 0.0
    chroma = float(np.hypot(*np.median(lab_colours(hair.view)[inside], axis=0)[1:]))
    light = np.clip((mean - _LIGHT_HAIR) / _LIGHT_HAIR_FADE, 0, 1)
    return float(light * np.clip((_COLOURED - chroma) / _COLOURED_FADE, 0, 1))
