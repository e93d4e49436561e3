"""What judges measure of faces that a server has aged, and of the real faces that these are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_client import Client, Method
from dorian_evaluation.ageing.aged_face import AgedFace, Optimisation, age_face
from dorian_evaluation.ageing.grid_energy import crop_delta, power_spectrum
from dorian_evaluation.ageing.sheet import Row
from dorian_evaluation.ageing.targets import Target, find_faces_of_age
from dorian_evaluation.images import Pixels
from dorian_evaluation.judges.base import AgeJudge, IdentityJudge
from dorian_evaluation.server_calls import SkippedFace, draws_ages, map_faces
from dorian_training.data.crops import cut_crops, cut_face
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judges:
    """A judge of age and one of identity."""

    age: AgeJudge
    identity: IdentityJudge


@dataclass(frozen=True)
class RealFaces:
    """Real faces of about one age.

    Attributes:
        ages: In years, (faces,).
        judged: Ages by the judge, (faces,).
        window: Years that ``ages`` may be off.
    """

    ages: Floats
    judged: Floats
    window: int


@dataclass
class Measurements:
    """What judges measure of faces at several targets. Lists have an entry per measured face.

    Attributes:
        records: The faces.
        skipped: Reasons of the faces that were skipped.
        before: Judged ages in the photos.
        after: Judged ages, (targets,).
        similarity: To the photo, (targets,).
        unchanged: Mean absolute change in grey levels over the face's box and over the photo, with the source age as
            target; an entry per face for which that was measured.
        power: Sum of the spectra of what was added, (crop, crop).
        delta_count: How many spectra that are.
        rows: Of a sheet that shows the first faces.
    """

    records: list[FaceRecord] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[Floats] = field(default_factory=list)
    similarity: list[Floats] = field(default_factory=list)
    unchanged: list[tuple[float, float]] = field(default_factory=list)
    power: Floats = field(default_factory=lambda: np.zeros((1, 1)))
    delta_count: int = 0
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _AgedRecord:
    """A record's photo and aged face; ``unchanged`` is the photo with the source age as target."""

    record: FaceRecord
    photo: Pixels
    face: AgedFace
    unchanged: Pixels | None


def measure_aged_faces(
    client: Client,
    judges: Judges,
    records: Sequence[FaceRecord],
    method: Method,
    targets: Sequence[Target],
    strength: float,
    shown: tuple[str | None, int] = (None, 0),
    optimisation: Optimisation = "none",
) -> Measurements:
    """Age faces at all targets, with source ages that the server estimates, and let the judges measure them.

    Args:
        client: Of the server.
        judges: The judges.
        records: The faces.
        method: The method.
        targets: The targets.
        strength: Factor on the change.
        shown: Of which data set, None for any, and how many of the first faces are kept as rows of a sheet.
        optimisation: How long latents are searched; not for unchanged faces, where any latent adds nothing.

    Raises:
        DataError: A call failed for a reason that is not a photo's fault, or no face is left.
    """
    measurements = Measurements(power=np.zeros((method.crop_size, method.crop_size)))
    search = "" if optimisation == "none" else f", {optimisation} search"
    title = f"{method.name} × {strength:g}{search}"
    for results in map_faces(records, _make_call(client, method, targets, strength, optimisation), title):
        aged = [result for result in results if isinstance(result, _AgedRecord)]
        measurements.skipped += [result.reason for result in results if isinstance(result, SkippedFace)]
        _measure(measurements, judges, aged, method.crop_size)
        source, max_rows = shown
        fitting = [result for result in aged if source in (None, result.record.source)]
        for result in fitting[: max_rows - len(measurements.rows)]:
            measurements.rows.append(Row((result.photo, *result.face.images), [result.face.landmarks]))
    if not measurements.records:
        reasons = ", ".join(set(measurements.skipped))
        raise DataError(f"{title}: the server aged none of {len(records)} faces ({reasons})")
    return measurements


