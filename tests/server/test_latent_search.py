"""The search of a latent: both optimisers on functions whose minimum is known, and how a search counts, keeps, tells and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_server.domain.errors import CallCancelledError
from dorian_server.domain.requests import OptimizerName, SearchSettings
from dorian_server.pipeline.latent_search import WEIGHTS, Evaluate, Search, Step

Floats = NDArray[np.float32]
Gradient = tuple[float, Floats, Floats]

SHIPPED = dict(WEIGHTS)  # before the tests' own take their place
OPTIMIZERS: list[OptimizerName] = ["l-bfgs-b", "adam"]
NO_TERMS = np.zeros(3, np.float32)
RATE, SMALL = 0.05, 1e-8  # Adam's
BOTH = pytest.mark.parametrize("optimizer", OPTIMIZERS)


class Noted:
    """A function to be searched, and where it was evaluated."""

    def __init__(self, function: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]) -> None:
        self.latents: list[Floats] = []
        self._function = function

    def __call__(self, latent: Floats) -> Gradient:
        assert latent.dtype == np.float32
        self.latents.append(latent.copy())
        loss, gradient = self._function(latent.astype(np.float64))
        return float(np.float32(loss)), gradient.astype(np.float32), NO_TERMS


def quadratic(middle: NDArray[np.float64], stiffness: NDArray[np.float64]) -> Noted:
    """½ Σ stiffness (x - middle)², which is smallest at ``middle``."""
    return Noted(lambda x: (float(stiffness @ (x - middle) ** 2) / 2, stiffness * (x - middle)))


def valley() -> Noted:
    """Rosenbrock's: (1 - x)² + 100 (y - x²)², which is smallest at 1, 1, in a valley that bends."""

    def evaluate(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x, y = at
        beside = y - x * x
        return (1 - x) ** 2 + 100 * beside**2, np.array([-2 * (1 - x) - 400 * x * beside, 200 * beside])

    return Noted(evaluate)


def scripted(*losses: float) -> Noted:
    """Gives these losses one after the other, wherever it is evaluated, and always the same slope."""
    left = list(losses)
    return Noted(lambda x: (left.pop(0), np.ones_like(x)))


def endless() -> Noted:
    """Falls for ever."""
    return Noted(lambda x: (-float(x.sum()), -np.ones_like(x)))


def search(evaluate: Evaluate, start: object, optimizer: OptimizerName, steps: int, **more: object) -> tuple[Step, int]:
    """The best step, and how many there were."""
    settings = SearchSettings(optimizer=optimizer, steps=steps)
    made = Search(evaluate, np.asarray(start, dtype=np.float32), settings, **more)
    return made.run(), made.steps


# --- the minimum ---


@pytest.mark.parametrize("size", [1, 4, 128])
@pytest.mark.parametrize("stiffest", [1.0, 50.0])
@pytest.mark.parametrize(("optimizer", "steps", "near"), [("l-bfgs-b", 60, 0.02), ("adam", 400, 0.02)])
def test_a_bowl_is_searched_to_its_middle(
    optimizer: OptimizerName, steps: int, near: float, size: int, stiffest: float
) -> None:
    random = np.random.default_rng(size)
    middle, start = random.normal(size=(2, size))
    bowl = quadratic(middle, np.linspace(1, stiffest, size))
    best, taken = search(bowl, start, optimizer, steps)
    assert np.abs(best.latent - middle).max() < near
    assert best.loss < 1e-3
    assert taken == len(bowl.latents)


@pytest.mark.parametrize(("optimizer", "steps", "near"), [("l-bfgs-b", 100, 0.02), ("adam", 2000, 0.1)])
def test_a_valley_that_bends_is_searched_to_its_end(optimizer: OptimizerName, steps: int, near: float) -> None:
    best, _ = search(valley(), [-1.2, 1.0], optimizer, steps)
    assert np.abs(best.latent - 1).max() < near


def test_l_bfgs_b_ends_when_it_has_arrived_and_adam_goes_on() -> None:
    middle = np.linspace(-1, 1, 8)
    (_, few), (_, all_) = (
        search(quadratic(middle, np.ones(8)), np.zeros(8), optimizer, 50) for optimizer in OPTIMIZERS
    )
    assert 1 < few < 10
    assert all_ == 50


@BOTH
def test_a_start_at_the_minimum_stays_there(optimizer: OptimizerName) -> None:
    best, _ = search(quadratic(np.array([0.5, -2.0]), np.ones(2)), [0.5, -2.0], optimizer, 20)
    assert (best.number, best.loss) == (0, 0.0)
    assert np.array_equal(best.latent, np.array([0.5, -2.0], np.float32))


def test_adam_walks_as_kingma_and_ba_say() -> None:
    """Algorithm 1 written out: the bias of the means cancels at once, and the second step is of both gradients."""
    gradients = [np.array([3.0, -0.01, 0.0]), np.array([-1.0, 0.02, 5.0]), np.zeros(3)]
    left = list(gradients)
    noted = Noted(lambda x: (0.0, left.pop(0)))
    start = np.array([1.0, 2.0, 3.0])
    search(noted, start, "adam", 3)
    (g1, g2), (b1, b2) = gradients[:2], (0.9, 0.999)
    first = start - RATE * g1 / (np.abs(g1) + SMALL)
    mean = (b1 * (1 - b1) * g1 + (1 - b1) * g2) / (1 - b1**2)
    square = (b2 * (1 - b2) * g1**2 + (1 - b2) * g2**2) / (1 - b2**2)
    second = first - RATE * mean / (np.sqrt(square) + SMALL)
    assert np.allclose(noted.latents, [start, first, second], rtol=0, atol=1e-6)
    assert np.allclose(first - start, [-RATE, RATE, 0], atol=1e-6), "whatever the gradient's size"


# --- steps ---


@BOTH
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_no_more_steps_than_were_asked_for(optimizer: OptimizerName, steps: int) -> None:
    function = endless()
    _, taken = search(function, np.zeros(3), optimizer, steps)
    assert taken == len(function.latents) == steps


@BOTH
def test_the_start_is_the_first_step(optimizer: OptimizerName) -> None:
    start = np.array([0.25, -3.0], np.float32)
    best, taken = search(quadratic(np.zeros(2), np.ones(2)), start, optimizer, 1)
    assert (best.number, taken) == (0, 1)
    assert np.array_equal(best.latent, start)
    assert best.latent.dtype == np.float32
    assert best.loss == pytest.approx((0.25**2 + 9) / 2)


@BOTH
def test_each_step_is_told_once_in_order_as_it_was_evaluated(optimizer: OptimizerName) -> None:
    function, told = valley(), []
    best, taken = search(function, [-1.2, 1.0], optimizer, 25, on_step=told.append)
    assert [step.number for step in told] == list(range(taken)) == list(range(25))
    assert np.array_equal([step.latent for step in told], function.latents), "and no later step has changed it"
    assert [step.loss for step in told] == [valley()(latent)[0] for latent in function.latents]
    assert best is min(told, key=lambda step: step.loss)


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3, 1, 2, 5], 1), ([1, 2, 3, 4], 0), ([4, 3, 2, 1], 3), ([2, 1, 1, 1], 1), ([np.nan, 9, 8, np.nan], 2)],
)
def test_the_best_step_is_kept_whatever_follows(losses: list[float], best: int) -> None:
    function = scripted(*losses)
    result, taken = search(function, np.zeros(2), "adam", len(losses))
    assert (result.number, result.loss, taken) == (best, losses[best], len(losses))
    assert np.array_equal(result.latent, function.latents[best])


