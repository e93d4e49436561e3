"""Labels of beards: what grows where beards do and is unlike the skin of the cheeks above, cut out by colour.

They are told from a photo, its face mesh and what beard the face has, which was labelled by eye; where they may be wrong they say so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.hair_colour import SKIN_SPREAD, ColourModel, eye_distance, eye_height, lab_colours
from dorian_bundle.masks import depth_in_face, mouth_mask, skin_mask
from dorian_bundle.mesh import NOSE, OUTER_LIPS, OUTLINE
from dorian_training.data.hair_kinds import Beard
from dorian_training.data.region_labels import (
    HAIR_SPREAD,
    LEAST_PIXELS,
    UNLIKE_SKIN,
    Bools,
    RegionLabels,
    cut_out,
    parts_touching,
)

# In distances between the eyes; depths are below the face's outline.
_BARE_CHEEK = 0.3  # depth from which cheeks above the mouth bear no beard
_DEEPEST_SKIN = 0.2  # depth from which cheeks show skin without doubt
_BELOW_EYES = 0.25
_BELOW_NOSE = 0.03
_BESIDE_MOUTH = 0.2
_LONGEST = -0.25  # depth, outside of the face, up to which beards are looked for
_JAW, _BELOW_JAW = (
    -0.04,
    -0.2,
)  # depths, outside of it, from which necks and clothes begin, and up to which what is like a beard is one


def label_beard(crop: NDArray[np.uint8], seen: Bools, mesh: NDArray[np.float64], beard: Beard) -> RegionLabels | None:
    """Label the beard of a face.

    Args:
        crop: RGB uint8 (size, size, 3).
        seen: What of it the photo shows, (size, size).
        mesh: The face's points in pixels of the crop, (73, 2).
        beard: What beard it has.

    Returns:
        The labels; ``None`` where it cannot be told from skin.
    """
    size = len(crop)
    if beard == "none":
        return RegionLabels(np.zeros((size, size), np.float32), seen.astype(np.float32))
    rows, columns = np.mgrid[:size, :size]
    unit = eye_distance(mesh)
    depth = depth_in_face(mesh, size) / np.float32(unit)
    eyes, nose = eye_height(mesh), float(mesh[NOSE][-1, 1])
    chin, corners = float(mesh[OUTLINE][9, 1]), mesh[OUTER_LIPS][[0, 6]]
    cheeks = (depth > _DEEPEST_SKIN) & (rows > eyes + _BELOW_EYES * unit) & (rows < nose)
    skin = cheeks & (skin_mask(mesh, size) > 0.9)
    if skin.sum() < LEAST_PIXELS:
        return None
    mouth = mouth_mask(mesh, size) > 0.1
    below_nose = (rows > nose + _BELOW_NOSE * unit) & ~mouth
    beside = _BESIDE_MOUTH * unit
    lip = below_nose & (rows < corners[:, 1].max() + beside / 2)
    lip &= (columns > corners[:, 0].min() - beside) & (columns < corners[:, 0].max() + beside)
    bare = (rows < corners[:, 1].mean()) & (depth > _BARE_CHEEK) & ~lip
    place = lip if beard == "moustache" else below_nose & (depth > _LONGEST) & ~bare
    colours = lab_colours(crop)
    from_skin = ColourModel.of(colours[skin], SKIN_SPREAD).distance(colours)
    seeds = place & (depth > 0) & (from_skin > UNLIKE_SKIN) & seen
    if seeds.sum() < LEAST_PIXELS:
        return None
    from_beard = ColourModel.of(colours[seeds], *HAIR_SPREAD).distance(colours)
    sure = seeds & (from_beard < 1.2) & (from_skin > 3)
    cut = cut_out(crop, (from_beard < from_skin) & place, sure, ~place | skin)
    if cut is None:
        return None
    whole = parts_touching(cut, place & (depth > 0))
    like_beard = (from_beard < 0.6 * from_skin) & (from_beard < 1.5)
    doubtful = (whole & (from_beard > from_skin)) | (~whole & place & like_beard) | (cut & ~whole)
    below_jaw = (depth < _JAW) & (rows > chin - 0.9 * unit)
    doubtful |= below_jaw & ~(whole & (from_beard < 1.2) & (depth > _BELOW_JAW))
    return RegionLabels(whole.astype(np.float32), (seen & ~doubtful).astype(np.float32))
