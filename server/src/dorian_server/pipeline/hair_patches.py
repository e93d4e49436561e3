"""The changes of one face's hair and beard as patches of its photo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.graphs import Array
from dorian_bundle.hair_ageing import change_beard, recolour_brows, recolour_hair
from dorian_bundle.tensors import pixels_to_floats
from dorian_server.faces.hair import FoundHair
from dorian_server.pipeline.compositing import Patch, learned_patch


@dataclass(frozen=True)
class HairPatches:
    """How a face's hair changes.

    Args:
        patches: Of hair and beard, those that change.
        matrix: From the photo's pixels to those of ``shaved``, (2, 3).
        shaved: Where a beard goes, float32 (size, size) in [0, 1]; ``None``: nowhere.
    """

    patches: tuple[Patch, ...] = ()
    matrix: NDArray[np.float64] | None = None
    shaved: Array | None = None

    def spared(self, patch: Patch) -> Patch:
        """Return ``patch``, what a method draws, without what it draws where a beard goes, which it has drawn on the beard."""
        if self.shaved is None or self.matrix is None:
            return patch
        back = np.vstack([cv2.invertAffineTransform(self.matrix), (0, 0, 1)])  # to the photo's pixels
        shaved = cv2.warpAffine(self.shaved, (patch.matrix @ back), patch.mask.shape[::-1], flags=cv2.INTER_LINEAR)
        return replace(patch, mask=np.asarray(patch.mask * (1 - shaved), dtype=np.float32))


def hair_patches(
    found: FoundHair, mesh: NDArray[np.float64], source: float, target: float, colour: float
) -> HairPatches:
    """Return how ``found`` hair changes from an age of ``source`` years to one of ``target``.

    Args:
        found: The hair and beard of a face.
        mesh: The face's points in pixels of the photo, (73, 2).
        source: The face's age.
        target: The age that it is to have.
        colour: How much colour the photo has; see ``compositing.colourfulness``.
    """
    points = cv2.transform(mesh[None], found.matrix)[0]
    patches, shaved = list[Patch](), None

    def patch_of(delta: Array, matte: Array) -> Patch:
        return learned_patch(found.matrix, matte, delta, colour)

    if (brows := recolour_brows(found.view, points, source, target)) is not None:
        patches.append(patch_of(*brows))
    if found.hair is not None and (delta := recolour_hair(found.hair, source, target)) is not None:
        patches.append(patch_of(delta, found.hair.matte))
    if found.beard is not None and (change := change_beard(found.beard, points, source, target)) is not None:
        shaved = change.shaved
        if shaved is None:
            patches.append(patch_of(change.delta, found.beard.matte))
        else:
            patches.append(replace(patch_of(change.delta, shaved), view=pixels_to_floats(found.view)))
    return HairPatches(tuple(patches), found.matrix, shaved)
