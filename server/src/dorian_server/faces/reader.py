"""Reading faces: the age that an aligned crop looks, and the embedding of its identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle import AlignmentError
from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.face_readers import AgeEstimator as AgeEstimatorEntry
from dorian_bundle.face_readers import FaceNet as FaceNetEntry
from dorian_bundle.graphs import Array
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.results import Face, FaceReading, IdentityMatch
from dorian_server.faces.detector import Detector
from dorian_server.runtimes.session import Session

Pixels = NDArray[np.uint8]

DEFAULT_FALSE_ACCEPT_RATE = 1e-3


class AgeEstimator:
    """The bundle's age estimator. ``coverage``: share of faces whose age lies in the interval of their estimate."""

    def __init__(self, entry: AgeEstimatorEntry, session: Session) -> None:
        self.crop_size, self.coverage = entry.crop_size, entry.intervals.coverage
        self._intervals, self._session = entry.intervals, session

    def estimate(self, crops: Sequence[Pixels]) -> list[tuple[float, tuple[float, float]]]:
        """Return the estimated age of each of ``crops``, and the lowest and the highest one of its interval, in years.

        Args:
            crops: Aligned, RGB uint8 (``crop_size``, ``crop_size``, 3).
        """
        outputs = self._session.run({"image": crops_to_images(crops)})
        return [
            (age, self._intervals.interval(age, spread))
            for age, spread in zip(outputs["age"].tolist(), outputs["spread"].tolist(), strict=True)
        ]


class FaceEmbedder:
    """The bundle's FaceNet, and the thresholds of its similarity."""

    def __init__(self, entry: FaceNetEntry, session: Session) -> None:
        self.crop_size = entry.crop_size
        self.thresholds = {threshold.false_accept_rate: threshold.similarity for threshold in entry.thresholds}
        self._similarity_by_years, self._session = entry.similarity_by_years, session

    def embed(self, crops: Sequence[Pixels]) -> Array:
        """Return the unit embeddings (faces, embedding) of aligned RGB ``crops`` uint8 (``crop_size``, ``crop_size``, 3)."""
        return self._session.run({"image": crops_to_images(crops)})["embedding"]

    def threshold(self, false_accept_rate: float) -> tuple[float, float]:
        """Return a measured false-accept rate, and the similarity that is its threshold.

        Args:
            false_accept_rate: The rate; 0 for ``DEFAULT_FALSE_ACCEPT_RATE`` or, where that was not measured, the lowest.

        Raises:
            RequestError: The rate was not measured.
        """
        default = DEFAULT_FALSE_ACCEPT_RATE if DEFAULT_FALSE_ACCEPT_RATE in self.thresholds else min(self.thresholds)
        rate = false_accept_rate or default
        for measured_rate, similarity in self.thresholds.items():
            if np.isclose(rate, measured_rate, rtol=1e-3, atol=0):
                return measured_rate, similarity
        rates = ", ".join(f"{measured_rate:g}" for measured_rate in sorted(self.thresholds))
        message = f"no threshold is known for a false-accept rate of {rate:g}; known: {rates}"
        raise RequestError(Reason.SETTING_OUT_OF_RANGE, "false_accept_rate", message)

    def match(self, similarity: float, false_accept_rate: float = 0) -> IdentityMatch:
        """Return what a cosine ``similarity`` of two embeddings means at a false-accept rate.

        Raises:
            RequestError: As ``threshold``.
        """
        rate, threshold = self.threshold(false_accept_rate)
        curve = self._similarity_by_years
        return IdentityMatch(similarity >= threshold, threshold, rate, curve.years_apart(similarity) if curve else None)


class FaceReader:
    """Detector, age estimator and FaceNet of a bundle, on crops aligned to its template."""

    def __init__(
        self, detector: Detector, age_estimator: AgeEstimator, embedder: FaceEmbedder, template: AlignmentTemplate
    ) -> None:
        self.detector, self.age_estimator, self.embedder = detector, age_estimator, embedder
        self.template = template

    def crop_matrix(self, face: DetectedFace, size: int) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from the photo to the aligned crop (size, size) of ``face``.

        Raises:
            AlignmentError: The landmarks do not determine one.
        """
        return crop_matrix(face.landmarks, self.template, size)

    def crop(self, pixels: Pixels, faces: Sequence[DetectedFace], size: int) -> list[Pixels]:
        """Return the aligned crops (size, size, 3) of ``faces`` in the photo ``pixels``.

        Raises:
            AlignmentError: As ``crop_matrix``.
        """
        return [warp_crop(pixels, self.crop_matrix(face, size), size) for face in faces]

    def read(self, pixels: Pixels, faces: Sequence[DetectedFace]) -> list[FaceReading]:
        """Return a reading of each of ``faces`` in the photo ``pixels``; all of them can be aligned."""
        if not faces:
            return []
        sizes = {self.age_estimator.crop_size, self.embedder.crop_size}
        crops = {size: self.crop(pixels, faces, size) for size in sizes}
        ages = self.age_estimator.estimate(crops[self.age_estimator.crop_size])
        embeddings = self.embedder.embed(crops[self.embedder.crop_size])  # (faces, embedding)
        return [
            FaceReading(age, embedding, interval) for (age, interval), embedding in zip(ages, embeddings, strict=True)
        ]

    def ages(self, pixels: Pixels, faces: Sequence[DetectedFace]) -> list[float]:
        """Return the estimated age in years of each of ``faces`` in the photo ``pixels``; all of them can be aligned."""
        return [age for age, _ in self.age_estimator.estimate(self.crop(pixels, faces, self.age_estimator.crop_size))]

    def similarities(self, pixels: Pixels, faces: Sequence[DetectedFace], embeddings: Sequence[Array]) -> list[float]:
        """Return the cosine similarity of each of ``faces`` in the photo ``pixels`` to one of the unit ``embeddings`` (embedding,)."""
        read = self.embedder.embed(self.crop(pixels, faces, self.embedder.crop_size))
        return [cosine_similarity(*pair) for pair in zip(embeddings, read, strict=True)]

    def inspect(self, pixels: Pixels, faces: Sequence[tuple[int, DetectedFace]], clock: Clock) -> list[Face]:
        """Return faces of the photo ``pixels`` with their readings, where they can be aligned.

        Args:
            pixels: The photo, RGB uint8 (height, width, 3).
            faces: Detected faces, each after its index among the photo's.
            clock: Times the stages "align" and "read".
        """
        with clock.stage("align"):
            alignable = [self._can_align(face) for _, face in faces]
        with clock.stage("read"):
            readings = iter(
                self.read(pixels, [face for (_, face), can_align in zip(faces, alignable, strict=True) if can_align])
            )
        return [
            Face(index, face, next(readings) if can_align else None)
            for (index, face), can_align in zip(faces, alignable, strict=True)
        ]

    def _can_align(self, face: DetectedFace) -> bool:
        try:
            self.crop_matrix(face, self.age_estimator.crop_size)
        except AlignmentError:
            return False
        return True


def unusable_face_error(face: Face, field: str) -> RequestError:
    """Return the error for a ``face`` that cannot be aligned, reported for ``field`` of the request."""
    message = f"face {face.index} cannot be aligned: its landmarks lie in one point; send a photo in which it is larger"
    return RequestError(Reason.FACE_UNUSABLE, field, message)


def cosine_similarity(first: Array, second: Array) -> float:
    """Return the cosine similarity of two unit embeddings (embedding,), from -1 to 1 whatever rounding does."""
    return float(np.clip(first @ second, -1, 1))
