"""Age-conditioned generation (Antipov et al. 2017, §4.1): which ages does a judge read from generated faces of each group?"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.manifest import AgeCganMethod
from dorian_training.data.batches import groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError
from dorian_training.evaluation.age_judge import AgeJudge

_BATCH = 64


def generated_faces(bundle: Bundle, method: AgeCganMethod, group: int, count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` faces of one age group, drawn from random latents by the bundle's generator; RGB uint8 (count, s, s, 3)."""
    session = ort.InferenceSession(
        str(bundle.graph_path(method.graphs["generator"])), providers=["CPUExecutionProvider"]
    )
    random = np.random.default_rng(seed)
    condition = np.zeros((count, len(method.age_groups)), np.float32)
    condition[:, group] = 1
    latent = random.standard_normal((count, method.latent_size), dtype=np.float32)
    images = [
        session.run(["image"], {"latent": latent[i : i + _BATCH], "condition": condition[i : i + _BATCH]})[0]
        for i in range(0, count, _BATCH)
    ]
    pixels: NDArray[np.uint8] = np.rint(np.concatenate(images) * 255).clip(0, 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def judged_ages(bundle: Bundle, judge: AgeJudge, real: Crops, count: int, seed: int) -> dict[str, Any]:
    """Mean judged age in years by age group, of ``count`` generated faces each and of the ``real`` faces, for one method.

    The same latents serve every group, so that only the condition differs. Also what the two must show: ``rising``, whether
    the generated means rise from each group to the next, and ``span``, the last less the first.
    """
    method = next((each for each in bundle.manifest.methods if isinstance(each, AgeCganMethod)), None)
    if method is None:
        raise DataError(f"{bundle.manifest.name} has no method that draws faces from latents: none of age_cgan")
    labels = [group.label for group in method.age_groups]
    means = [judge.ages(generated_faces(bundle, method, g, count, seed)).mean() for g in range(len(labels))]
    own, ages = groups_of(real, method.age_groups), judge.ages(real.pixels)
    known = [
        (record.age, age) for record, age in zip(real.records, ages, strict=True) if record.age_low == record.age_high
    ]
    return {
        "faces_per_group": count,
        "generated": {label: round(float(mean), 2) for label, mean in zip(labels, means, strict=True)},
        "real": {label: round(float(ages[own == g].mean()), 2) for g, label in enumerate(labels)},
        "rising": bool(np.all(np.diff(means) > 0)),
        "span": round(float(means[-1] - means[0]), 2),
        "judge_error_on_real": round(float(np.mean([abs(true - read) for true, read in known if true is not None])), 2),
        "seed": seed,
    }
