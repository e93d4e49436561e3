"""Reconstruction (Antipov et al. 2017): what a server's latents draw of faces, and whether a judge sees the same people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix
from dorian_client import Box, Client, DorianError, Face, Landmarks, Reconstruction, ServerError
from dorian_evaluation.ageing.metrics import FEW, identity_figures
from dorian_evaluation.ageing.readings import People
from dorian_evaluation.ageing.seams import Pixels
from dorian_evaluation.ageing.service import ELSEWHERE, LeftOut, is_of_picture
from dorian_evaluation.ageing.targets import chosen_face, face_counts
from dorian_evaluation.faces.age_errors import face_groups, in_order
from dorian_evaluation.image_files import decoded
from dorian_evaluation.judges.identity_judge import IdentityJudge, judge_view
from dorian_evaluation.requests import asked
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reconstructed:
    """A face that was reconstructed: the ``crop`` that the networks saw, and by mode a picture and its latent (modes, latent)."""

    crop: Pixels
    pictures: tuple[Pixels, ...]
    latents: NDArray[np.float32]


@dataclass
class Reconstructions:
    """Faces in several modes: the ``records`` that were reconstructed, and the reasons of those ``left_out``.

    By face: the judge's similarity to the photo of the crop (``of_crop``), and by mode (modes,) that of the drawn face to the
    photo (``similarity``) and to the crop (``to_crop``), the ``pixel_error`` and the ``steps`` as the server tells them. The
    first faces are ``shown``.
    """

    records: list[FaceRecord] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    of_crop: list[float] = field(default_factory=list)
    similarity: list[Floats] = field(default_factory=list)
    to_crop: list[Floats] = field(default_factory=list)
    pixel_error: list[list[float]] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    shown: list[Reconstructed] = field(default_factory=list)


@dataclass(frozen=True)
class _Answer:
    """A face as it came back; ``landmarks`` (5, 2) in the photo are the record's, and ``inside`` (5, 2) the same in the crop."""

    record: FaceRecord
    photo: Pixels
    landmarks: Floats
    inside: Floats
    reconstructed: Reconstructed
    pixel_error: list[float]
    steps: list[int]


def read_reconstructions(
    client: Client,
    judge: IdentityJudge,
    records: Sequence[FaceRecord],
    method: str,
    template: AlignmentTemplate,
    modes: Sequence[str],
    max_steps: int | None = None,
    shown: int = 0,
) -> Reconstructions:
    """All ``records`` in all ``modes`` of ``method``, and what the ``judge`` says of them; the server estimates their ages.

    ``template``: what the server's crops are aligned to. ``max_steps``: of each search; ``None``: the server's own number.
    ``DataError`` for all that is not a picture's fault, and if no face is left.
    """
    found = Reconstructions()
    for answers in asked(records, _asking(client, method, template, modes, max_steps), "reconstruction"):
        found.left_out += [answer.reason for answer in answers if isinstance(answer, LeftOut)]
        for answer in answers:
            if isinstance(answer, _Answer):
                _judge(found, judge, answer)
                if len(found.shown) < shown:
                    found.shown.append(answer.reconstructed)
    if not found.records:
        raise DataError(f"the server reconstructed none of {len(records)} faces ({', '.join(set(found.left_out))})")
    return found


def reconstruction_figures(found: Reconstructions, modes: Sequence[str], known: People | None) -> dict[str, Any]:
    """All figures of ``found``, ready for JSON. ``accepted`` is the share that the judge takes for the photo's person.

    ``crop`` is of the photo's own pixels at the networks' resolution: about the most that a reconstruction can reach. ``groups``
    has the same by decade of age, gender and ethnicity; those of fewer than ``FEW`` faces are marked ``few``.
    """
    similarity, to_crop = np.stack(found.similarity), np.stack(found.to_crop)
    threshold = known.threshold if known else None
    errors, steps = np.asarray(found.pixel_error), np.asarray(found.steps)

    def by_mode(own: NDArray[np.bool_]) -> dict[str, Any]:
        return {mode: identity_figures(similarity[own, index], threshold) for index, mode in enumerate(modes)}

    return {
        "faces": face_counts(len(found.records), found.left_out),
        "people": known.figures() if known else None,
        "crop": identity_figures(np.asarray(found.of_crop), threshold),
        "modes": {
            mode: its
            | {
                "to_crop": identity_figures(to_crop[:, index], threshold),
                "pixel_error": round(float(errors[:, index].mean()), 4),
                "steps": round(float(steps[:, index].mean()), 1),
            }
            for index, (mode, its) in enumerate(by_mode(np.ones(len(similarity), dtype=np.bool_)).items())
        },
        "groups": {
            kind: {
                label: {
                    "faces": int((labels == label).sum()),
                    "few": bool((labels == label).sum() < FEW),
                    "modes": by_mode(labels == label),
                }
                for label in in_order(labels)
            }
            for kind, labels in face_groups(found.records).items()
        },
    }


