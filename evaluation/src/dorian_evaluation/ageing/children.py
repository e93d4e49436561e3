"""Children made older: whether they stay themselves, keep their eyes, and get no spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.tensors import luma
from dorian_evaluation.ageing.aligned_faces import CROP_SIZE, AlignedFace
from dorian_evaluation.ageing.measurements import Judges
from dorian_evaluation.ageing.regions import region
from dorian_evaluation.ageing.spots import spot_counts
from dorian_evaluation.ageing.targets import Target
from dorian_training.data.crops import cut_face

CHILDREN: Mapping[str, tuple[float, float]] = {"3-5": (3.0, 5.9), "6-12": (6.0, 12.9)}  # years, first and last

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AgedChild:
    """What is measured of a child, (targets,) each.

    Attributes:
        similarity: To the photo.
        judged: Judged ages.
        dark: Dark spots.
        contrast: Of the eyes, as a share of that in the photo.
    """

    similarity: Floats
    judged: Floats
    dark: NDArray[np.int64]
    contrast: Floats


def eye_contrast(crops: NDArray[np.uint8]) -> Floats:
    """Return the standard deviation of luma between the lids of crops (crops, CROP_SIZE, CROP_SIZE, 3), in grey levels."""
    return np.asarray(luma(crops)[:, region(CROP_SIZE, "eyes")].std(axis=1), dtype=np.float64)


def measure_child(face: AlignedFace, kept: AlignedFace, judges: Judges) -> AgedChild:
    """Let the judges measure one child; spots are counted on ``kept``, of which hair was kept: beside grey hair, skin is darker."""
    template, size = judges.identity.template, judges.identity.crop_size
    embeddings = judges.identity.embeddings(
        np.stack([cut_face(image, face.record, template, size) for image in face.images])
    ).astype(np.float64)
    contrast = eye_contrast(face.crops)
    return AgedChild(
        similarity=embeddings[1:] @ embeddings[0],
        judged=judges.age.ages(face.crops)[1:],
        dark=spot_counts(kept)[:, 0],
        contrast=contrast[1:] / max(float(contrast[0]), 1e-6),
    )


def child_metrics(children: Sequence[AgedChild], targets: Sequence[Target], threshold: float | None) -> dict[str, Any]:
    """Return, by target, means over children.

    Args:
        children: What was measured of each.
        targets: The targets.
        threshold: Similarity from which a judge accepts two faces as one person; None if no known people were given.

    Returns:
        ``judged`` age, ``similarity``, share ``accepted``, share ``clean`` of dark spots, and the mean ``eyes`` keep of their contrast.
    """
    metrics = {}
    for index, target in enumerate(targets):
        similarity = np.asarray([child.similarity[index] for child in children])
        metrics[target.label] = {
            "judged": round(float(np.mean([child.judged[index] for child in children])), 1),
            "similarity": round(float(similarity.mean()), 4),
            "accepted": None if threshold is None else round(float((similarity >= threshold).mean()), 4),
            "clean": round(float(np.mean([child.dark[index] == 0 for child in children])), 4),
            "eyes": round(float(np.mean([child.contrast[index] for child in children])), 3),
        }
    return metrics
