"""Reconstruction (Antipov et al. 2017): what a server draws of faces from latents, and whether a judge accepts the same people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_client import Client, DorianError, Face, Reconstruction
from dorian_evaluation.ageing.metrics import FEW_FACES, identity_metrics
from dorian_evaluation.ageing.targets import count_faces
from dorian_evaluation.faces.age_errors import face_groups, sorted_labels
from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.images import Pixels, decode_image
from dorian_evaluation.judges.base import IdentityJudge, crop_for_judge
from dorian_evaluation.server_calls import (
    OTHER_FACE,
    SkippedFace,
    face_boxes,
    landmark_points,
    map_faces,
    select_face,
    skip_or_raise,
)
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReconstructedFace:
    """A face in several modes.

    Attributes:
        crop: What the networks saw.
        drawings: What the generator drew, by mode.
        latents: (modes, latent).
    """

    crop: Pixels
    drawings: tuple[Pixels, ...]
    latents: NDArray[np.float32]


@dataclass
class ReconstructionMeasurements:
    """Faces in several modes, as the judge and the server measure them. Lists have an entry per reconstructed face.

    Attributes:
        records: The faces.
        skipped: Reasons of the faces that were skipped.
        crop_similarity: Similarity of the crop to the photo.
        similarity: Of the drawings to the photo, (modes,).
        similarity_to_crop: Of the drawings to the crop, (modes,).
        pixel_error: As the server measures it, by mode.
        steps: Of the latent search, by mode.
        shown: The first faces.
    """

    records: list[FaceRecord] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    crop_similarity: list[float] = field(default_factory=list)
    similarity: list[Floats] = field(default_factory=list)
    similarity_to_crop: list[Floats] = field(default_factory=list)
    pixel_error: list[list[float]] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    shown: list[ReconstructedFace] = field(default_factory=list)


@dataclass(frozen=True)
class _ReconstructedRecord:
    """A record's photo and reconstructions; its landmarks (5, 2) in the photo, and the same in the crop."""

    record: FaceRecord
    photo: Pixels
    landmarks: Floats
    crop_landmarks: Floats
    face: ReconstructedFace
    pixel_error: list[float]
    steps: list[int]


def measure_reconstructions(
    client: Client,
    judge: IdentityJudge,
    records: Sequence[FaceRecord],
    method: str,
    template: AlignmentTemplate,
    modes: Sequence[str],
    max_steps: int | None = None,
    shown: int = 0,
) -> ReconstructionMeasurements:
    """Reconstruct faces in all modes, with source ages that the server estimates, and let the judge compare them.

    Args:
        client: Of the server.
        judge: The judge.
        records: The faces.
        method: The method's name.
        template: What the server's crops are aligned to.
        modes: As ``Client.reconstruct`` takes them.
        max_steps: Of each latent search; None for the server's number.
        shown: How many of the first faces to keep.

    Raises:
        DataError: A call failed for a reason that is not a photo's fault, or no face is left.
    """
    measurements = ReconstructionMeasurements()
    for results in map_faces(records, _make_call(client, method, template, modes, max_steps), "reconstruction"):
        measurements.skipped += [result.reason for result in results if isinstance(result, SkippedFace)]
        for result in results:
            if isinstance(result, _ReconstructedRecord):
                _measure(measurements, judge, result)
                if len(measurements.shown) < shown:
                    measurements.shown.append(result.face)
    if not measurements.records:
        reasons = ", ".join(set(measurements.skipped))
        raise DataError(f"the server reconstructed none of {len(records)} faces ({reasons})")
    return measurements


