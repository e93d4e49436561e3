"""Ageing end to end: the photos of a folder through a server, and the results measured against them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_client import AgedPhoto, Client, FaceReport, InvalidRequest, PhotoError
from dorian_evaluation.ageing.seams import changed_pixels, count_outside, measure_seam
from dorian_evaluation.ageing.sheet import Row
from dorian_evaluation.images import Pixels, decode_image
from dorian_evaluation.server_calls import landmark_points
from dorian_training.errors import DataError

AGES = (25, 65)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def list_photos(folder: Path) -> list[Path]:
    """Return the photos of a folder by name; raise DataError if it has none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise DataError(f"{folder} has no photos ({', '.join(_SUFFIXES)})")
    return paths


def measure_photos(
    client: Client, paths: Sequence[Path], template: AlignmentTemplate
) -> tuple[dict[str, Any], list[Row]]:
    """Age photos to ``AGES`` and compare the results with them, pixel by pixel; they are sent and returned losslessly.

    Args:
        client: Of the server.
        paths: The photos.
        template: What the server's crops are aligned to.

    Returns:
        Metrics of all photos together and of each, or why the server rejected it; and the rows of a sheet that shows them.

    Raises:
        DataError: A photo cannot be decoded, or comes back at another size.
        dorian_client.DorianError: A call failed for a reason that is not a photo's fault.
    """
    photos: dict[str, Any] = {}
    rows: list[Row] = []
    for path in paths:
        original = decode_image(path.read_bytes(), path.name)
        try:
            result = client.age(original, list(AGES), format="png")
        except (InvalidRequest, PhotoError) as error:
            photos[path.name] = {"refused": str(error)}
            continue
        images = [decode_image(aged.picture.data, path.name) for aged in result.photos]
        landmarks = _detected_landmarks(result.photos[0].faces)
        photos[path.name] = {
            str(age): _photo_metrics(original, image, aged, landmarks, template)
            for age, image, aged in zip(AGES, images, result.photos, strict=True)
        }
        rows.append(Row((original, *images), landmarks))
    return {"summary": _summarise(photos), "photos": photos}, rows


def _photo_metrics(
    original: Pixels,
    image: Pixels,
    aged: AgedPhoto,
    landmarks: Sequence[NDArray[np.float64]],
    template: AlignmentTemplate,
) -> dict[str, Any]:
    if image.shape != original.shape:
        raise DataError(f"the server returned a photo of shape {original.shape} as {image.shape}")
    changed = changed_pixels(original, image)
    seam = measure_seam(original, image)
    return {
        "changed_pixels": int(changed.sum()),
        "changed_outside": count_outside(changed, landmarks, template),
        "seam_of_change": None if seam is None else round(seam.change, 2),
        "seam_of_photo": None if seam is None else round(seam.photo, 2),
        "faces": [_face_metrics(report) for report in aged.faces],
    }


def _face_metrics(report: FaceReport) -> dict[str, Any]:
    return {
        "age_after": _round(report.estimated_age_after, 1),
        "similarity": _round(report.identity_similarity, 3),
        "error": report.error.reason if report.error else None,
    }


def _summarise(photos: dict[str, Any]) -> dict[str, Any]:
    """Return, by age, sums of pixels and means over photos and faces, over all photos that were aged."""
    aged = [metrics for metrics in photos.values() if "refused" not in metrics]
    summary: dict[str, Any] = {"photos": len(photos), "refused": len(photos) - len(aged)}
    for age in map(str, AGES):
        at_age = [metrics[age] for metrics in aged]
        faces = [face for metrics in at_age for face in metrics["faces"]]
        summary[age] = {
            "faces": sum(face["error"] is None for face in faces),
            "failed_faces": sum(face["error"] is not None for face in faces),
            "changed_outside": sum(metrics["changed_outside"] for metrics in at_age),
            "seam_of_change": _mean([metrics["seam_of_change"] for metrics in at_age], 2),
            "seam_of_photo": _mean([metrics["seam_of_photo"] for metrics in at_age], 2),
            "age_after": _mean([face["age_after"] for face in faces], 1),
            "similarity": _mean([face["similarity"] for face in faces], 3),
        }
    return summary


def _detected_landmarks(reports: Sequence[FaceReport]) -> list[NDArray[np.float64]]:
    faces = [report.face for report in reports if report.face is not None]
    return [landmark_points(face.landmarks) for face in faces if face.landmarks is not None]


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _mean(values: Sequence[float | None], digits: int) -> float | None:
    present = [value for value in values if value is not None]
    return round(float(np.mean(present)), digits) if present else None
