"""Preparation, before anything changes: a photo is decoded, and its faces are detected, read and cropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import MAX_AGE, MIN_AGE
from dorian_bundle.alignment import warp_crop
from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age, ImageFormat
from dorian_server.domain.results import Face, FaceReading, FailedFace
from dorian_server.faces.reader import FaceReader, unusable_face_error
from dorian_server.images import Photo, decode
from dorian_server.methods.method import Method
from dorian_server.pipeline.face_selection import SelectedFace
from dorian_server.settings import Limits

IMAGE_FIELD = "image.data"


@dataclass(frozen=True)
class PreparedFace:
    """A face that is ready for a method.

    Args:
        selected: What it is to become.
        face: The face.
        before: Its reading before it changes.
        source: Its source age: the caller's, or the estimated age.
        matrix: Matrix (2, 3) from the photo to the crop.
        crop: Its aligned crop, RGB uint8 (size, size, 3).
    """

    selected: SelectedFace
    face: Face
    before: FaceReading
    source: Age
    matrix: NDArray[np.float64]
    crop: NDArray[np.uint8]


class Preparation:
    """The first steps of every request; safe to call from several threads."""

    def __init__(self, face_reader: FaceReader, limits: Limits) -> None:
        self.face_reader, self.limits = face_reader, limits

    def check_face_count(self, count: int, field: str) -> None:
        """Raise ``RequestError`` for ``field`` if a request names too many faces."""
        if count > self.limits.max_faces:
            message = f"{count} faces are named; at most {self.limits.max_faces} are allowed"
            raise RequestError(Reason.FACE_TOO_MANY, field, message)

    def detect(
        self, data: bytes, field: str, clock: Clock, prefix: str = "", output_format: ImageFormat | None = None
    ) -> tuple[Photo, list[DetectedFace]]:
        """Decode a photo and detect its faces.

        Args:
            data: The photo's file.
            field: The field of the request that it was in.
            clock: Times the stages "decode" and "detect".
            prefix: Begins the message of an error, where a request has several photos.
            output_format: The format in which the photo is to be returned, if not its own.

        Returns:
            The photo, and its faces, largest first.

        Raises:
            RequestError: The file cannot be decoded.
        """
        with clock.stage("decode"):
            try:
                photo = decode(data, self.limits, output_format)
            except RequestError as error:
                raise RequestError(error.reason, field, f"{prefix}{error}") from error
        with clock.stage("detect"):
            return photo, self.face_reader.detector.detect(photo.pixels)[: self.limits.max_detections]

    def detect_some(
        self, data: bytes, field: str, clock: Clock, prefix: str = "", output_format: ImageFormat | None = None
    ) -> tuple[Photo, list[DetectedFace]]:
        """As ``detect``, but ``RequestError`` for a photo without a face."""
        photo, faces = self.detect(data, field, clock, prefix, output_format)
        if not faces:
            message = "no face was found; send a photo in which a face is seen from the front, at least 20 pixels wide"
            raise RequestError(Reason.NO_FACE, field, f"{prefix}{message}")
        return photo, faces

    def prepare(
        self,
        photo: Photo,
        faces: Sequence[DetectedFace],
        selected_faces: Sequence[SelectedFace],
        method: Method,
        clock: Clock,
    ) -> tuple[list[PreparedFace], list[FailedFace]]:
        """Read and crop the ``selected_faces`` of a photo.

        Args:
            photo: The photo.
            faces: All of its faces.
            selected_faces: Which of them to prepare.
            method: What the crops are for.
            clock: Times the stages "align" and "read".

        Returns:
            The prepared faces, and those that cannot be aligned.
        """
        clock.faces = len(selected_faces)
        prepared: list[PreparedFace] = []
        failed: list[FailedFace] = []
        indexed = [(selected.index, faces[selected.index]) for selected in selected_faces]
        inspected = self.face_reader.inspect(photo.pixels, indexed, clock)
        size = method.manifest.crop_size
        with clock.stage("align"):
            for selected, face in zip(selected_faces, inspected, strict=True):
                if face.reading is None:
                    failed.append(FailedFace(face, unusable_face_error(face, IMAGE_FIELD)))
                    continue
                matrix = self.face_reader.crop_matrix(face.detected, size)
                crop = warp_crop(photo.pixels, matrix, size)
                estimated = Age(years=float(np.clip(face.reading.estimated_age, MIN_AGE, MAX_AGE)))
                prepared.append(PreparedFace(selected, face, face.reading, selected.source or estimated, matrix, crop))
        return prepared, failed
