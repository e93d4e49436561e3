"""Latent search: SciPy's L-BFGS-B, as in Antipov et al. 2017, §3.2, or Adam, on a given loss and gradient."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.graphs import Array
from dorian_server.domain.caller import current_caller
from dorian_server.domain.errors import CallCancelledError
from dorian_server.domain.requests import Objective, SearchSettings

# Weights of the graph's terms, in order: pixelwise (a mean square, some thousandths), identity (a squared distance, up to 4) and
# the prior on the latent. An independent recogniser sees what identity adds to pixels (docs/decisions/0010).
WEIGHTS: Mapping[Objective, tuple[float, float, float]] = {
    "pixelwise": (30.0, 0.0, 0.1),
    "identity": (60.0, 1.0, 0.1),
    "blended": (30.0, 0.2, 0.1),
}
_TOLERANCE = 1e-5  # relative change of the loss at which L-BFGS-B has converged
_LEARNING_RATE, _BETA_1, _BETA_2, _EPSILON = 0.05, 0.9, 0.999, 1e-8  # of Adam

# Latent (latent,) → loss, gradient (latent,) and terms (3,).
Evaluate = Callable[[Array], tuple[float, Array, Array]]


@dataclass(frozen=True)
class Step:
    """An evaluation.

    Args:
        number: Its number, from 0.
        latent: The latent (latent,).
        loss: The loss there.
        terms: Its terms (3,), not weighted.
    """

    number: int
    latent: Array
    loss: float
    terms: Array

    @property
    def pixel_error(self) -> float:
        """Root mean square difference from the crop, of pixel values from 0 to 1."""
        return float(np.sqrt(max(0.0, self.terms[0])))

    @property
    def similarity(self) -> float:
        """Cosine similarity of the embeddings: the squared distance of unit vectors is 2 - 2 times it."""
        return float(np.clip(1 - self.terms[1] / 2, -1, 1))


def import_optimizers() -> None:
    """Import what a search needs; a third of the server's imports, which can happen while graphs are opened."""
    import_module("scipy.optimize")


class _StepsExhausted(Exception):  # noqa: N818 - it is no error
    """Ends an optimiser that would continue."""


class Search:
    """A search for the latent with the smallest loss; between its steps, other calls may go first.

    Args:
        evaluate: Returns loss, gradient and terms at a latent.
        start: Where to start (latent,).
        settings: Optimiser and steps.
        on_step: Called after every evaluation.
        cancelled: Ends the search before the next evaluation, once set.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        start: Array,
        settings: SearchSettings,
        on_step: Callable[[Step], None] = lambda step: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._evaluate, self._start, self._settings = evaluate, start, settings
        self._on_step, self._cancelled = on_step, cancelled or threading.Event()
        self.best: Step | None = None
        self.steps = 0

    def run(self) -> Step:
        """Return the step with the smallest loss.

        Raises:
            CallCancelledError: The search was cancelled.
        """
        try:
            if self._settings.optimizer == "adam":
                self._run_adam()
            else:
                self._run_l_bfgs_b()
        except _StepsExhausted:
            pass
        assert self.best is not None
        return self.best

    def _step(self, latent: NDArray[np.floating[Any]]) -> tuple[float, NDArray[np.float64]]:
        """Return loss and gradient (latent,) at ``latent``."""
        if not self._cancelled.is_set():
            if self.steps >= self._settings.steps:
                raise _StepsExhausted
            current_caller().give_way()
        if self._cancelled.is_set():
            raise CallCancelledError
        point = np.asarray(latent, dtype=np.float32).copy()
        loss, gradient, terms = self._evaluate(point)
        step = Step(self.steps, point, loss, terms)
        self.steps += 1
        if self.best is None or loss < self.best.loss or np.isnan(self.best.loss):
            self.best = step
        self._on_step(step)
        return loss, gradient.astype(np.float64)

    def _run_l_bfgs_b(self) -> None:
        from scipy.optimize import minimize  # imported late: see import_optimizers

        max_steps = self._settings.steps
        options = {"maxiter": max_steps, "maxfun": max_steps + 1, "ftol": _TOLERANCE, "gtol": 0.0}
        minimize(self._step, self._start.astype(np.float64), jac=True, method="L-BFGS-B", options=options)

    def _run_adam(self) -> None:
        """Run Adam (Kingma and Ba 2015, algorithm 1) until the steps are exhausted."""
        latent = self._start.astype(np.float64)
        m, v = np.zeros_like(latent), np.zeros_like(latent)
        t = 0
        while True:
            _, gradient = self._step(latent)
            t += 1
            m += (1 - _BETA_1) * (gradient - m)
            v += (1 - _BETA_2) * (gradient**2 - v)
            m_hat, v_hat = m / (1 - _BETA_1**t), v / (1 - _BETA_2**t)
            latent = latent - _LEARNING_RATE * m_hat / (np.sqrt(v_hat) + _EPSILON)