def reconstruction_metrics(
    measurements: ReconstructionMeasurements, modes: Sequence[str], people: KnownPeople | None
) -> dict[str, Any]:
    """Return all metrics of reconstruction, ready for JSON.

    Args:
        measurements: Of the faces.
        modes: The modes that they were reconstructed in.
        people: How faces of known people compare.

    Returns:
        ``accepted`` is the share that the judge accepts as the person of the photo. ``crop`` is of the photo's own pixels at
        the networks' resolution: about the most that a reconstruction can reach. ``groups`` has the same by decade of age,
        gender and ethnicity; those of fewer than ``FEW_FACES`` faces are marked ``few``.
    """
    similarity = np.stack(measurements.similarity)  # (faces, modes)
    to_crop = np.stack(measurements.similarity_to_crop)
    threshold = people.threshold if people else None
    errors, steps = np.asarray(measurements.pixel_error), np.asarray(measurements.steps)

    def by_mode(members: NDArray[np.bool_]) -> dict[str, Any]:
        return {mode: identity_metrics(similarity[members, index], threshold) for index, mode in enumerate(modes)}

    return {
        "faces": count_faces(len(measurements.records), measurements.skipped),
        "people": people.as_metrics() if people else None,
        "crop": identity_metrics(np.asarray(measurements.crop_similarity), threshold),
        "modes": {
            mode: identity
            | {
                "to_crop": identity_metrics(to_crop[:, index], threshold),
                "pixel_error": round(float(errors[:, index].mean()), 4),
                "steps": round(float(steps[:, index].mean()), 1),
            }
            for index, (mode, identity) in enumerate(by_mode(np.ones(len(similarity), dtype=np.bool_)).items())
        },
        "groups": {
            kind: {
                label: {
                    "faces": int((labels == label).sum()),
                    "few": bool((labels == label).sum() < FEW_FACES),
                    "modes": by_mode(labels == label),
                }
                for label in sorted_labels(labels)
            }
            for kind, labels in face_groups(measurements.records).items()
        },
    }


def _make_call(
    client: Client, method: str, template: AlignmentTemplate, modes: Sequence[str], max_steps: int | None
) -> Callable[[FaceRecord, Pixels], _ReconstructedRecord | SkippedFace]:
    """Return the function that reconstructs a face in all modes."""

    def call(record: FaceRecord, photo: Pixels) -> _ReconstructedRecord | SkippedFace:
        landmarks = record.points(photo.shape[1], photo.shape[0])
        try:
            face = _detect_face(client, photo, landmarks)
            if isinstance(face, SkippedFace):
                return face
            results = [
                client.reconstruct(
                    photo, faces=face.box, mode=mode, max_steps=max_steps, method=method, format="png"
                ).faces[0]
                for mode in modes
            ]
        except DorianError as error:
            return skip_or_raise(client, error)
        return _read_results(record, photo, landmarks, face, template, results)

    return call


def _detect_face(client: Client, photo: Pixels, landmarks: Floats) -> Face | SkippedFace:
    """Return the face of a photo with about these landmarks (5, 2)."""
    faces = client.detect(photo).faces
    index = select_face(face_boxes(faces), landmarks)
    if index is None:
        return SkippedFace(OTHER_FACE if faces else "NO_FACE")
    return faces[index]


def _read_results(
    record: FaceRecord,
    photo: Pixels,
    landmarks: Floats,
    face: Face,
    template: AlignmentTemplate,
    results: Sequence[Reconstruction],
) -> _ReconstructedRecord | SkippedFace:
    for result in results:
        if result.error is not None:
            return SkippedFace(result.error.reason)
    pairs = [_decode(result) for result in results]
    crop = pairs[0][0]
    matrix = crop_matrix(landmark_points(face.landmarks), template, len(crop))
    return _ReconstructedRecord(
        record=record,
        photo=photo,
        landmarks=landmarks,
        crop_landmarks=np.asarray(cv2.transform(landmarks[None], matrix)[0]),
        face=ReconstructedFace(
            crop=crop,
            drawings=tuple(drawing for _, drawing in pairs),
            latents=np.asarray([result.latent for result in results], dtype=np.float32),
        ),
        pixel_error=[result.pixel_error or 0.0 for result in results],
        steps=[result.steps for result in results],
    )


def _measure(measurements: ReconstructionMeasurements, judge: IdentityJudge, result: _ReconstructedRecord) -> None:
    """Add a face and the judge's similarities; it sees photo and crop by the same landmarks."""
    views = [crop_for_judge(judge, result.photo, result.landmarks)]
    views += [
        crop_for_judge(judge, image, result.crop_landmarks) for image in (result.face.crop, *result.face.drawings)
    ]
    photo, crop, *drawings = judge.embeddings(np.stack(views)).astype(np.float64)
    measurements.records.append(result.record)
    measurements.crop_similarity.append(float(photo @ crop))
    measurements.similarity.append(np.asarray([photo @ drawing for drawing in drawings]))
    measurements.similarity_to_crop.append(np.asarray([crop @ drawing for drawing in drawings]))
    measurements.pixel_error.append(result.pixel_error)
    measurements.steps.append(result.steps)


def _decode(result: Reconstruction) -> tuple[Pixels, Pixels]:
    """Return crop and drawing of a reconstruction without an error."""
    if result.crop is None or result.picture is None:
        raise DataError("the server sent a reconstruction without its pictures")
    name = "the server's picture"
    return decode_image(result.crop.data, name), decode_image(result.picture.data, name)
