"""Age-conditioned generation (Antipov et al. 2017): faces drawn from random latents, and whether they look their age group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import MAX_AGE, MIN_AGE, AgeGroup, group_of_age
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_bundle.tensors import images_to_crops
from dorian_evaluation.judges.base import AgeJudge
from dorian_training.data.batches import groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError

_BATCH_SIZE = 64

Floats = NDArray[np.float64]


def random_latents(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """Return latents (count, size) from the standard normal distribution, as in training."""
    return np.random.default_rng(seed).standard_normal((count, size), dtype=np.float32)


def generate_faces(
    generator: RunGraph, latents: NDArray[np.float32], groups: NDArray[np.int64], group_count: int
) -> NDArray[np.uint8]:
    """Draw faces from latents.

    Args:
        generator: The graph.
        latents: (faces, latent).
        groups: Index of each face's age group, (faces,).
        group_count: Number of age groups.

    Returns:
        RGB uint8 (faces, size, size, 3).
    """
    conditions = np.eye(group_count, dtype=np.float32)[groups]  # (faces, groups)
    images = [
        generator({"latent": latents[i : i + _BATCH_SIZE], "condition": conditions[i : i + _BATCH_SIZE]})["image"]
        for i in range(0, len(latents), _BATCH_SIZE)
    ]
    return images_to_crops(np.concatenate(images))


def generation_metrics(
    generator: RunGraph, method: AgeCganMethod, judge: AgeJudge, real: Crops, count: int, seed: int
) -> dict[str, Any]:
    """Return how old generated faces are judged in each age group, beside real faces.

    The same latents serve every group, so that only the condition differs. Of the real faces as many of each group are
    sampled as the smallest has, and no more than are generated.

    Args:
        generator: The graph that draws faces.
        method: Its method.
        judge: Estimates ages.
        real: Real faces, all of known age.
        count: Faces to generate, all groups together.
        seed: Of the latents and the sample.

    Returns:
        ``generated`` and ``real``: mean judged ages in years by group. ``rising``: whether the generated means rise from each
        group to the next; ``span``: the last less the first. ``accuracy``: share of the faces whose judged age falls into
        their group; ``relative`` is how much lower it is on generated faces, as a share of that on real ones. ``confusion``:
        shares by group and judged group.
    """
    groups, per_group = method.age_groups, count // len(method.age_groups)
    labels = [group.label for group in groups]
    latents = random_latents(per_group, method.latent_size, seed)
    generated_ages = [
        judge.ages(generate_faces(generator, latents, np.full(per_group, index), len(groups)))
        for index in range(len(groups))
    ]
    sample = sample_evenly(real, groups, per_group, seed)
    real_ages = [judge.ages(faces.pixels) for faces in sample]
    confusion = {
        "generated": confusion_matrix(generated_ages, groups),
        "real": confusion_matrix(real_ages, groups),
    }
    means = [float(ages.mean()) for ages in generated_ages]
    return {
        "faces_per_group": per_group,
        "real_per_group": len(real_ages[0]),
        "generated": {label: round(mean, 2) for label, mean in zip(labels, means, strict=True)},
        "real": {label: round(float(ages.mean()), 2) for label, ages in zip(labels, real_ages, strict=True)},
        "rising": bool(np.all(np.diff(means) > 0)),
        "span": round(means[-1] - means[0], 2),
        "judge_error_on_real": _judge_error(sample, real_ages),
        "accuracy": _accuracies(confusion["generated"], confusion["real"]),
        "confusion": {kind: _label_confusion(shares, labels) for kind, shares in confusion.items()},
        "seed": seed,
    }


def sample_evenly(real: Crops, groups: Sequence[AgeGroup], max_count: int, seed: int) -> list[Crops]:
    """Return random faces of each age group: as many as the smallest has, at most ``max_count``.

    Raises:
        DataError: A group has no face.
    """
    indices = groups_of(real, groups)  # (faces,)
    members = [np.flatnonzero(indices == index) for index in range(len(groups))]
    empty = [group.label for group, faces in zip(groups, members, strict=True) if not len(faces)]
    if empty:
        raise DataError(f"no real face of the test split is of the age group {', '.join(empty)}")
    random, count = np.random.default_rng(seed), min(max_count, *map(len, members))
    return [real.where(np.isin(np.arange(len(real)), random.permutation(faces)[:count])) for faces in members]


def confusion_matrix(ages: Sequence[Floats], groups: Sequence[AgeGroup]) -> Floats:
    """Return the shares (groups, groups) of each group's faces whose judged age falls into each group.

    Args:
        ages: Judged ages in years, (faces,), by group.
        groups: The age groups.
    """
    shares = np.zeros((len(groups), len(groups)))
    for row, judged in zip(shares, ages, strict=True):
        indices = [group_of_age(groups, age) for age in np.clip(judged, MIN_AGE, MAX_AGE)]
        row[:] = np.bincount(indices, minlength=len(groups)) / len(indices)
    return shares


def _accuracies(generated_shares: Floats, real_shares: Floats) -> dict[str, float | None]:
    generated, real = (float(np.diag(shares).mean()) for shares in (generated_shares, real_shares))
    return {
        "generated": round(generated, 4),
        "real": round(real, 4),
        "difference": round(generated - real, 4),
        "relative": round(1 - generated / real, 4) if real else None,
    }


def _label_confusion(shares: Floats, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    return {
        label: {judged: round(float(share), 4) for judged, share in zip(labels, row, strict=True)}
        for label, row in zip(labels, shares, strict=True)
    }


def _judge_error(sample: Sequence[Crops], ages: Sequence[Floats]) -> float | None:
    """Return the judge's mean absolute error in years on faces of exact age; None if there are none."""
    errors = [
        abs(record.age - judged)
        for faces, judged_ages in zip(sample, ages, strict=True)
        for record, judged in zip(faces.records, judged_ages, strict=True)
        if record.age is not None and record.age_low == record.age_high
    ]
    return round(float(np.mean(errors)), 2) if errors else None
