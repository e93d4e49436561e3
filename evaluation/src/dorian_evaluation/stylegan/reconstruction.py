"""Reconstruction by AE-StyleGAN: whether a judge accepts the same people, and the Fréchet distance from real faces."""

from __future__ import annotations

from typing import Any

import numpy as np

from dorian_bundle.tensors import floats_to_pixels
from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.judges.base import IdentityJudge
from dorian_evaluation.judges.feature_networks import FeatureExtractor, recogniser_features
from dorian_evaluation.stylegan.networks import WHITE, StyleFaces, StyleNetworks
from dorian_training.errors import DataError
from dorian_training.frechet import fit_gaussian, frechet_distance


def reconstruction_metrics(
    networks: StyleNetworks, faces: StyleFaces, judge: IdentityJudge, people: KnownPeople | None
) -> dict[str, Any]:
    """Return how alike drawn faces are to their photos and to the crops that the encoder saw.

    Returns:
        ``photo`` and ``crop``: mean similarity, and share ``accepted``; ``pixel_error``: root mean square difference from the
        crop, 1 from black to white.
    """
    embed = recogniser_features(judge, networks.template)
    drawn = embed(floats_to_pixels(faces.own))
    metrics: dict[str, Any] = {"faces": len(faces)}
    for name, pixels in (("photo", faces.views), ("crop", faces.crops)):
        similarity = (drawn * embed(pixels)).sum(axis=1)
        accepted = None if people is None else round(float((similarity >= people.threshold).mean()), 4)
        metrics[name] = {"similarity": round(float(similarity.mean()), 4), "accepted": accepted}
    error = np.clip(faces.own, 0, 1) - faces.crops / WHITE
    return metrics | {"pixel_error": round(float(np.sqrt(np.square(error).mean(axis=(1, 2, 3))).mean()), 4)}


def reconstruction_distance(extract: FeatureExtractor, faces: StyleFaces, seed: int) -> dict[str, Any]:
    """Return the Fréchet ``distance`` of one half's reconstructions from the other half's crops, and the ``floor`` below it.

    The floor is the distance between the two halves' crops. No face is compared with its own reconstruction.

    Raises:
        DataError: There are fewer than four faces.
    """
    half = len(faces) // 2
    if half < 2:
        raise DataError(f"a Fréchet distance needs two halves of faces, of two or more; there are {len(faces)}")
    order = np.random.default_rng(seed).permutation(len(faces))
    first, second = order[:half], order[half : 2 * half]
    images = (faces.crops[first], faces.crops[second], floats_to_pixels(faces.own[second]))
    features = [extract(pixels) for pixels in images]
    real, other, drawn = map(fit_gaussian, features)
    return {
        "faces": half,
        "dimensions": features[0].shape[1],
        "distance": round(frechet_distance(real, drawn), 4),
        "floor": round(frechet_distance(real, other), 4),
    }
