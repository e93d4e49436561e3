"""How far generated faces are from real ones: a Fréchet distance of features, beside the distance between real faces."""

from __future__ import annotations

from typing import Any

import numpy as np

from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_evaluation.age_cgan.generation import generate_faces, random_latents
from dorian_evaluation.judges.feature_networks import FeatureExtractor
from dorian_training.data.batches import groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError
from dorian_training.frechet import fit_gaussian, frechet_distance


def frechet_metrics(
    extract: FeatureExtractor, generator: RunGraph, method: AgeCganMethod, real: Crops, seed: int
) -> dict[str, Any]:
    """Return the ``distance`` of generated faces from a random half of the real ones, and the ``floor`` below it.

    The floor is the distance between the two halves. As the distance depends on the number of faces, as many are generated as
    are in a half, in the age groups of the first half.

    Args:
        extract: The network whose features are compared.
        generator: Draws faces.
        method: Its method.
        real: Real faces, all of known age.
        seed: Of the halves and the latents.

    Raises:
        DataError: There are fewer than four real faces.
    """
    half = len(real) // 2
    if half < 2:
        raise DataError(f"a Fréchet distance needs two halves of real faces, of two or more; there are {len(real)}")
    order = np.random.default_rng(seed).permutation(len(real))
    first, second = order[:half], order[half : 2 * half]
    groups = groups_of(real, method.age_groups)[first]
    latents = random_latents(half, method.latent_size, seed)
    generated = generate_faces(generator, latents, groups, len(method.age_groups))
    features = [extract(pixels) for pixels in (real.pixels[first], real.pixels[second], generated)]
    first_gaussian, second_gaussian, generated_gaussian = map(fit_gaussian, features)
    return {
        "faces": half,
        "dimensions": features[0].shape[1],
        "distance": round(frechet_distance(first_gaussian, generated_gaussian), 4),
        "floor": round(frechet_distance(first_gaussian, second_gaussian), 4),
        "seed": seed,
    }
