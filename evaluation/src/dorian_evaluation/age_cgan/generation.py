"""Age-conditioned generation (Antipov et al. 2017): faces drawn from random latents, and whether they look their group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.ages import MAX_AGE, MIN_AGE, AgeGroup, group_of_age
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_bundle.tensors import images_to_crops
from dorian_evaluation.judges.age_judge import AgeJudge
from dorian_training.data.batches import groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError

_BATCH = 64

Floats = NDArray[np.float64]


def random_latents(count: int, size: int, seed: int) -> NDArray[np.float32]:
    """``count`` latents (count, size) from the standard normal distribution, as in training."""
    return np.random.default_rng(seed).standard_normal((count, size), dtype=np.float32)


def generated_faces(
    generator: RunGraph, latents: NDArray[np.float32], groups: NDArray[np.int64], of: int
) -> NDArray[np.uint8]:
    """Faces RGB uint8 (faces, size, size, 3) that ``generator`` draws from ``latents`` (faces, latent), each in its age group.

    ``groups`` (faces,) are indices, from 0 to ``of``.
    """
    conditions = np.eye(of, dtype=np.float32)[groups]
    images = [
        generator({"latent": latents[i : i + _BATCH], "condition": conditions[i : i + _BATCH]})["image"]
        for i in range(0, len(latents), _BATCH)
    ]
    return images_to_crops(np.concatenate(images))


def generation_figures(
    generator: RunGraph, method: AgeCganMethod, judge: AgeJudge, real: Crops, count: int, seed: int
) -> dict[str, Any]:
    """What the ``judge`` reads from ``count`` generated faces, equally many of each age group, and from ``real`` ones.

    Of the real faces as many of each group are drawn as of the smallest, and no more than are generated. The same latents serve
    every group, so that only the condition differs. ``accuracy`` is the share of faces whose judged age falls into their group,
    over all and by group; ``relative`` is how much lower it is on generated faces, as a share of that on real ones.
    ``confusion`` has these shares by group and judged group; ``generated`` and ``real`` are mean judged ages in years. ``rising``:
    whether the generated means rise from each group to the next; ``span``: the last less the first.
    """
    groups, each = method.age_groups, count // len(method.age_groups)
    labels = [group.label for group in groups]
    latents = random_latents(each, method.latent_size, seed)
    generated = [
        judge.ages(generated_faces(generator, latents, np.full(each, g), len(groups))) for g in range(len(groups))
    ]
    drawn = evenly_drawn(real, groups, each, seed)
    read = [judge.ages(faces.pixels) for faces in drawn]
    confusion = {"generated": confusion_of(generated, groups), "real": confusion_of(read, groups)}
    accuracy = {kind: float(np.diag(shares).mean()) for kind, shares in confusion.items()}
    means = [float(ages.mean()) for ages in generated]
    return {
        "faces_per_group": each,
        "real_per_group": len(read[0]),
        "generated": {label: round(mean, 2) for label, mean in zip(labels, means, strict=True)},
        "real": {label: round(float(ages.mean()), 2) for label, ages in zip(labels, read, strict=True)},
        "rising": bool(np.all(np.diff(means) > 0)),
        "span": round(means[-1] - means[0], 2),
        "judge_error_on_real": _error(drawn, read),
        "accuracy": {
            **{kind: round(value, 4) for kind, value in accuracy.items()},
            "difference": round(accuracy["generated"] - accuracy["real"], 4),
            "relative": round(1 - accuracy["generated"] / accuracy["real"], 4) if accuracy["real"] else None,
        },
        "confusion": {
            kind: {
                asked: {judged: round(float(value), 4) for judged, value in zip(labels, row, strict=True)}
                for asked, row in zip(labels, shares, strict=True)
            }
            for kind, shares in confusion.items()
        },
        "seed": seed,
    }


def evenly_drawn(real: Crops, groups: Sequence[AgeGroup], most: int, seed: int) -> list[Crops]:
    """Faces of each of ``groups``, drawn from ``real``: as many as the smallest group has, at most ``most``.

    ``DataError`` if a group has none.
    """
    own = groups_of(real, groups)
    members = [np.flatnonzero(own == index) for index in range(len(groups))]
    empty = [group.label for group, faces in zip(groups, members, strict=True) if not len(faces)]
    if empty:
        raise DataError(f"no real face of the test split is of the age group {', '.join(empty)}")
    random, each = np.random.default_rng(seed), min(most, *map(len, members))
    return [real.where(np.isin(np.arange(len(real)), random.permutation(faces)[:each])) for faces in members]


def confusion_of(ages: Sequence[Floats], groups: Sequence[AgeGroup]) -> Floats:
    """Shares (groups, groups) of the faces of each group whose judged ``ages`` in years, group by group, fall into each."""
    shares = np.zeros((len(groups), len(groups)))
    for row, judged in zip(shares, ages, strict=True):
        found = [group_of_age(groups, age) for age in np.clip(judged, MIN_AGE, MAX_AGE)]
        row[:] = np.bincount(found, minlength=len(groups)) / len(found)
    return shares


def _error(drawn: Sequence[Crops], read: Sequence[Floats]) -> float | None:
    """The judge's mean absolute error in years on the faces whose age is exact; ``None`` if there are none."""
    pairs = [
        (record.age, age)
        for faces, ages in zip(drawn, read, strict=True)
        for record, age in zip(faces.records, ages, strict=True)
        if record.age is not None and record.age_low == record.age_high
    ]
    return round(float(np.mean([abs(true - age) for true, age in pairs])), 2) if pairs else None
