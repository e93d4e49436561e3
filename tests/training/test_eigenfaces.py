"""Eigenfaces: what is fitted to faces of which the directions are known, and networks that begin as linear ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.errors import ConfigError
from dorian_training.networks.age_cgan import AgeCganShape, Encoder, Generator, build_encoder, build_generator
from dorian_training.networks.eigenfaces import EigenEncoder, Eigenfaces, EigenGenerator, fit_eigenfaces

SIDE, SIZE, COUNT = 4, 8, 40
SPREADS = (1.2, 0.8, 0.5, 0.3, 0.2)  # before tanh, of all 48 numbers of a face together


@dataclass(frozen=True)
class Faces:
    """``image`` (faces, 3, 8, 8), tanh of ``middle`` and of ``coordinates`` × ``SPREADS`` along ``directions``, over 0.97."""

    image: Tensor
    middle: Tensor
    directions: Tensor
    coordinates: Tensor

    @property
    def both(self) -> Tensor:
        """The faces and their mirror images."""
        return torch.cat([self.image, self.image.flip(3)])


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Faces that differ in five ways, three of them as much on the left as on the right and two the other way about.

    With their mirror images, their coordinates have exactly a mean of 0, a variance of 1 and nothing in common.
    """
    torch.manual_seed(0)
    signs = torch.tensor([1, 1, -1, 1, -1])
    drawn = torch.randn(5, 3, SIDE, SIDE, dtype=torch.float64)
    drawn = drawn + signs[:, None, None, None] * drawn.flip(3)
    even, odd = (torch.linalg.qr(drawn[signs == sign].flatten(1).T)[0].T for sign in (1, -1))
    directions = torch.empty(5, 3 * SIDE * SIDE, dtype=torch.float64)
    directions[signs == 1], directions[signs == -1] = even, odd
    coordinates = torch.empty(COUNT, 5, dtype=torch.float64)
    for sign in (1, -1):
        some = torch.randn(COUNT, int((signs == sign).sum()), dtype=torch.float64) + 0.5
        some -= some.mean(dim=0) if sign == 1 else 0
        coordinates[:, signs == sign] = some @ torch.linalg.inv(torch.linalg.cholesky(some.T @ some / COUNT)).T
    middle = torch.randn(3, SIDE, SIDE, dtype=torch.float64) * 0.2
    middle = (middle + middle.flip(2)).flatten()
    expected = middle + (coordinates * torch.tensor(SPREADS)) @ directions
    small = (torch.tanh(expected) / 0.97).float().view(-1, 3, SIDE, SIDE)
    assert 0.5 < float(small.abs().max()) < 1
    image = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return Faces(image, middle.float(), directions.float(), coordinates.float())


def parts(result: Eigenfaces, size: int = SIDE) -> tuple[EigenEncoder, EigenGenerator]:
    encoder = EigenEncoder(len(result.encoder["bias"]), SIDE)
    generator = EigenGenerator(result.generator["weight"].shape[1], SIDE, size)
    encoder.load_state_dict(result.encoder)
    generator.load_state_dict(result.generator)
    return encoder, generator


def signs(result: Tensor, expected: Tensor) -> Tensor:
    """For each column, 1 where both point the same way and -1 where they do not: directions have no front."""
    return (result * expected).sum(dim=0).sign()


# --- the fit ---