def _asking(
    client: Client, method: str, template: AlignmentTemplate, modes: Sequence[str], max_steps: int | None
) -> Callable[[FaceRecord, Pixels], _Answer | LeftOut]:
    """What asks the server for a face in all ``modes``."""

    def ask(record: FaceRecord, photo: Pixels) -> _Answer | LeftOut:
        landmarks = record.points(photo.shape[1], photo.shape[0])
        try:
            face = _face(client, photo, landmarks)
            if isinstance(face, LeftOut):
                return face
            results = [
                client.reconstruct(
                    photo, faces=face.box, mode=mode, max_steps=max_steps, method=method, format="png"
                ).faces[0]
                for mode in modes
            ]
        except ServerError as error:
            if error.reason is None or not is_of_picture(error.reason):
                raise DataError(f"the server at {client.address}: {error}") from error
            return LeftOut(error.reason)
        except DorianError as error:
            raise DataError(f"{record.name} cannot be sent: {error}") from error
        return _read(record, photo, landmarks, face, template, results)

    return ask


def _face(client: Client, photo: Pixels, landmarks: Floats) -> Face | LeftOut:
    """The face of ``photo`` that has about these ``landmarks`` (5, 2)."""
    faces = client.detect(photo).faces
    boxes = np.asarray([_corners(face.box) for face in faces], dtype=np.float64).reshape(-1, 4)
    index = chosen_face(boxes, landmarks)
    if index is None:
        return LeftOut(ELSEWHERE if faces else "NO_FACE")
    return faces[index]


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.width, box.height


def _read(
    record: FaceRecord,
    photo: Pixels,
    landmarks: Floats,
    face: Face,
    template: AlignmentTemplate,
    results: Sequence[Reconstruction],
) -> _Answer | LeftOut:
    for result in results:
        if result.error is not None:
            return LeftOut(result.error.reason)
    pictures = [_pixels(result) for result in results]
    crop = pictures[0][0]
    matrix = crop_matrix(_points(face.landmarks), template, len(crop))
    return _Answer(
        record,
        photo,
        landmarks,
        np.asarray(cv2.transform(landmarks[None], matrix)[0]),
        Reconstructed(
            crop,
            tuple(drawn for _, drawn in pictures),
            np.asarray([result.latent for result in results], dtype=np.float32),
        ),
        [result.pixel_error or 0.0 for result in results],
        [result.steps for result in results],
    )


def _judge(found: Reconstructions, judge: IdentityJudge, answer: _Answer) -> None:
    """Adds ``answer`` and what the judge says of it to ``found``."""
    inside = [answer.reconstructed.crop, *answer.reconstructed.pictures]
    views = [judge_view(answer.photo, answer.landmarks), *(judge_view(seen, answer.inside) for seen in inside)]
    photo, crop, *drawn = judge.embeddings(np.stack(views)).astype(np.float64)
    found.records.append(answer.record)
    found.of_crop.append(float(photo @ crop))
    found.similarity.append(np.asarray([photo @ each for each in drawn]))
    found.to_crop.append(np.asarray([crop @ each for each in drawn]))
    found.pixel_error.append(answer.pixel_error)
    found.steps.append(answer.steps)


def _pixels(result: Reconstruction) -> tuple[Pixels, Pixels]:
    """Crop and drawn face of a reconstruction without an error."""
    if result.crop is None or result.picture is None:
        raise DataError("the server sent a reconstruction without its pictures")
    words = "what the server sent"
    return decoded(result.crop.data, words), decoded(result.picture.data, words)


def _points(landmarks: Landmarks | None) -> Floats:
    if landmarks is None:
        raise DataError("the server sent a face without landmarks")
    return np.asarray(astuple(landmarks), dtype=np.float64)
