"""Seeing faces: found in a photo, aligned, and read by the networks that every photo passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle import AlignmentError
from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.detection import DetectedFace
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.results import Face, FaceReading
from dorian_server.faces.detector import Detector
from dorian_server.faces.networks import AgeReader, IdentityReader

Pixels = NDArray[np.uint8]


class FaceViewer:
    """Detector, age estimator and FaceNet of a bundle, on crops aligned to its template."""

    def __init__(
        self, detector: Detector, ages: AgeReader, identities: IdentityReader, template: AlignmentTemplate
    ) -> None:
        self.detector, self.ages, self.identities, self.template = detector, ages, identities, template

    def matrix(self, face: DetectedFace, size: int) -> NDArray[np.float64]:
        """The (2, 3) matrix from the photo to the ``size`` × ``size`` crop of ``face``; ``AlignmentError`` if there is none."""
        return crop_matrix(face.landmarks, self.template, size)

    def crops(self, pixels: Pixels, faces: Sequence[DetectedFace], size: int) -> list[Pixels]:
        """The ``size`` × ``size`` aligned crops of ``faces`` in the photo ``pixels``; ``AlignmentError`` as ``matrix``."""
        return [warp_crop(pixels, self.matrix(face, size), size) for face in faces]

    def read(self, pixels: Pixels, faces: Sequence[DetectedFace]) -> list[FaceReading]:
        """What is read from ``faces``, all of which can be aligned, in the photo ``pixels``."""
        if not faces:
            return []
        sizes = {self.ages.crop_size, self.identities.crop_size}
        crops = {size: self.crops(pixels, faces, size) for size in sizes}
        ages = self.ages.ages(crops[self.ages.crop_size])
        embeddings = self.identities.embeddings(crops[self.identities.crop_size])
        return [FaceReading(float(age), embedding) for age, embedding in zip(ages, embeddings, strict=True)]

    def see(self, pixels: Pixels, faces: Sequence[tuple[int, DetectedFace]], clock: Clock) -> list[Face]:
        """``faces`` of the photo ``pixels``, by their index in it, each read where it can be aligned."""
        with clock.stage("align"):
            usable = [self._can_align(face) for _, face in faces]
        with clock.stage("read"):
            readings = iter(self.read(pixels, [face for (_, face), can in zip(faces, usable, strict=True) if can]))
        return [
            Face(index, face, next(readings) if can else None) for (index, face), can in zip(faces, usable, strict=True)
        ]

    def _can_align(self, face: DetectedFace) -> bool:
        try:
            self.matrix(face, self.ages.crop_size)
        except AlignmentError:
            return False
        return True


def unusable(face: Face, field: str) -> RequestError:
    """The error for a ``face`` that cannot be aligned, named by the request's ``field``."""
    words = f"face {face.index} cannot be aligned: its landmarks lie in one point; send a photo in which it is larger"
    return RequestError(Reason.FACE_UNUSABLE, field, words)