def test_directions_come_in_order_of_spread(faces: Faces) -> None:
    """As they are, in units of the spread along them, around the mean before tanh."""
    result = fit_eigenfaces(faces.image, 5, SIDE)
    expected = faces.directions.T * torch.tensor(SPREADS)
    weight = result.generator["weight"]
    torch.testing.assert_close(weight * signs(weight, expected), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(result.generator["bias"], faces.middle, atol=1e-5, rtol=1e-4)
    first = fit_eigenfaces(faces.image, 2, SIDE).generator["weight"]  # the widest, where there is room for two
    torch.testing.assert_close(first * signs(first, expected[:, :2]), expected[:, :2], atol=1e-4, rtol=1e-3)


def test_faces_are_rebuilt_where_there_is_a_direction_for_each_difference(faces: Faces) -> None:
    encoder, generator = parts(fit_eigenfaces(faces.image, 5, SIDE))
    rebuilt = torch.tanh(generator(encoder(faces.both))) / 0.97
    expected = F.avg_pool2d(faces.both, 2)
    assert float((rebuilt - expected).abs().max()) < 0.04
    assert float((rebuilt - expected).square().mean().sqrt()) < 0.02 * float((expected - expected.mean(dim=0)).std())
    fewer, drawing = parts(fit_eigenfaces(faces.image, 3, SIDE))
    missed = torch.atanh(0.97 * expected) - drawing(fewer(faces.both))
    assert float(missed.square().sum(dim=(1, 2, 3)).mean()) == pytest.approx(0.3**2 + 0.2**2, rel=0.05)


def test_coordinates_have_a_mean_of_0_and_a_variance_of_1(faces: Faces) -> None:
    result = parts(fit_eigenfaces(faces.image, 5, SIDE))[0](faces.both)
    assert result.shape == (2 * COUNT, 5)
    torch.testing.assert_close(result.mean(dim=0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.T @ result / len(result), torch.eye(5), atol=0.03, rtol=0)
    own = result[:COUNT]
    torch.testing.assert_close(own * signs(own, faces.coordinates), faces.coordinates, atol=0.3, rtol=0)
    mirrored = own * torch.tensor([1, 1, -1, 1, -1])  # what differs from left to right turns round
    torch.testing.assert_close(result[COUNT:], mirrored, atol=1e-3, rtol=0)


def test_mirrored_faces_give_the_same_fit() -> None:
    """And faces together with their mirror images, since those are looked at anyway."""
    images = torch.rand(30, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    expected = fit_eigenfaces(images, 4, SIDE)
    middle = expected.generator["bias"].view(3, SIDE, SIDE)
    torch.testing.assert_close(middle, middle.flip(2))
    for recorded in (images.flip(3), torch.cat([images, images.flip(3)])):
        result = fit_eigenfaces(recorded, 4, SIDE)
        turned = signs(result.generator["weight"], expected.generator["weight"])
        torch.testing.assert_close(result.generator["weight"] * turned, expected.generator["weight"], atol=1e-4, rtol=0)
        torch.testing.assert_close(result.generator["bias"], expected.generator["bias"])
        torch.testing.assert_close(
            result.encoder["weight"] * turned[:, None], expected.encoder["weight"], atol=1e-3, rtol=0
        )
        torch.testing.assert_close(result.encoder["bias"] * turned, expected.encoder["bias"], atol=1e-4, rtol=0)


def test_pixels_at_the_very_ends_and_pixels_that_never_change_have_no_huge_weights(faces: Faces) -> None:
    images = faces.image.clone()
    images[:, :, :2], images[:, :, -2:] = -1, 1
    result = fit_eigenfaces(images, 3, SIDE)
    ends = torch.full((3, SIDE), math.atanh(0.97))
    bias = result.generator["bias"].view(3, SIDE, SIDE)
    torch.testing.assert_close(bias[:, 0], -ends, atol=1e-4, rtol=0)
    torch.testing.assert_close(bias[:, -1], ends, atol=1e-4, rtol=0)
    rows = result.encoder["weight"].view(3, 3, SIDE, SIDE)
    assert float(rows[:, :, [0, -1]].abs().max()) < 1e-3
    assert 0.1 < float(rows.abs().max()) < 10


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_faces(count: int) -> None:
    images = torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) - 0.5
    with pytest.raises(ConfigError) as error:
        fit_eigenfaces(images[:count], 8, SIDE)
    assert str(error.value) == f"{count} faces do not differ in 8 ways; latents of this size need more faces"
    assert fit_eigenfaces(images, 8, SIDE).encoder["weight"].shape == (8, 48)  # five, and their mirror images


# --- the linear parts ---


def test_without_a_fit_there_is_nothing() -> None:
    encoder, generator = EigenEncoder(5, 4), EigenGenerator(5, 4, 16)
    assert torch.equal(encoder(torch.randn(2, 3, 16, 16)), torch.zeros(2, 5))
    assert torch.equal(generator(torch.randn(2, 5)), torch.zeros(2, 3, 16, 16))


def test_linear_parts_do_not_learn() -> None:
    for module in (EigenEncoder(5, 4), EigenGenerator(5, 4, 16)):
        assert list(module.parameters()) == []
        assert module.state_dict().keys() == {"weight", "bias"}


@pytest.mark.parametrize("squares", [1, 2, 5])
def test_an_encoder_sees_means_over_squares(squares: int) -> None:
    torch.manual_seed(3)
    encoder = EigenEncoder(2, 4)
    encoder.weight.normal_()
    encoder.bias.normal_()
    image = torch.randn(3, 3, 4 * squares, 4 * squares)
    means = image.reshape(3, 3, 4, squares, 4, squares).mean(dim=(3, 5))
    expected = torch.einsum("lcyx,bcyx->bl", encoder.weight.view(2, 3, 4, 4), means) + encoder.bias
    torch.testing.assert_close(encoder(image), expected)
    torch.testing.assert_close(encoder(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("size", [8, 16, 20])
def test_a_generator_enlarges_smoothly(size: int) -> None:
    torch.manual_seed(4)
    generator = EigenGenerator(2, 8, size)
    generator.weight.normal_()
    generator.bias.normal_()
    latent = torch.randn(3, 2)
    small = (generator.weight @ latent[:, :, None])[..., 0] + generator.bias
    expected = F.interpolate(small.view(3, 3, 8, 8), (size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close(generator(latent), expected, atol=1e-5, rtol=1e-5)


# --- as parts of the networks ---


@pytest.fixture(params=["nearest", "transposed"])
def shape(request: pytest.FixtureRequest, tiny_shape: AgeCganShape) -> AgeCganShape:
    return replace(
        tiny_shape,
        latent=5,
        encoder=replace(tiny_shape.encoder, eigenfaces=4),
        generator=replace(tiny_shape.generator, eigenfaces=4, upsampling=request.param),
    )


@pytest.fixture
def networks(shape: AgeCganShape, faces: Faces) -> tuple[Encoder, Generator]:
    """New networks that know what ``faces`` differ in."""
    torch.manual_seed(5)
    encoder, generator = build_encoder(shape), build_generator(shape)
    result = fit_eigenfaces(faces.image, 5, SIDE)
    assert encoder.eigenfaces is not None
    assert generator.eigenfaces is not None
    encoder.eigenfaces.load_state_dict(result.encoder)
    generator.eigenfaces.load_state_dict(result.generator)
    return encoder, generator


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_networks_begin_as_their_linear_parts(networks: tuple[Encoder, Generator], training: bool) -> None:
    encoder, generator = (network.train(training) for network in networks)
    assert encoder.eigenfaces is not None
    assert generator.eigenfaces is not None
    image, latent = torch.rand(3, 3, 64, 64) * 2 - 1, torch.randn(3, 5)
    linear = encoder.eigenfaces(image), generator.eigenfaces(latent)
    assert all(float(item.std()) > 0.05 for item in linear)
    for group in (0, 5):
        condition = torch.eye(6)[group].expand(3, -1)
        torch.testing.assert_close(generator(latent, condition), torch.tanh(linear[1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder(image), linear[0], atol=1e-6, rtol=0)
    for head, value in ((encoder.get_submodule("head"), 1.5), (generator.get_submodule("stages"), -0.4)):
        weight, bias = list(head.parameters())[-2:]
        assert not weight.any()
        assert not bias.any()
        bias.fill_(value)
    torch.testing.assert_close(encoder(image), linear[0] + 1.5)
    torch.testing.assert_close(generator(latent, torch.eye(6)[:3]), torch.tanh(linear[1] - 0.4), atol=1e-6, rtol=0)


def test_what_begins_at_zero_learns(networks: tuple[Encoder, Generator]) -> None:
    """And then all kernels and matrices behind it, but those of the linear parts."""
    encoder, generator = networks
    before = [{name: tensor.clone() for name, tensor in item.state_dict().items()} for item in networks]
    optimizer = torch.optim.SGD([*encoder.parameters(), *generator.parameters()], lr=0.1)
    torch.manual_seed(6)
    image, condition = torch.rand(4, 3, 64, 64) * 2 - 1, torch.eye(6)[:4]
    for _ in range(2):
        optimizer.zero_grad()
        (generator(encoder(image), condition) - image).square().mean().backward()
        optimizer.step()
    for network, known in zip(networks, before, strict=True):
        tensors = network.state_dict().items()
        still = [name for name, tensor in tensors if tensor.ndim > 1 and torch.equal(tensor, known[name])]
        assert still == ["eigenfaces.weight"]


def test_networks_without_eigenfaces(tiny_shape: AgeCganShape) -> None:
    """Nor have those of checkpoints from before there were any."""
    values: dict[str, Any] = json.loads(json.dumps(tiny_shape.as_dict()))
    for part in ("encoder", "generator"):
        assert values[part].pop("eigenfaces") == 0
    shape = AgeCganShape.from_dict(values)
    assert shape == tiny_shape
    for network in (build_encoder(shape), build_generator(shape)):
        assert network.eigenfaces is None
        assert not [name for name in network.state_dict() if "eigenfaces" in name]
        assert all(bool(weight.any()) for name, weight in network.named_parameters() if weight.ndim > 1)


def test_a_shape_with_eigenfaces_survives_json(shape: AgeCganShape) -> None:
    again = AgeCganShape.from_dict(json.loads(json.dumps(shape.as_dict())))
    assert again == shape
    assert (again.encoder.eigenfaces, again.generator.eigenfaces) == (4, 4)


def test_eigenfaces_come_with_the_weights(networks: tuple[Encoder, Generator], shape: AgeCganShape) -> None:
    encoder, generator = build_encoder(shape).eval(), build_generator(shape).eval()
    for network, known in zip((encoder, generator), networks, strict=True):
        network.load_state_dict(known.eval().state_dict())
    image, condition = torch.rand(2, 3, 64, 64) * 2 - 1, torch.eye(6)[:2]
    with torch.no_grad():
        latent = encoder(image)
        assert latent.any()
        assert torch.equal(latent, networks[0](image))
        assert torch.equal(generator(latent, condition), networks[1](latent, condition))
