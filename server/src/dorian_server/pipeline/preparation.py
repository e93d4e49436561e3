"""What comes before any change: a photo decoded, its faces found, read and cut out."""

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
from dorian_server.domain.requests import Age
from dorian_server.domain.results import Face, FaceReading, FailedFace
from dorian_server.faces.reader import FaceReader, unusable_face_error
from dorian_server.images import Photo, decode
from dorian_server.methods.method import Method
from dorian_server.pipeline.face_selection import Wish
from dorian_server.settings import Limits

FOUND_FIELD = "image.data"


@dataclass(frozen=True)
class Work:
    """A face on its way: what is wished for it, what was read from it, the age it is taken to have, and its aligned crop."""

    wish: Wish
    face: Face
    before: FaceReading
    source: Age
    matrix: NDArray[np.float64]
    crop: NDArray[np.uint8]


class Preparation:
    """The networks that see faces, and limits; safe to call from several threads."""

    def __init__(self, face_reader: FaceReader, limits: Limits) -> None:
        self.face_reader, self.limits = face_reader, limits

    def check_count(self, named: int, field: str) -> None:
        if named > self.limits.max_faces:
            words = f"{named} faces are named; at most {self.limits.max_faces} are allowed"
            raise RequestError(Reason.FACE_TOO_MANY, field, words)

    def find(self, data: bytes, field: str, clock: Clock, which: str = "") -> tuple[Photo, list[DetectedFace]]:
        with clock.stage("decode"):
            try:
                photo = decode(data, self.limits)
            except RequestError as error:
                raise RequestError(error.reason, field, f"{which}{error}") from error
        with clock.stage("detect"):
            return photo, self.face_reader.detector.detect(photo.pixels)[: self.limits.max_detections]

    def find_some(self, data: bytes, field: str, clock: Clock, which: str = "") -> tuple[Photo, list[DetectedFace]]:
        """As ``find``, but a photo without a face is an error; ``which`` tells one of several photos from the others."""
        photo, found = self.find(data, field, clock, which)
        if not found:
            words = "no face was found; send a photo in which a face is seen from the front, at least 20 pixels wide"
            raise RequestError(Reason.NO_FACE, field, f"{which}{words}")
        return photo, found

    def prepare(
        self, photo: Photo, found: Sequence[DetectedFace], wished: Sequence[Wish], method: Method, clock: Clock
    ) -> tuple[list[Work], list[FailedFace]]:
        """The faces of ``wished``, read and cut out for ``method``, and those that cannot be."""
        work: list[Work] = []
        failed: list[FailedFace] = []
        seen = self.face_reader.inspect(photo.pixels, [(wish.index, found[wish.index]) for wish in wished], clock)
        with clock.stage("align"):
            for wish, face in zip(wished, seen, strict=True):
                if face.reading is None:
                    failed.append(FailedFace(face, unusable_face_error(face, FOUND_FIELD)))
                    continue
                matrix = self.face_reader.crop_matrix(face.detected, method.manifest.crop_size)
                crop = warp_crop(photo.pixels, matrix, method.manifest.crop_size)
                source = wish.source or Age(years=float(np.clip(face.reading.estimated_age, MIN_AGE, MAX_AGE)))
                work.append(Work(wish, face, face.reading, source, matrix, crop))
        return work, failed
