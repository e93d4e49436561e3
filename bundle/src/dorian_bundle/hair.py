"""Hair and beards: which pixels of a photo they are. How they change with age is another module's (``hair_ageing``).

A network says what is hair and what is beard in the near view of a face, as far as faces to learn from show it; another says which
pixels of a wide view are a person. From the near view on, hair is followed over the person as far as it has its colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.hair_colour import (
    SKIN_SPREAD,
    ColourModel,
    FloatArray,
    eye_distance,
    eye_height,
    lab_colours,
    sure_skin,
)
from dorian_bundle.masks import mouth_mask
from dorian_bundle.mesh import OUTLINE
from dorian_bundle.tensors import luma

NEAR_SIZE = 96  # pixels, side of the view in which the network finds hair
WIDE_SIZE = 160  # the same of the view of the whole head, whose middle the near view is, pixel by pixel
PEOPLE_SIZE = 256  # pixels to which views are enlarged for the network that finds people
HAIR_SIZE = 320  # pixels, side of the wide view in which hair changes its colour
_WIDE_ZOOM = 0.5  # how large the face appears in the wide view, against a crop
_MARGIN = (WIDE_SIZE - NEAR_SIZE) // 2

SURE, _NOT = 0.8, 0.2  # hair from which, and skin up to which, colours are taken
_SURE_BEARD = 0.4  # beards from which they are, as stubble is never surer
LEAST_PIXELS = 40  # of either
_HAIR_SPREAD = ((8.0, 3.0, 3.0), (16.0, 7.0, 7.0))
_LIKE_HAIR = 2.2  # spreads of the hair's colours, at which a colour is as likely another
_STEEP = 3.0  # of the logistic functions of distances between colours
_FEWER = 0.8  # spreads of hair's colours that count as one of skin's
_PERSON = (0.3, 0.7)  # values of the mask of people between which a pixel becomes a person's
_STEPS = 70  # pixels of the wide view over which hair is followed
_FADE = 0.995  # what is left of it after each
_TRUST = 6  # pixels of the near view, from its edge on, over which the network is trusted
# Distances between the eyes below the chin, from and over which hair, and beards, are left.
_LONGEST = ((0.3, 1.2), (0.1, 0.5))
_BELOW_EYES = (0.1, 0.2)  # distances between the eyes below them, from and over which there may be beards
_GUIDED, _GUIDED_NOISE = 9, 3e-4  # pixels of the fine view, and variance of luma, of the guided filter
_BORDER = 0.08  # of the wide view's side, over which what changes fades


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
    wide: NDArray[np.uint8], near: FloatArray, people: FloatArray, mesh: NDArray[np.float64]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the mattes of a face's hair and of its beard in the wide view.

    Args:
        wide: The view, RGB uint8 (WIDE_SIZE, WIDE_SIZE, 3).
        near: What the network found of either in its middle, (2, NEAR_SIZE, NEAR_SIZE) in [0, 1].
        people: How much of each pixel is a person, (WIDE_SIZE, WIDE_SIZE) in [0, 1].
        mesh: The face's points in pixels of the view, (73, 2); see ``dorian_bundle.mesh``.

    Returns:
        float32 (WIDE_SIZE, WIDE_SIZE) in [0, 1] each; ``None`` where too little of it, or of the skin, can be seen.
    """
    person = np.asarray(np.clip((people - _PERSON[0]) / (_PERSON[1] - _PERSON[0]), 0, 1), dtype=np.float32)
    hair, beard = (np.asarray(np.pad(part, _MARGIN) * np.clip(2 * people, 0, 1), dtype=np.float32) for part in near)
    skin = sure_skin(mesh, WIDE_SIZE) & (hair < _NOT) & (beard < _NOT)
    if skin.sum() < LEAST_PIXELS:
        return None, None
    colours = lab_colours(wide)
    from_skin = ColourModel.of(colours[skin], SKIN_SPREAD).distance(colours)
    row, unit = np.arange(WIDE_SIZE)[:, None], eye_distance(mesh)
    below_chin = (row - mesh[OUTLINE][9, 1]) / unit
    lower_face = np.clip(((row - eye_height(mesh)) / unit - _BELOW_EYES[0]) / _BELOW_EYES[1], 0, 1)
    found = []
    for part, least, place, (longest, fade) in zip(
        (hair, beard), (SURE, _SURE_BEARD), (person, person * lower_face), _LONGEST, strict=True
    ):
        allowed = place * np.clip(1 - (below_chin - longest) / fade, 0, 1)
        sure = (part > least) & (people > 0.5)
        found.append(_followed(part, colours, from_skin, allowed, sure) if sure.sum() >= LEAST_PIXELS else None)
    hair_matte, beard_matte = found
    if beard_matte is not None:
        beard_matte = beard_matte * (1 - mouth_mask(mesh, WIDE_SIZE)) * (1 if hair_matte is None else 1 - hair_matte)
    return hair_matte, beard_matte


def _followed(
    near: FloatArray, colours: FloatArray, from_skin: FloatArray, allowed: FloatArray, sure: NDArray[np.bool_]
) -> FloatArray:
    """Return a matte that is ``near`` in the near view, and follows its colours beyond; all of them are of the wide view."""
    from_hair = ColourModel.of(colours[sure], *_HAIR_SPREAD).distance(colours)
    alike = _logistic(_LIKE_HAIR - from_hair) * _logistic(from_skin - _FEWER * from_hair) * allowed
    followed, neighbours = near, np.ones((3, 3), np.uint8)
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


def _towards_middle(size: int, fade: float) -> FloatArray:
    """Return 0 at the border of a square of ``size`` pixels, growing to 1 over ``fade`` pixels, (size, size)."""
    line = np.minimum(np.arange(size), np.arange(size)[::-1]) / fade
    return np.asarray(np.clip(np.minimum.outer(line, line), 0, 1), dtype=np.float32)


def _logistic(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-steep * values)), of any shape."""
    return np.asarray(1 / (1 + np.exp(np.clip(-_STEEP * values, -30, 30))), dtype=np.float32)
