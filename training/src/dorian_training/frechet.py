"""The Fréchet distance of two sets of features, each taken for a Gaussian: as in the FID of Heusel et al. 2017."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, eigvalsh

from dorian_training.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution: ``mean`` (features,) and ``covariance`` (features, features), symmetric."""

    mean: Floats
    covariance: Floats


def fit_gaussian(features: Floats) -> Gaussian:
    """Return the Gaussian with the mean of features and their unbiased covariance.

    Args:
        features: (faces, features).

    Raises:
        DataError: There are fewer than two faces, or features that are not finite.
    """
    if len(features) < 2 or not np.isfinite(features).all():
        raise DataError(f"a Fréchet distance needs finite features of two faces or more; there are {len(features)}")
    return Gaussian(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Return ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), the squared distance of Dowson and Landau 1982, eq. 4.

    Σ₁ Σ₂ has the eigenvalues of Σ₁^½ Σ₂ Σ₁^½. That matrix is symmetric, so its root is real, and exists even if Σ₁ or Σ₂ is
    singular, as with fewer faces than features. Eigenvalues that are negative by rounding count as 0.
    """
    values, vectors = eigh(one.covariance)
    root = (vectors * _square_roots(values)) @ vectors.T
    cross_term = _square_roots(eigvalsh(root @ other.covariance @ root)).sum()
    shift = ((one.mean - other.mean) ** 2).sum()
    return max(0.0, float(shift + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross_term))


def _square_roots(values: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(values, 0)))
