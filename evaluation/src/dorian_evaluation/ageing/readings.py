"""What the judges read from faces that a server has aged, and from the real faces that these are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_evaluation.ageing.grid_energy import crop_delta, power_spectrum
from dorian_evaluation.ageing.seams import Pixels
from dorian_evaluation.ageing.service import AgedFace, AgeingService, LeftOut, OfferedMethod, Optimisation
from dorian_evaluation.ageing.sheet import Row
from dorian_evaluation.ageing.targets import Aim, faces_of_age
from dorian_evaluation.faces.identities import RATE, EmbeddedFaces, identities_of, people
from dorian_evaluation.judges.age_judge import AgeJudge
from dorian_evaluation.judges.identity_judge import SIZE, TEMPLATE, IdentityJudge
from dorian_evaluation.requests import asked
from dorian_training.data.crops import cut_crops, cut_face
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError
from dorian_training.verification import threshold_at

AGE_SIZE = 128  # pixels a side of the crops that the judge of age sees

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judges:
    """A judge of ``age`` and one of ``identity``."""

    age: AgeJudge
    identity: IdentityJudge


@dataclass(frozen=True)
class RealFaces:
    """Real faces of about one age: their own ``ages`` and those ``read`` by the judge, (faces,), at most ``window`` years off."""

    ages: Floats
    read: Floats
    window: int


@dataclass(frozen=True)
class People:
    """How faces of known people compare: the ``threshold`` of similarity, and the mean of one person's pairs (``same``)."""

    people: int
    faces: int
    threshold: float
    same: float

    def figures(self) -> dict[str, float]:
        """The same for JSON."""
        return {
            "people": self.people,
            "faces": self.faces,
            "threshold": round(self.threshold, 4),
            "same": round(self.same, 4),
        }


@dataclass
class Readings:
    """Faces at several aims: the ``records`` that were aged, and the reasons of those ``left_out``.

    By face: the judged age ``before``, and by aim (aims,) the judged age ``after`` and the ``similarity`` to the photo. Where
    it was asked for, mean absolute change in grey levels over the face's box and over the picture, with source and target
    equal (``unchanged``). ``power`` is the sum of spectra of what was added, over ``deltas`` of them; ``rows`` are for a sheet.
    """

    records: list[FaceRecord] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[Floats] = field(default_factory=list)
    similarity: list[Floats] = field(default_factory=list)
    unchanged: list[tuple[float, float]] = field(default_factory=list)
    power: Floats = field(default_factory=lambda: np.zeros((1, 1)))
    deltas: int = 0
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Answer:
    """A face that was sent, as it came back; ``same`` is its picture with source and target equal."""

    record: FaceRecord
    picture: Pixels
    aged: AgedFace
    same: Pixels | None


def read_aged(
    service: AgeingService,
    judges: Judges,
    records: Sequence[FaceRecord],
    method: OfferedMethod,
    aims: Sequence[Aim],
    strength: float,
    shown: tuple[str | None, int] = (None, 0),
    optimisation: Optimisation = "none",
) -> Readings:
    """The judges' readings of all ``records`` at all ``aims``; the server estimates the faces' ages.

    ``shown``: from which source (``None``: from any), and how many, of the first faces are kept as rows of a sheet.
    ``optimisation``: how long their latents are searched; not for the face at its own age, where any latent adds nothing.
    """
    readings = Readings(power=np.zeros((method.crop_size, method.crop_size)))
    words = f"{method.name} × {strength:g}" + ("" if optimisation == "none" else f", {optimisation} search")
    for answers in asked(records, _asking(service, method, aims, strength, optimisation), words):
        found = [answer for answer in answers if isinstance(answer, _Answer)]
        readings.left_out += [answer.reason for answer in answers if isinstance(answer, LeftOut)]
        _judge(readings, judges, found, method.crop_size)
        source, most = shown
        fitting = [answer for answer in found if source in (None, answer.record.source)]
        for answer in fitting[: most - len(readings.rows)]:
            readings.rows.append(Row((answer.picture, *answer.aged.pictures), [answer.aged.landmarks]))
    if not readings.records:
        raise DataError(f"{words}: the server aged none of {len(records)} faces ({', '.join(set(readings.left_out))})")
    return readings


