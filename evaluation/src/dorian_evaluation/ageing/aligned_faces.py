"""Faces that a server has aged, as aligned crops: what spots, spectra and children are measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_client import Client, Method
from dorian_evaluation.ageing.aged_face import AgedFace, age_face
from dorian_evaluation.ageing.targets import Target
from dorian_evaluation.images import Pixels
from dorian_evaluation.server_calls import SkippedFace, map_faces
from dorian_training.data.crops import cut_face
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

CROP_SIZE = 192  # pixels, side of the crops


@dataclass(frozen=True)
class AlignedFace:
    """A face before and after.

    Attributes:
        record: The face.
        photo: As it was sent.
        face: What the server made of it.
        crops: Of ``images``, uint8 (1 + targets, CROP_SIZE, CROP_SIZE, 3), by the record's landmarks.
    """

    record: FaceRecord
    photo: Pixels
    face: AgedFace
    crops: Pixels

    @property
    def images(self) -> tuple[Pixels, ...]:
        """The photo, and the photo at each target."""
        return (self.photo, *self.face.images)


def age_faces(
    client: Client,
    records: Sequence[FaceRecord],
    method: Method,
    targets: Sequence[Target],
    strength: float,
    skipped: list[str],
    keep_hair: bool = False,
) -> Iterator[AlignedFace]:
    """Age faces at all targets, with source ages that the server estimates.

    Args:
        client: Of the server.
        records: The faces.
        method: The method.
        targets: The targets.
        strength: Factor on the change.
        skipped: Takes the reasons of faces that are skipped.
        keep_hair: Whether hair keeps its colour.

    Yields:
        The faces that were aged, in the order of ``records``.

    Raises:
        DataError: A call failed for a reason that is not a photo's fault, or no face is left.
    """

    def call(record: FaceRecord, photo: Pixels) -> AlignedFace | SkippedFace:
        landmarks = record.points(photo.shape[1], photo.shape[0])
        face = age_face(client, photo, landmarks, targets, method.name, strength, keep_hair=keep_hair)
        if isinstance(face, SkippedFace):
            return face
        crops = [cut_face(image, record, DEFAULT_TEMPLATE, CROP_SIZE) for image in (photo, *face.images)]
        return AlignedFace(record, photo, face, np.stack(crops))

    count = 0
    for results in map_faces(records, call, f"{method.name} × {strength:g}"):
        for result in results:
            if isinstance(result, SkippedFace):
                skipped.append(result.reason)
            else:
                count += 1
                yield result
    if not count:
        reasons = ", ".join(sorted(set(skipped)))
        raise DataError(f"{method.name}: the server aged none of {len(records)} faces ({reasons})")
