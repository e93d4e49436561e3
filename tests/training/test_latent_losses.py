"""What a latent is searched by: each term against its closed form, and what FaceNet sees of a drawing."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.losses.latent import TERMS, LatentObjective, embedding_of, loss_and_gradient
from dorian_training.networks.age_cgan import AgeCganShape, build_generator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side, resizing


class Grey(nn.Module):
    """Draws one level, the latent's first number plus the condition's first weight."""

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        return (latent[:, 0] + condition[:, 0])[:, None, None, None].expand(-1, 3, 8, 8)


class Corner(nn.Module):
    """Turns the mean of the picture's left half into an angle from 0 to 180 degrees."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size, self.embedding = size, 2

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[1:] == (3, self.size, self.size)
        angle = (image[..., : self.size // 2].mean(dim=(1, 2, 3)) + 1) * math.pi / 2
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def corner(size: int = 8) -> FaceNet:
    return cast(FaceNet, Corner(size))


@pytest.fixture(scope="module")
def compact() -> DlibResNet:
    torch.manual_seed(0)
    return DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))).eval()


@pytest.fixture
def rows() -> tuple[Tensor, ...]:
    """Latent, condition, image, embedding and weights of two faces, drawn at the levels 0.5 and -0.25."""
    latent = torch.tensor([[0.5, 1.0, 1.0, 2.0], [-0.5, 0.0, 0.0, 0.0]])
    condition = torch.tensor([[0.0, 1.0], [0.25, 0.75]])
    image = torch.tensor([0.1, -0.25])[:, None, None, None].expand(-1, 3, 8, 8)
    embedding = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    return latent, condition, image, embedding, torch.tensor([[2.0, 3.0, 5.0], [0.0, 1.0, 0.0]])


def test_the_terms_in_closed_form(rows: tuple[Tensor, ...]) -> None:
    assert TERMS == ("pixelwise", "identity", "prior")
    loss, terms = LatentObjective(Grey(), corner())(*rows)
    angles = [1.5 * math.pi / 2, 0.75 * math.pi / 2]
    wanted = [
        [(0.4 / 2) ** 2, 2 - 2 * math.sin(angles[0]), (6.25 / 4 - 1) ** 2],
        [0, 2 + 2 * math.cos(angles[1]), (0.25 / 4 - 1) ** 2],
    ]
    torch.testing.assert_close(terms, torch.tensor(wanted))
    torch.testing.assert_close(loss, (torch.tensor(wanted) * rows[-1]).sum(dim=1))
    assert loss.shape == (2,)


def test_a_face_that_is_drawn_as_it_is_costs_nothing() -> None:
    latent = torch.tensor([[0.5, math.sqrt(1.75)]])  # of which the mean square is 1
    image = torch.full((1, 3, 8, 8), 0.5)
    embedding = embedding_of(corner(), image)
    objective = LatentObjective(Grey(), corner())
    loss, gradient, terms = loss_and_gradient(objective, latent, torch.zeros(1, 2), image, embedding, torch.ones(1, 3))
    for result in (loss, gradient, terms):
        assert result.abs().max() < 1e-6


def test_the_person_at_the_other_end_of_the_sphere_is_4_away() -> None:
    image = torch.full((1, 3, 8, 8), 0.5)
    embedding = -embedding_of(corner(), image)
    _, terms = LatentObjective(Grey(), corner())(
        torch.tensor([[0.5]]), torch.zeros(1, 1), image, embedding, torch.ones(1, 3)
    )
    assert float(terms[0, 1]) == pytest.approx(4)


def test_the_gradient_in_closed_form(rows: tuple[Tensor, ...]) -> None:
    latent, *rest = rows
    before = latent.clone()
    with torch.no_grad():  # as those who search do
        loss, gradient, terms = loss_and_gradient(LatentObjective(Grey(), corner()), latent, *rest)
    angle = 1.5 * math.pi / 2
    prior = 5 * 2 * (6.25 / 4 - 1) * before[0] / 2
    wanted = prior + torch.tensor([2 * 2 * 0.4 / 4 - 3 * 2 * math.cos(angle) * math.pi / 2, 0, 0, 0])
    torch.testing.assert_close(gradient[0], wanted)
    torch.testing.assert_close(gradient[1, 0], torch.tensor(-2 * math.sin(0.75 * math.pi / 2) * math.pi / 2))
    assert not gradient[1, 1:].any()
    assert not any(item.requires_grad for item in (loss, gradient, terms, latent))
    assert latent.grad is None
    assert torch.equal(latent, before)
    assert (loss.shape, gradient.shape, terms.shape) == ((2,), (2, 4), (2, 3))


def test_the_gradient_of_real_networks_is_the_slope_of_the_loss(tiny_shape: AgeCganShape, compact: DlibResNet) -> None:
    torch.manual_seed(1)
    objective = LatentObjective(build_generator(tiny_shape), compact).eval().requires_grad_(False)
    latent, condition = torch.randn(1, 8), torch.eye(6)[2:3]
    rest = (
        condition,
        torch.rand(1, 3, 64, 64) * 2 - 1,
        F.normalize(torch.randn(1, 8)),
        torch.tensor([[3.0, 1.0, 0.1]]),
    )
    loss, gradient, _ = loss_and_gradient(objective, latent, *rest)
    step = 2e-3 * gradient / gradient.norm()
    ahead, behind = (objective(latent + way, *rest)[0] for way in (step, -step))
    assert float(ahead - behind) / 4e-3 == pytest.approx(float(gradient.norm()), rel=0.03)
    assert behind < loss < ahead


# --- the embedding ---


@pytest.mark.parametrize("side", [64, 160, 40])
def test_a_facenet_of_another_side_sees_what_resizing_makes(side: int) -> None:
    recorded: list[Tensor] = []

    class Watching(Corner):
        def forward(self, image: Tensor) -> Tensor:
            recorded.append(image)
            return super().forward(image)

    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    result = embedding_of(cast(FaceNet, Watching(side)), image)
    torch.testing.assert_close(recorded[0], at_side(image, side), atol=1e-5, rtol=1e-5)
    assert len(recorded) == 1
    assert result.norm(dim=1).tolist() == pytest.approx([1, 1])
    (gradient,) = torch.autograd.grad(result.sum(), image)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(("before", "after"), [(64, 160), (64, 96), (64, 48), (64, 32), (10, 7), (8, 8)])
def test_resizing_is_what_at_side_does(before: int, after: int) -> None:
    image = torch.randn(2, 3, before, before, generator=torch.Generator().manual_seed(after))
    matrix = resizing(before, after)
    assert matrix.shape == (after, before)
    torch.testing.assert_close(matrix @ image @ matrix.T, at_side(image, after), atol=1e-5, rtol=1e-5)
    assert matrix.sum(dim=1).tolist() == pytest.approx([1] * after)  # a level stays as it is