def read_real(judge: AgeJudge, records: Sequence[FaceRecord], ages: Sequence[float]) -> dict[float, RealFaces]:
    """What the ``judge`` reads from the real faces among ``records`` that are of about each of ``ages``; some may have none."""
    chosen = {years: faces_of_age(records, years) for years in ages}
    needed = np.unique(np.concatenate([indices for indices, _ in chosen.values()], dtype=np.int64, casting="unsafe"))
    if not len(needed):
        return {}
    crops = cut_crops([records[index] for index in needed], AGE_SIZE)
    read = dict(zip(crops.records, judge.ages(crops.pixels), strict=True))
    found = {}
    for years, (indices, window) in chosen.items():
        pairs = [(r.age, read[r]) for r in (records[index] for index in indices) if r in read and r.age is not None]
        if pairs:
            own, judged = np.asarray(pairs, dtype=np.float64).T
            found[years] = RealFaces(own, judged, window)
    return found


def read_people(judge: IdentityJudge, records: Sequence[FaceRecord], cache: Path | None = None) -> People | None:
    """How the faces of known people among ``records`` compare, at ``RATE`` of false accepts; ``None`` if there are none."""
    known = people(records)
    if not known:
        return None
    crops = cut_crops(known, SIZE, cache, TEMPLATE)
    faces = EmbeddedFaces(judge.embeddings(crops.pixels), identities_of(crops.records))
    similarity, same = faces.every()
    return People(
        people=int(faces.identities.max()) + 1,
        faces=len(faces.identities),
        threshold=threshold_at(similarity, same, RATE),
        same=float(similarity[same].mean()),
    )


def mean_change(before: Pixels, after: Pixels, box: Floats) -> tuple[float, float]:
    """Mean absolute change over ``box`` (x, y, width, height), cut to the picture, and over all of it, in grey levels."""
    change = np.abs(after.astype(np.float64) - before)
    height, width = change.shape[:2]
    left, top = np.clip(np.floor(box[:2]), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(box[:2] + box[2:]), (left + 1, top + 1), (width, height)).astype(int)
    return float(change[top:bottom, left:right].mean()), float(change.mean())


def _asking(
    service: AgeingService, method: OfferedMethod, aims: Sequence[Aim], strength: float, optimisation: Optimisation
) -> Callable[[FaceRecord, Pixels], _Answer | LeftOut]:
    """What asks the server for a face at all ``aims``, and for the face at its own age, where that is known."""

    def ask(record: FaceRecord, picture: Pixels) -> _Answer | LeftOut:
        landmarks = record.points(picture.shape[1], picture.shape[0])
        aged = service.aged(picture, landmarks, aims, method.name, strength, optimisation=optimisation)
        if isinstance(aged, LeftOut):
            return aged
        if not method.draws_ages or record.age is None:
            return _Answer(record, picture, aged, None)
        own = [Aim("own", record.age)]
        same = service.aged(picture, landmarks, own, method.name, strength, source=record.age)
        return same if isinstance(same, LeftOut) else _Answer(record, picture, aged, same.pictures[0])

    return ask


def _judge(readings: Readings, judges: Judges, answers: Sequence[_Answer], crop_size: int) -> None:
    """Adds what the judges read from ``answers`` to ``readings``; crops follow the records' landmarks, not the server's."""
    if not answers:
        return
    pictures = [(answer.record, picture) for answer in answers for picture in (answer.picture, *answer.aged.pictures)]
    each = len(pictures) // len(answers)
    seen = np.stack([cut_face(picture, record, DEFAULT_TEMPLATE, AGE_SIZE) for record, picture in pictures])
    ages = judges.age.ages(seen).reshape(-1, each)
    seen = np.stack([cut_face(picture, record, TEMPLATE, SIZE) for record, picture in pictures])
    embeddings = judges.identity.embeddings(seen).reshape(len(answers), each, -1).astype(np.float64)
    readings.records += [answer.record for answer in answers]
    readings.before += ages[:, 0].tolist()
    readings.after += list(ages[:, 1:])
    readings.similarity += list(np.einsum("fe,fae->fa", embeddings[:, 0], embeddings[:, 1:]))
    for answer in answers:
        if answer.same is not None:
            readings.unchanged.append(mean_change(answer.picture, answer.same, answer.aged.box))
        for picture in answer.aged.pictures:
            delta = crop_delta(answer.picture, picture, answer.aged.landmarks, DEFAULT_TEMPLATE, crop_size)
            readings.power += power_spectrum(delta)
            readings.deltas += 1
