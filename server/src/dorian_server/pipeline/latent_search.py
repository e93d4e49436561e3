"""The search of a latent: SciPy's L-BFGS-B, as in Antipov et al. 2017, §3.2, or Adam, on a loss and gradient from elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.graphs import Array
from dorian_server.domain.errors import CallCancelledError
from dorian_server.domain.requests import Objective, SearchSettings

# What each aim makes small, in the order of the graph's terms: pixelwise (a mean square, some thousandths), identity (a squared
# distance, up to 4) and the prior on the latent. Alone, the identity term soon finds drawings that this FaceNet takes for the person
# and others do not, so that pixels hold it (docs/decisions/0010).
WEIGHTS: Mapping[Objective, tuple[float, float, float]] = {
    "pixelwise": (30.0, 0.0, 0.1),
    "identity": (60.0, 1.0, 0.1),
    "blended": (30.0, 0.2, 0.1),
}
_SETTLED = 1e-5  # change of the loss, relative to it, at which L-BFGS-B has arrived
_RATE, _MEANS, _SMALL = 0.05, (0.9, 0.999), 1e-8  # Adam's

# Latent (latent,) → loss, gradient (latent,) and terms (3,).
Evaluate = Callable[[Array], tuple[float, Array, Array]]


@dataclass(frozen=True)
class Step:
    """An evaluation: its number from 0 on, its ``latent`` (latent,), loss and unweighed terms."""

    number: int
    latent: Array
    loss: float
    terms: Array

    @property
    def pixel_error(self) -> float:
        """Root mean square difference from the crop, with pixel values from 0 to 1."""
        return float(np.sqrt(max(0.0, self.terms[0])))

    @property
    def similarity(self) -> float:
        """Cosine similarity of the embeddings: of unit vectors the squared distance is 2 - 2 times it."""
        return float(np.clip(1 - self.terms[1] / 2, -1, 1))


def prepare() -> None:
    """Import what a search needs. It takes a third of the server's imports, and can be had while graphs are opened."""
    import_module("scipy.optimize")


class _AllStepsUsed(Exception):  # noqa: N818 - it is no error
    """Ends an optimiser that would go on."""


class Search:
    """One search from ``start`` (latent,). ``tell`` hears of every step, and ``cancelled`` ends it at the next one.

    ``CallCancelledError`` once ``cancelled`` is set.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        start: Array,
        settings: SearchSettings,
        tell: Callable[[Step], None] = lambda step: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._evaluate, self._start, self._settings = evaluate, start, settings
        self._tell, self._cancelled = tell, cancelled or threading.Event()
        self.best: Step | None = None
        self.steps = 0

    def run(self) -> Step:
        """The step of the smallest loss."""
        try:
            if self._settings.optimizer == "adam":
                self._adam()
            else:
                self._l_bfgs_b()
        except _AllStepsUsed:
            pass
        assert self.best is not None
        return self.best

    def _at(self, latent: NDArray[np.floating[Any]]) -> tuple[float, NDArray[np.float64]]:
        if self._cancelled.is_set():
            raise CallCancelledError
        if self.steps >= self._settings.steps:
            raise _AllStepsUsed
        point = np.asarray(latent, dtype=np.float32).copy()
        loss, gradient, terms = self._evaluate(point)
        step = Step(self.steps, point, loss, terms)
        self.steps += 1
        if self.best is None or loss < self.best.loss or np.isnan(self.best.loss):
            self.best = step
        self._tell(step)
        return loss, gradient.astype(np.float64)

    def _l_bfgs_b(self) -> None:
        from scipy.optimize import minimize

        most = self._settings.steps
        options = {"maxiter": most, "maxfun": most + 1, "ftol": _SETTLED, "gtol": 0.0}
        minimize(self._at, self._start.astype(np.float64), jac=True, method="L-BFGS-B", options=options)

    def _adam(self) -> None:
        """Kingma and Ba 2015, algorithm 1."""
        latent = self._start.astype(np.float64)
        first, second = np.zeros_like(latent), np.zeros_like(latent)
        number = 0
        while True:
            _, gradient = self._at(latent)
            number += 1
            first += (1 - _MEANS[0]) * (gradient - first)
            second += (1 - _MEANS[1]) * (gradient**2 - second)
            unbiased = first / (1 - _MEANS[0] ** number), second / (1 - _MEANS[1] ** number)
            latent = latent - _RATE * unbiased[0] / (np.sqrt(unbiased[1]) + _SMALL)
