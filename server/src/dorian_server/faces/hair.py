"""Finding hair and beards: the wide view of a face is cut out of its photo, and networks and colours say what of it they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, finer_matrix, warp_crop
from dorian_bundle.hair import (
    HAIR_SIZE,
    PEOPLE_SIZE,
    WIDE_SIZE,
    Hair,
    find_hair,
    near_of,
    refine_hair,
    wide_template,
)
from dorian_bundle.hair_networks import HairNetworks
from dorian_bundle.tensors import crops_to_images
from dorian_server.runtimes.session import Session


@dataclass(frozen=True)
class FoundHair:
    """The ``hair`` and ``beard`` of a face, each ``None`` where there is none.

    ``view``: RGB uint8 (HAIR_SIZE, HAIR_SIZE, 3), where they are; ``matrix`` (2, 3): from the photo's pixels to its own.
    """

    matrix: NDArray[np.float64]
    view: NDArray[np.uint8]
    hair: Hair | None
    beard: Hair | None


class HairFinder:
    """The networks of ``entry``; ``open_session`` opens their graphs by their names. Safe to call from several threads."""

    def __init__(self, entry: HairNetworks, open_session: Callable[[str], Session]) -> None:
        self._hair, self._people = open_session(entry.hair_segmenter), open_session(entry.person_segmenter)

    def find(
        self,
        photo: NDArray[np.uint8],
        landmarks: NDArray[np.float64],
        mesh: NDArray[np.float64],
        template: AlignmentTemplate,
    ) -> FoundHair:
        """Return the hair around a face, and its beard.

        Args:
            photo: RGB uint8 (height, width, 3).
            landmarks: The five by which the face is aligned, (5, 2), in pixels of the photo.
            mesh: The face's points in pixels of the photo, (73, 2).
            template: To which crops are aligned.
        """
        matrix = crop_matrix(landmarks, wide_template(template), WIDE_SIZE)
        wide = warp_crop(photo, matrix, WIDE_SIZE)
        near = self._hair.run({"image": crops_to_images([near_of(wide)])})["hair"][0]
        enlarged = cv2.resize(wide, (PEOPLE_SIZE, PEOPLE_SIZE), interpolation=cv2.INTER_LINEAR)
        people = self._people.run({"image": crops_to_images([np.asarray(enlarged, dtype=np.uint8)])})["people"][0, 0]
        people = cv2.resize(people, (WIDE_SIZE, WIDE_SIZE), interpolation=cv2.INTER_AREA)
        mattes = find_hair(wide, near, np.asarray(people, dtype=np.float32), cv2.transform(mesh[None], matrix)[0])
        fine = finer_matrix(matrix, HAIR_SIZE / WIDE_SIZE)
        view = warp_crop(photo, fine, HAIR_SIZE)
        return FoundHair(fine, view, *(None if matte is None else refine_hair(matte, view) for matte in mattes))
