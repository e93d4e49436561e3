"""Latent optimisation: the best latent that was seen is kept, in so many steps, for each face by itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.losses.latent import LatentObjective, embedding_of
from dorian_training.methods.latent_optimisation import LatentSearchResult, SearchSettings, search_latents
from dorian_training.networks.age_cgan import AgeCganShape, build_generator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import FaceNet

Subject = tuple[Tensor, Tensor, Tensor, Tensor]  # start, condition, image and embedding
Search = Callable[..., LatentSearchResult]


class Watched(LatentObjective):
    """Notes the latents at which it is asked, and its losses there."""

    def __init__(self, generator: nn.Module, facenet: FaceNet) -> None:
        super().__init__(generator, facenet)
        self.asked: list[tuple[float, NDArray[np.float32]]] = []

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        loss, terms = super().forward(latent, *rest)
        self.asked += zip(loss.tolist(), latent.detach().numpy().copy(), strict=True)
        return loss, terms


@pytest.fixture
def objective(tiny_shape: AgeCganShape) -> Watched:
    torch.manual_seed(1)  # networks by which the three subjects look unlike the people they are compared with
    facenet = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
    made = Watched(build_generator(tiny_shape), facenet)
    for parameter in made.parameters():
        if parameter.ndim > 1:  # untrained, all pictures and all people would be nearly the same
            parameter.data *= 2
    return cast(Watched, made.eval().requires_grad_(False))


@pytest.fixture
def subject(objective: Watched) -> Subject:
    """Three pictures that the generator can draw, of people who look like others of its pictures; latents far from both."""
    start, drawn, person = torch.randn(3, 3, 8, generator=torch.Generator().manual_seed(1))
    condition = torch.eye(6)[[0, 3, 5]]
    image = objective.generator(drawn, condition)
    return start, condition, image, embedding_of(objective.facenet, objective.generator(person, condition))


@pytest.fixture
def search(objective: Watched, subject: Subject) -> Search:
    def search(subject: Subject = subject, **changes: float) -> LatentSearchResult:
        objective.asked.clear()
        return search_latents(objective, *subject, SearchSettings(**changes))  # type: ignore[arg-type]

    return search


def terms_at(objective: Watched, latents: NDArray[np.float32], subject: Subject) -> NDArray[np.float32]:
    _, terms = objective(torch.from_numpy(latents), *subject[1:], torch.ones(len(latents), 3))
    return cast(NDArray[np.float32], terms.numpy())


def test_what_is_asked_for_unless_said_otherwise() -> None:
    """The paper's identity-preserving objective, held near to latents that the generator knows."""
    assert SearchSettings().weights == (0.0, 1.0, 0.1)
    assert SearchSettings(pixelwise_weight=2, identity_weight=3, prior_weight=5).weights == (2, 3, 5)


@pytest.mark.parametrize("weights", [(0.0, 1.0, 0.1), (30.0, 0.0, 0.1), (15.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_the_loss_falls(
    objective: Watched, subject: Subject, search: Search, weights: tuple[float, float, float]
) -> None:
    names = ("pixelwise_weight", "identity_weight", "prior_weight")
    result = search(**dict(zip(names, weights, strict=True)), steps=30)
    before, after = result.before @ weights, result.after @ weights
    assert (after < 0.8 * before).all()
    assert result.latents.shape == (3, 8)
    assert result.before.shape == result.after.shape == (3, 3)
    assert {values.dtype for values in (result.latents, result.before, result.after)} == {np.dtype(np.float32)}
    assert result.before == pytest.approx(terms_at(objective, subject[0].numpy(), subject), rel=1e-4, abs=1e-6)
    assert result.after == pytest.approx(terms_at(objective, result.latents, subject), rel=1e-4, abs=1e-6)


def test_the_weights_choose_what_falls(search: Search) -> None:
    """Alone, each of the paper's two objectives ends at less than half of what the other one leaves of it."""
    pixelwise = search(pixelwise_weight=30.0, identity_weight=0.0, steps=30).after
    identity = search(steps=30).after
    assert (pixelwise[:, 0] < identity[:, 0] / 2).all()
    assert (identity[:, 1] < pixelwise[:, 1] / 2).all()
    free, held = (search(prior_weight=weight, steps=30).after[:, 2] for weight in (0.0, 10.0))
    assert (held < 0.05).all()
    assert held.mean() < free.mean() / 10


def test_the_best_that_was_seen_is_kept(objective: Watched, subject: Subject, search: Search) -> None:
    """Also where a search passes it by."""
    one = cast(Subject, tuple(item[:1] for item in subject))
    for steps in (1, 2, 3, 5, 8, 20):
        result = search(one, steps=steps)
        recorded = objective.asked[:steps]
        loss, latent = min(recorded, key=lambda item: item[0])
        assert np.array_equal(result.latents[0], latent)
        assert float(result.after[0] @ np.float32(SearchSettings().weights)) == pytest.approx(loss, rel=1e-5)
        assert len(objective.asked) <= steps + 20  # it ends, if not within a line search


def test_a_worse_last_step_is_not_the_result(
    objective: Watched, subject: Subject, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wander(at: Callable[..., Any], start: NDArray[np.float64], **_: Any) -> None:
        for factor in (1.0, 0.9, 5.0, 9.0):
            at(start * factor)

    monkeypatch.setattr("dorian_training.methods.latent_optimisation.minimize", wander)
    one = cast(Subject, tuple(item[:1] for item in subject))
    result = search(one, prior_weight=10.0)
    losses = [loss for loss, _ in objective.asked]
    assert min(losses) < losses[-1]
    assert np.array_equal(result.latents[0], objective.asked[int(np.argmin(losses))][1])


def test_one_step_is_the_start(subject: Subject, search: Search) -> None:
    result = search(steps=1)
    assert np.array_equal(result.latents, subject[0].numpy())
    assert np.array_equal(result.before, result.after)


def test_more_steps_are_no_worse(search: Search) -> None:
    ends = [search(steps=steps).after @ SearchSettings().weights for steps in (1, 3, 9, 27)]
    assert all((later <= earlier).all() for earlier, later in pairwise(ends))
    assert (ends[-1] < ends[1]).all()


def test_each_face_is_searched_by_itself(subject: Subject, search: Search) -> None:
    together = search(steps=12)
    for row in range(3):
        alone = search(cast(Subject, tuple(item[row : row + 1] for item in subject)), steps=12)
        assert np.array_equal(alone.latents[0], together.latents[row])
        assert np.array_equal(alone.after[0], together.after[row])


def test_where_there_is_nothing_to_gain_it_stays(objective: Watched, subject: Subject, search: Search) -> None:
    start, condition, _, _ = subject
    image = objective.generator(start, condition)
    mine = (start, condition, image, F.normalize(embedding_of(objective.facenet, image), dim=1))
    result = search(mine, pixelwise_weight=30.0, prior_weight=0.0, steps=20)
    assert result.latents == pytest.approx(start.numpy(), abs=0.05)
    assert (result.after[:, :2] < 1e-5).all()
