"""Labels of hair: what is of a person, beside the face and unlike its skin, cut out by colour.

They are told from a photo, its face mesh and a mask of people; where they may be wrong they say so, and a network that learns from
thousands of them is right more often than they are. Cloth they cannot tell from hair, so that what a head wears has to be labelled by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.hair_colour import (
    SKIN_SPREAD,
    ColourModel,
    FloatArray,
    brow_height,
    eye_distance,
    eye_height,
    lab_colours,
    sure_skin,
)
from dorian_bundle.masks import depth_in_face
from dorian_bundle.mesh import OUTLINE
from dorian_training.data.hair_kinds import Head
from dorian_training.data.region_labels import (
    HAIR_SPREAD,
    LEAST_PIXELS,
    UNLIKE_SKIN,
    Bools,
    RegionLabels,
    cut_out,
    parts_touching,
)

_NOBODY, _SOMEBODY, _SURELY_SOMEBODY = 0.15, 0.6, 0.8  # values of a mask of people
# In distances between the eyes; depths are below the face's outline.
_RING = (-0.55, -0.02)  # depths between which hair is looked for first
_WITHIN = 0.25  # depth up to which hair may hang into a face, above its brows
_BARE, _BARE_CHEEKS = 0.3, 0.12  # depths from which there is none, below the brows and below the eyes
_ALIKE = (12.0, 10.0)  # in lightness and in colour of CIE Lab, below both of which hair is like skin


def label_hair(
    crop: NDArray[np.uint8], seen: Bools, people: FloatArray, mesh: NDArray[np.float64], head: Head
) -> RegionLabels | None:
    """Label the hair around a face.

    Args:
        crop: RGB uint8 (size, size, 3).
        seen: What of it the photo shows, (size, size).
        people: How much of each pixel is a person, in [0, 1], (size, size).
        mesh: The face's points in pixels of the crop, (73, 2).
        head: What is on the head; "covered": something is worn.

    Returns:
        The labels; ``None`` where hair cannot be told from skin.
    """
    place = _Place.of(mesh, len(crop))
    weight = seen & ~((people > _NOBODY) & (people < _SOMEBODY))
    bare = (people <= _NOBODY) | place.bare
    if head != "hair":
        if head == "covered":
            weight &= bare | (place.rows <= place.brows)  # hair may hang out below
        return RegionLabels(np.zeros(crop.shape[:2], np.float32), weight.astype(np.float32))
    colours = lab_colours(crop)
    if place.skin.sum() < LEAST_PIXELS:
        return None
    skin = ColourModel.of(colours[place.skin], SKIN_SPREAD)
    from_skin = skin.distance(colours)
    ring = (place.depth > _RING[0]) & (place.depth < _RING[1]) & (place.rows < place.eyes)
    seeds = ring & (people > _SURELY_SOMEBODY) & seen & (from_skin > UNLIKE_SKIN)
    if seeds.sum() < LEAST_PIXELS:
        return None
    hair = ColourModel.of(colours[seeds], *HAIR_SPREAD)
    lightness, *colour = hair.centre - skin.centre
    if abs(lightness) < _ALIKE[0] and np.hypot(*colour) < _ALIKE[1]:
        return None
    from_hair = hair.distance(colours)
    likely = (from_hair < from_skin) & (people > _SOMEBODY) & (place.depth < _WITHIN)
    sure = seeds & (from_hair < 1.2) & (from_skin > 3)
    cut = cut_out(crop, likely, sure, bare | place.skin | place.neck)
    if cut is None:
        return None
    whole = parts_touching(cut, place.rows < place.eyes)
    like_hair = (from_hair < 0.6 * from_skin) & (from_hair < 1.5) & (people > _SOMEBODY) & (place.depth < 0.1)
    doubtful = (cut & (from_hair > from_skin)) | (~cut & like_hair)
    doubtful |= cut & (place.rows > place.chin - 0.35 * place.unit) & (from_hair > 1.3)  # clothes, or long hair
    doubtful |= cut & (place.rows > place.eyes + 0.9 * place.unit) & (np.abs(place.depth) < 0.12)  # shadows under jaws
    weight &= ~(doubtful & ~bare) & ~(cut & ~whole)
    return RegionLabels(whole.astype(np.float32), weight.astype(np.float32))


@dataclass(frozen=True)
class _Place:
    """Where pixels lie in a face. ``rows`` and heights are in pixels, ``depth`` in ``unit``, the distance between the eyes."""

    unit: float
    rows: NDArray[np.int64]
    eyes: float
    brows: float
    chin: float
    depth: FloatArray
    skin: Bools
    bare: Bools
    neck: Bools

    @classmethod
    def of(cls, mesh: NDArray[np.float64], size: int) -> _Place:
        rows, columns = np.mgrid[:size, :size]
        unit = eye_distance(mesh)
        eyes = eye_height(mesh)
        brows = brow_height(mesh)
        middle, chin = (float(value) for value in mesh[OUTLINE][9])
        depth = depth_in_face(mesh, size) / np.float32(unit)
        skin = sure_skin(mesh, size)
        bare = ((depth > _BARE) & (rows > brows - 0.1 * unit)) | ((depth > _BARE_CHEEKS) & (rows > eyes + 0.2 * unit))
        neck = (rows > chin) & (np.abs(columns - middle) < 0.45 * unit)
        return cls(unit, rows, eyes, brows, chin, depth, skin, bare, neck)
