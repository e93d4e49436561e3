"""Ageing end to end: photos sent to a server, and what comes back measured against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_evaluation.ageing.seams import Pixels, changed_outside, changed_pixels, seam
from dorian_evaluation.ageing.sheet import Row
from dorian_evaluation.image_files import decoded
from dorian_training.errors import DataError

if TYPE_CHECKING:
    from dorian_client import AgedPhoto, Client, FaceReport

AGES = (25, 65)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def photos_in(folder: Path) -> list[Path]:
    """The photos of ``folder`` by name; ``DataError`` if it has none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise DataError(f"{folder} has no photos ({', '.join(_SUFFIXES)})")
    return found


def measured_ageing(
    client: Client, paths: Sequence[Path], template: AlignmentTemplate
) -> tuple[dict[str, Any], list[Row]]:
    """Figures of all photos together and of each, and the rows of a sheet that shows them.

    Photos travel as they were decoded here, and come back as PNG, so that every pixel can be compared. One that the server
    refuses has the refusal in place of figures.
    """
    from dorian_client import InvalidRequest, PhotoError

    photos: dict[str, Any] = {}
    rows: list[Row] = []
    for path in paths:
        original = decoded(path.read_bytes(), path.name)
        try:
            result = client.age(original, list(AGES), format="png")
        except (InvalidRequest, PhotoError) as error:
            photos[path.name] = {"refused": str(error)}
            continue
        pictures = [decoded(aged.picture.data, path.name) for aged in result.photos]
        landmarks = _landmarks(result.photos[0].faces)
        photos[path.name] = {
            str(age): _figures(original, pixels, aged, landmarks, template)
            for age, pixels, aged in zip(AGES, pictures, result.photos, strict=True)
        }
        rows.append(Row((original, *pictures), landmarks))
    return {"summary": _summary(photos), "photos": photos}, rows


def _figures(
    original: Pixels,
    pixels: Pixels,
    aged: AgedPhoto,
    landmarks: Sequence[NDArray[np.float64]],
    template: AlignmentTemplate,
) -> dict[str, Any]:
    if pixels.shape != original.shape:
        raise DataError(f"a photo of shape {original.shape} came back as {pixels.shape}")
    changed = changed_pixels(original, pixels)
    along = seam(original, pixels)
    return {
        "changed_pixels": int(changed.sum()),
        "changed_outside": changed_outside(changed, landmarks, template),
        "seam_of_change": None if along is None else round(along.change, 2),
        "seam_of_photo": None if along is None else round(along.photo, 2),
        "faces": [_face(report) for report in aged.faces],
    }


def _face(report: FaceReport) -> dict[str, Any]:
    return {
        "age_after": _rounded(report.estimated_age_after, 1),
        "similarity": _rounded(report.identity_similarity, 3),
        "error": report.error.reason if report.error else None,
    }


def _summary(photos: dict[str, Any]) -> dict[str, Any]:
    """By age, over all photos that were aged: sums of pixels, and means over photos and faces."""
    aged = [figures for figures in photos.values() if "refused" not in figures]
    summary: dict[str, Any] = {"photos": len(photos), "refused": len(photos) - len(aged)}
    for age in map(str, AGES):
        each = [figures[age] for figures in aged]
        faces = [face for figures in each for face in figures["faces"]]
        summary[age] = {
            "faces": sum(face["error"] is None for face in faces),
            "failed_faces": sum(face["error"] is not None for face in faces),
            "changed_outside": sum(figures["changed_outside"] for figures in each),
            "seam_of_change": _mean([figures["seam_of_change"] for figures in each], 2),
            "seam_of_photo": _mean([figures["seam_of_photo"] for figures in each], 2),
            "age_after": _mean([face["age_after"] for face in faces], 1),
            "similarity": _mean([face["similarity"] for face in faces], 3),
        }
    return summary


def _landmarks(reports: Sequence[FaceReport]) -> list[NDArray[np.float64]]:
    faces = [report.face for report in reports if report.face is not None]
    return [np.asarray(astuple(face.landmarks), dtype=np.float64) for face in faces if face.landmarks is not None]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mean(values: Sequence[float | None], digits: int) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), digits) if known else None
