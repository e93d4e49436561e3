"""How far generated faces are from real ones, as a Fréchet distance of features beside that between real faces."""

from __future__ import annotations

from typing import Any

import numpy as np

from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_evaluation.age_cgan.generation import generated_faces, random_latents
from dorian_evaluation.frechet import frechet_distance, gaussian_of
from dorian_evaluation.judges.feature_networks import Features
from dorian_training.data.batches import groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError


def frechet_figures(
    features: Features, generator: RunGraph, method: AgeCganMethod, real: Crops, seed: int
) -> dict[str, Any]:
    """The ``distance`` of generated faces from one half of the ``real`` ones, all of known age, and the ``floor`` below it.

    The floor is the distance of the two halves from each other. Both halves are drawn at random, and there are as many generated
    faces as in each, in the same age groups as those of the first half: the distance depends on how many faces it is taken of.
    """
    half = len(real) // 2
    if half < 2:
        raise DataError(f"a Fréchet distance needs two halves of real faces, of two or more; there are {len(real)}")
    order = np.random.default_rng(seed).permutation(len(real))
    first, second = order[:half], order[half : 2 * half]
    groups = groups_of(real, method.age_groups)[first]
    latents = random_latents(half, method.latent_size, seed)
    drawn = generated_faces(generator, latents, groups, len(method.age_groups))
    found = [features(pixels) for pixels in (real.pixels[first], real.pixels[second], drawn)]
    one, other, generated = map(gaussian_of, found)
    return {
        "faces": half,
        "dimensions": found[0].shape[1],
        "distance": round(frechet_distance(one, generated), 4),
        "floor": round(frechet_distance(one, other), 4),
        "seed": seed,
    }