def test_the_best_step_is_kept_where_l_bfgs_b_goes_too_far() -> None:
    """Its first step goes beyond the narrow middle, where the loss is higher."""
    told: list[Step] = []
    function = quadratic(np.zeros(1), np.array([50.0]))
    best, taken = search(function, [0.1], "l-bfgs-b", 2, on_step=told.append)
    assert taken == 2
    assert told[1].loss > told[0].loss
    assert best is told[0]


def test_the_terms_are_those_of_the_step() -> None:
    terms = [np.array([value, 0, 0], np.float32) for value in (0.5, 0.25, 0.75)]
    left = list(terms)
    told: list[Step] = []
    search(lambda latent: (1.0, np.ones_like(latent), left.pop(0)), np.zeros(2), "adam", 3, on_step=told.append)
    assert [step.terms for step in told] == terms


@pytest.mark.parametrize(("term", "error"), [(0.0, 0.0), (0.25, 0.5), (1.0, 1.0), (-1e-9, 0.0)])
def test_the_pixel_error_is_the_root_of_the_first_term(term: float, error: float) -> None:
    step = Step(0, np.zeros(2, np.float32), 0.0, np.array([term, 9, 9], np.float32))
    assert step.pixel_error == pytest.approx(error)


@pytest.mark.parametrize(
    ("term", "similarity"), [(0.0, 1.0), (0.5, 0.75), (2.0, 0.0), (4.0, -1.0), (-1e-6, 1.0), (4.001, -1.0)]
)
def test_the_similarity_is_that_of_unit_vectors_so_far_apart(term: float, similarity: float) -> None:
    step = Step(0, np.zeros(2, np.float32), 0.0, np.array([9, term, 9], np.float32))
    assert step.similarity == pytest.approx(similarity, abs=1e-12)


def test_each_aim_weighs_its_own_terms() -> None:
    """Identity is held by pixels, more or less."""
    weighed = {aim: [weight > 0 for weight in weights] for aim, weights in SHIPPED.items()}
    assert weighed == {
        "pixelwise": [True, False, True],
        "identity": [True, True, True],
        "blended": [True, True, True],
    }
    pull = {aim: weights[1] / weights[0] for aim, weights in SHIPPED.items()}
    assert pull["pixelwise"] == 0 < pull["blended"] < pull["identity"]


# --- how it ends early ---


@BOTH
def test_a_caller_who_has_gone_ends_it_at_the_next_step(optimizer: OptimizerName) -> None:
    cancelled, function = threading.Event(), endless()

    def leave(step: Step) -> None:
        if step.number == 3:
            cancelled.set()

    with pytest.raises(CallCancelledError):
        search(function, np.zeros(3), optimizer, 500, on_step=leave, cancelled=cancelled)
    assert len(function.latents) == 4


@BOTH
def test_nothing_is_evaluated_for_a_caller_who_had_gone_before(optimizer: OptimizerName) -> None:
    cancelled, function = threading.Event(), endless()
    cancelled.set()
    with pytest.raises(CallCancelledError):
        search(function, np.zeros(3), optimizer, 500, cancelled=cancelled)
    assert function.latents == []


@BOTH
@pytest.mark.parametrize("where", ["evaluate", "tell"])
def test_an_error_ends_it(optimizer: OptimizerName, where: str) -> None:
    def fail(*_: object) -> Gradient:
        raise ArithmeticError("out of numbers")

    function = fail if where == "evaluate" else endless()
    with pytest.raises(ArithmeticError, match="out of numbers"):
        search(function, np.zeros(3), optimizer, 500, on_step=fail if where == "tell" else lambda step: None)
