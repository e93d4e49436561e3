"""Age-cGAN's third stage, latent optimisation (Antipov et al. 2017, §3.2): for a face, the latent that draws it best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from dorian_training.losses.latent import LatentObjective, loss_and_gradient


@dataclass(frozen=True)
class SearchSettings:
    """Weights of the terms (see ``LatentObjective``), and evaluations of loss and gradient at most.

    The paper's ``pixelwise`` objective has an identity weight of 0, its identity-preserving one a pixelwise weight of 0.
    """

    pixelwise_weight: float = 0.0
    identity_weight: float = 1.0
    prior_weight: float = 0.1
    steps: int = 60

    @property
    def weights(self) -> tuple[float, float, float]:
        """In the order of the terms."""
        return self.pixelwise_weight, self.identity_weight, self.prior_weight


@dataclass(frozen=True)
class LatentSearchResult:
    """The best latents (faces, latent), float32, and their unweighed terms (faces, 3) before and after the search."""

    latents: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


def search_latents(
    objective: LatentObjective,
    start: Tensor,
    condition: Tensor,
    image: Tensor,
    embedding: Tensor,
    settings: SearchSettings,
) -> LatentSearchResult:
    """Search from ``start`` (faces, latent), each face by itself with SciPy's L-BFGS-B; the rest as ``LatentObjective`` takes it."""
    rows = [
        _search(objective, start[row], (condition[row], image[row], embedding[row]), settings)
        for row in range(len(start))
    ]
    latents, before, after = (np.stack(item).astype(np.float32) for item in zip(*rows, strict=True))
    return LatentSearchResult(latents, before, after)


def _search(
    objective: LatentObjective, start: Tensor, subject: tuple[Tensor, ...], settings: SearchSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    device = start.device
    weights = torch.tensor([settings.weights], device=device)
    rows = [item[None] for item in subject]
    evaluations: list[tuple[float, NDArray[np.float32], NDArray[np.float32]]] = []

    def at(latent: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.from_numpy(latent.astype(np.float32))[None].to(device)
        loss, gradient, terms = loss_and_gradient(objective, point, *rows, weights)
        evaluations.append((float(loss), point[0].cpu().numpy(), terms[0].cpu().numpy()))
        return float(loss), gradient[0].double().cpu().numpy()

    options = {"maxiter": settings.steps, "maxfun": settings.steps, "ftol": 1e-5, "gtol": 0.0}
    minimize(at, start.double().cpu().numpy(), jac=True, method="L-BFGS-B", options=options)
    _, latent, after = min(evaluations[: settings.steps], key=lambda item: item[0])
    return latent, evaluations[0][2], after
