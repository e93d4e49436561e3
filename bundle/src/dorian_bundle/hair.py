"""Hair: which pixels of a photo it is, and how its colour changes with age.

A network says what is hair in the near view of a face, as far as faces to learn from show it; another says which pixels of a wide view
are a person. From the near view on, hair is followed over the person as far as it has its colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.gaussian import blurred
from dorian_bundle.hair_colour import SKIN_SPREAD, ColourModel, FloatArray, eye_distance, lab_colours, sure_skin
from dorian_bundle.mesh import OUTLINE
from dorian_bundle.tensors import luma, pixels_to_floats

NEAR_SIZE = 96  # pixels, side of the view in which the network finds hair
WIDE_SIZE = 160  # the same of the view of the whole head, whose middle the near view is, pixel by pixel
PEOPLE_SIZE = 256  # pixels to which views are enlarged for the network that finds people
HAIR_SIZE = 320  # pixels, side of the wide view in which hair changes its colour
_WIDE_ZOOM = 0.5  # how large the face appears in the wide view, against a crop
_MARGIN = (WIDE_SIZE - NEAR_SIZE) // 2

_SURE, _NOT = 0.8, 0.2  # hair from which, and skin up to which, colours are taken
_LEAST_PIXELS = 40  # of either
_HAIR_SPREAD = ((8.0, 3.0, 3.0), (16.0, 7.0, 7.0))
_LIKE_HAIR = 2.2  # spreads of the hair's colours, at which a colour is as likely another
_STEEP = 3.0  # of the logistic functions of distances between colours
_FEWER = 0.8  # spreads of hair's colours that count as one of skin's
_PERSON = (0.3, 0.7)  # values of the mask of people between which a pixel becomes a person's
_STEPS = 70  # pixels of the wide view over which hair is followed
_FADE = 0.995  # what is left of it after each
_TRUST = 6  # pixels of the near view, from its edge on, over which the network is trusted
_LONGEST, _LONGEST_FADE = 0.3, 1.2  # distances between the eyes below the chin, from and over which hair is left
_GUIDED, _GUIDED_NOISE = 9, 3e-4  # pixels of the fine view, and variance of luma, of the guided filter
_BORDER = 0.08  # of the wide view's side, over which what changes fades

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


@dataclass(frozen=True)
class Hair:
    """The hair in a wide view: its ``view``, RGB uint8 (HAIR_SIZE, HAIR_SIZE, 3), and its ``matte``, float32 in [0, 1]."""

    view: NDArray[np.uint8]
    matte: FloatArray


def near_template(template: AlignmentTemplate) -> AlignmentTemplate:
    """Return to where faces are aligned in the near view, given that of crops."""
    return template.zoomed(_WIDE_ZOOM * WIDE_SIZE / NEAR_SIZE)


def wide_template(template: AlignmentTemplate) -> AlignmentTemplate:
    """Return to where faces are aligned in the wide view, given that of crops."""
    return template.zoomed(_WIDE_ZOOM)


def near_of(wide: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the near view (NEAR_SIZE, NEAR_SIZE, 3) of a ``wide`` one (WIDE_SIZE, WIDE_SIZE, 3)."""
    return wide[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def find_hair(
    wide: NDArray[np.uint8], near_hair: FloatArray, people: FloatArray, mesh: NDArray[np.float64]
) -> FloatArray | None:
    """Return the matte of a face's hair in the wide view.

    Args:
        wide: The view, RGB uint8 (WIDE_SIZE, WIDE_SIZE, 3).
        near_hair: What the network found in its middle, (NEAR_SIZE, NEAR_SIZE) in [0, 1].
        people: How much of each pixel is a person, (WIDE_SIZE, WIDE_SIZE) in [0, 1].
        mesh: The face's points in pixels of the view, (73, 2); see ``dorian_bundle.mesh``.

    Returns:
        float32 (WIDE_SIZE, WIDE_SIZE) in [0, 1]; ``None`` if too little hair or skin can be seen.
    """
    person = np.clip((people - _PERSON[0]) / (_PERSON[1] - _PERSON[0]), 0, 1)
    near = np.pad(near_hair, _MARGIN) * np.clip(2 * people, 0, 1)
    skin = sure_skin(mesh, WIDE_SIZE) & (near < _NOT)
    sure = (near > _SURE) & (people > 0.5)
    if min(skin.sum(), sure.sum()) < _LEAST_PIXELS:
        return None
    colours = lab_colours(wide)
    from_skin = ColourModel.of(colours[skin], SKIN_SPREAD).distance(colours)
    from_hair = ColourModel.of(colours[sure], *_HAIR_SPREAD).distance(colours)
    alike = _logistic(_LIKE_HAIR - from_hair) * _logistic(from_skin - _FEWER * from_hair) * person
    below = (np.arange(WIDE_SIZE)[:, None] - mesh[OUTLINE][9, 1]) / eye_distance(mesh)  # the chin
    alike = (alike * np.clip(1 - (below - _LONGEST) / _LONGEST_FADE, 0, 1)).astype(np.float32)
    followed, neighbours = near.astype(np.float32), np.ones((3, 3), np.uint8)
    for _ in range(_STEPS):
        followed = np.maximum(followed, np.minimum(_FADE * cv2.dilate(followed, neighbours), alike))
    trust = np.pad(_towards_middle(NEAR_SIZE, _TRUST), _MARGIN)
    return np.asarray(trust * near + (1 - trust) * followed, dtype=np.float32)


def refine_hair(matte: FloatArray, view: NDArray[np.uint8]) -> Hair:
    """Return the hair of a finer view: its ``matte`` follows the strands in it (a guided filter, He et al. 2010).

    Args:
        matte: See ``find_hair``.
        view: The wide view at HAIR_SIZE, RGB uint8.
    """
    light = luma(view) / np.float32(255)
    enlarged = cv2.resize(matte, (HAIR_SIZE, HAIR_SIZE), interpolation=cv2.INTER_LINEAR)
    coarse = np.asarray(enlarged, dtype=np.float32)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(cv2.blur(values, (_GUIDED, _GUIDED)), dtype=np.float32)

    light_mean, coarse_mean = mean(light), mean(coarse)
    variance = mean(light * light) - light_mean**2
    slope = (mean(light * coarse) - light_mean * coarse_mean) / (variance + _GUIDED_NOISE)
    fine = mean(slope) * light + mean(coarse_mean - slope * light_mean)
    return Hair(view, np.asarray(fine.clip(0, 1) * _towards_middle(HAIR_SIZE, _BORDER * HAIR_SIZE), dtype=np.float32))


def grey_share(years: float) -> float:
    """Return the share of hair that is grey at an age of ``years``, 0 to 1."""
    return float(_MOST_GREY / (1 + np.exp(-(years - _GREY_MIDDLE) / _GREY_PACE)))


def keeps_colour(source: float, target: float) -> bool:
    """Return whether hair is of one colour at ages of ``source`` and ``target`` years."""
    return abs(grey_share(target) - grey_share(source)) < _LEAST_CHANGE


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
        share = (after - before) / (1 - before)
        spread = float(np.sqrt((strands**2 * weight).sum() / weight.sum())) + 0.01
        amount = _logistic((_GREY_FIRST * strands / spread + np.log(share / (1 - share))) / _STEEP)
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


def _greyness(hair: Hair, mean: float) -> float:
    """Return how far hair of the ``mean`` luma is grey, from 0 for dark, blond or red hair to 1."""
    inside = hair.matte > _SURE
    if inside.sum() < _LEAST_PIXELS:
        return 0.0
    chroma = float(np.hypot(*np.median(lab_colours(hair.view)[inside], axis=0)[1:]))
    light = np.clip((mean - _LIGHT_HAIR) / _LIGHT_HAIR_FADE, 0, 1)
    return float(light * np.clip((_COLOURED - chroma) / _COLOURED_FADE, 0, 1))


def _towards_middle(size: int, fade: float) -> FloatArray:
    """Return 0 at the border of a square of ``size`` pixels, growing to 1 over ``fade`` pixels, (size, size)."""
    line = np.minimum(np.arange(size), np.arange(size)[::-1]) / fade
    return np.asarray(np.clip(np.minimum.outer(line, line), 0, 1), dtype=np.float32)


def _logistic(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-steep * values)), of any shape."""
    return np.asarray(1 / (1 + np.exp(np.clip(-_STEEP * values, -30, 30))), dtype=np.float32)
