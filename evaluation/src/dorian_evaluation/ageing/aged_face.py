"""A face that a server ages: the call, and what comes back of the record's face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dorian_client import AgedPhoto, Client, DorianError
from dorian_evaluation.ageing.targets import Target
from dorian_evaluation.images import Pixels, decode_image
from dorian_evaluation.server_calls import (
    OTHER_FACE,
    SkippedFace,
    face_boxes,
    landmark_points,
    select_face,
    skip_or_raise,
)
from dorian_training.errors import DataError

Optimisation = Literal["none", "fast", "full"]  # how long a latent is searched before its face is aged


@dataclass(frozen=True)
class AgedFace:
    """A face that was aged.

    Attributes:
        landmarks: As the server detects them, (5, 2).
        box: As the server detects it: left, top, width, height, (4,).
        images: The photo at each target.
    """

    landmarks: NDArray[np.float64]
    box: NDArray[np.float64]
    images: tuple[Pixels, ...]


def age_face(
    client: Client,
    photo: Pixels,
    landmarks: NDArray[np.float64],
    targets: Sequence[Target],
    method: str,
    strength: float,
    source: float | None = None,
    optimisation: Optimisation = "none",
    keep_hair: bool = False,
) -> AgedFace | SkippedFace:
    """Age a face at all targets in one request; the photo is sent and returned losslessly.

    Args:
        client: Of the server.
        photo: The photo.
        landmarks: Of the face, (5, 2), as annotated.
        targets: What to change the face to.
        method: The method's name.
        strength: Factor on the change.
        source: The face's age in years; None lets the server estimate it.
        optimisation: How long the latent is searched.
        keep_hair: Whether hair keeps its colour.

    Returns:
        The face, or why it is skipped if the photo is at fault.

    Raises:
        DataError: The call failed for another reason.
    """
    try:
        result = client.age(
            photo,
            [target.request for target in targets],
            source=source,
            method=method,
            strength=strength,
            optimisation=optimisation,
            keep_hair=keep_hair,
            format="png",
        )
    except DorianError as error:
        return skip_or_raise(client, error)
    return _read_result(result.photos, photo, landmarks)


def _read_result(
    aged_photos: Sequence[AgedPhoto], photo: Pixels, landmarks: NDArray[np.float64]
) -> AgedFace | SkippedFace:
    faces = [report.face for report in aged_photos[0].faces if report.face is not None]
    boxes = face_boxes(faces)
    index = select_face(boxes, landmarks)
    if index is None:
        return SkippedFace(OTHER_FACE)
    for aged in aged_photos:
        if (error := aged.faces[index].error) is not None:
            return SkippedFace(error.reason)
    images = tuple(decode_image(aged.picture.data, "the server's picture") for aged in aged_photos)
    for image in images:
        if image.shape != photo.shape:
            raise DataError(f"the server returned a photo of shape {photo.shape} as {image.shape}")
    return AgedFace(landmark_points(faces[index].landmarks), boxes[index], images)