def measure_real_faces(
    judge: AgeJudge, records: Sequence[FaceRecord], ages: Sequence[float], prefer_exact: bool = True
) -> dict[float, RealFaces]:
    """Let the judge estimate the ages of real faces of about each of ``ages``, see ``find_faces_of_age``; ages without any are left out."""
    selected = {years: find_faces_of_age(records, years, prefer_exact) for years in ages}
    needed = np.unique(np.concatenate([indices for indices, _ in selected.values()], dtype=np.int64, casting="unsafe"))
    if not len(needed):
        return {}
    crops = cut_crops([records[index] for index in needed], judge.crop_size)
    judged_age = dict(zip(crops.records, judge.ages(crops.pixels), strict=True))
    real = {}
    for years, (indices, window) in selected.items():
        faces = [records[index] for index in indices]
        pairs = [(face.age, judged_age[face]) for face in faces if face in judged_age and face.age is not None]
        if pairs:
            actual, judged = np.asarray(pairs, dtype=np.float64).T
            real[years] = RealFaces(actual, judged, window)
    return real


def mean_change(before: Pixels, after: Pixels, box: Floats) -> tuple[float, float]:
    """Return the mean absolute change in grey levels over a box and over the whole image.

    Args:
        before: The image (height, width, 3).
        after: The changed image.
        box: Left, top, width, height, (4,); clipped to the image.
    """
    change = np.abs(after.astype(np.float64) - before)
    height, width = change.shape[:2]
    left, top = np.clip(np.floor(box[:2]), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(box[:2] + box[2:]), (left + 1, top + 1), (width, height)).astype(int)
    return float(change[top:bottom, left:right].mean()), float(change.mean())


def _make_call(
    client: Client, method: Method, targets: Sequence[Target], strength: float, optimisation: Optimisation
) -> Callable[[FaceRecord, Pixels], _AgedRecord | SkippedFace]:
    """Return the function that ages a face at all targets and, where its age is known, at its own."""

    def call(record: FaceRecord, photo: Pixels) -> _AgedRecord | SkippedFace:
        landmarks = record.points(photo.shape[1], photo.shape[0])
        face = age_face(client, photo, landmarks, targets, method.name, strength, optimisation=optimisation)
        if isinstance(face, SkippedFace):
            return face
        if not draws_ages(method) or record.age is None:
            return _AgedRecord(record, photo, face, None)
        source = Target("source", record.age)
        unchanged = age_face(client, photo, landmarks, [source], method.name, strength, source=record.age)
        if isinstance(unchanged, SkippedFace):
            return unchanged
        return _AgedRecord(record, photo, face, unchanged.images[0])

    return call


def _measure(measurements: Measurements, judges: Judges, aged: Sequence[_AgedRecord], crop_size: int) -> None:
    """Add what the judges measure; they see crops by the records' landmarks, not by the server's."""
    if not aged:
        return
    images = [(result.record, image) for result in aged for image in (result.photo, *result.face.images)]
    per_face = len(images) // len(aged)  # 1 + targets
    size = judges.age.crop_size
    crops = np.stack([cut_face(image, record, DEFAULT_TEMPLATE, size) for record, image in images])
    ages = judges.age.ages(crops).reshape(-1, per_face)
    template, size = judges.identity.template, judges.identity.crop_size
    crops = np.stack([cut_face(image, record, template, size) for record, image in images])
    embeddings = judges.identity.embeddings(crops).reshape(len(aged), per_face, -1).astype(np.float64)
    measurements.records += [result.record for result in aged]
    measurements.before += ages[:, 0].tolist()
    measurements.after += list(ages[:, 1:])
    measurements.similarity += list(np.einsum("fe,fte->ft", embeddings[:, 0], embeddings[:, 1:]))
    for result in aged:
        if result.unchanged is not None:
            measurements.unchanged.append(mean_change(result.photo, result.unchanged, result.face.box))
        for image in result.face.images:
            delta = crop_delta(result.photo, image, result.face.landmarks, DEFAULT_TEMPLATE, crop_size)
            measurements.power += power_spectrum(delta)
            measurements.delta_count += 1
