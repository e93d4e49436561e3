"""Whitening of embeddings: a linear map after which different people are about equally far apart in every direction.

Similarities of different people then no longer depend on the group of people that both belong to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Whitening:
    """Embeddings e (n, size) become (e - ``mean``) @ ``matrix``; ``mean`` (size,), ``matrix`` (size, size)."""

    mean: Array
    matrix: Array

    def __call__(self, embeddings: Array) -> Array:
        """Return the whitened ``embeddings`` (n, size), brought to length 1."""
        whitened = (embeddings - self.mean) @ self.matrix
        return np.asarray(whitened / np.linalg.norm(whitened, axis=1, keepdims=True))


def fit_whitening(embeddings: Array, shrinkage: float) -> Whitening:
    """Fit a whitening by principal components, whose variances are shrunk towards their mean.

    The standard deviation of component i is taken for sqrt(λᵢ + ``shrinkage`` · mean λ): directions of little variance are
    mostly noise, and full whitening would raise it to the weight of all others.

    Args:
        embeddings: One embedding of each of several people, (people, size), before they are brought to length 1.
        shrinkage: From 0, full whitening, to large values, none but centring and rotation.
    """
    mean = embeddings.mean(axis=0)
    variances, components = np.linalg.eigh(np.cov(embeddings.T))
    scales = 1 / np.sqrt(variances + shrinkage * variances.mean())
    return Whitening(mean, components * scales)
