"""Inception-ResNet-v1: that it is the network whose weights are published, and that a loss can look through it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1, ResidualBranches
from dorian_training.networks.layers import at_side

SMALL = InceptionResNetShape(repeats=(1, 2, 1), embedding=16)
Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def network() -> InceptionResNetV1:
    """The published layout with weights that depend on nothing but their places, none of them as it began."""
    network = InceptionResNetV1(InceptionResNetShape()).eval().requires_grad_(False)
    for place, (name, tensor) in enumerate(network.state_dict().items(), 1):
        if tensor.is_floating_point():
            tensor.copy_(placed(name, tensor, place))
    return network


def hashed(count: int, seed: int) -> NDArray[np.float64]:
    """Numbers from 0 to 1 that look random and are the same everywhere."""
    angles = np.arange(count, dtype=np.float64) * 12.9898 + seed * 78.233
    return np.modf(np.abs(np.sin(angles)) * 43758.5453)[0]


def placed(name: str, tensor: Tensor, place: int) -> Tensor:
    values = hashed(tensor.numel(), place) - 0.5
    if name.endswith(("running_var", "bn.weight")):
        values += 1
    else:
        values *= (24 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.2
    return torch.from_numpy(values.reshape(tensor.shape))


def pixels() -> Tensor:
    """Two pictures of squares, RGB from 0 to 255."""
    squares = np.floor(256 * np.stack([hashed(3 * 20 * 20, seed).reshape(3, 20, 20) for seed in (1, 2)]))
    return torch.from_numpy(squares).float().repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


# --- the layout ---


def unit(name: str, outputs: int, inputs: int, *kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv.weight", (outputs, inputs, *(kernel or (1, 1)))
    yield from norm(f"{name}.bn", outputs)


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)
    yield f"{name}.num_batches_tracked", ()


def residual(
    name: str, width: int, inner: int, *chains: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from unit(f"{name}.branch0", inner, width)
    for number, kernels in enumerate(chains, 1):
        yield from unit(f"{name}.branch{number}.0", inner, width)
        for place, kernel in enumerate(kernels, 1):
            yield from unit(f"{name}.branch{number}.{place}", inner, inner, *kernel)
    yield f"{name}.conv2d.weight", (width, inner * (1 + len(chains)), 1, 1)
    yield f"{name}.conv2d.bias", (width,)


def published() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published weights, without the classifier."""
    yield from unit("conv2d_1a", 32, 3, 3, 3)
    yield from unit("conv2d_2a", 32, 32, 3, 3)
    yield from unit("conv2d_2b", 64, 32, 3, 3)
    yield from unit("conv2d_3b", 80, 64)
    yield from unit("conv2d_4a", 192, 80, 3, 3)
    yield from unit("conv2d_4b", 256, 192, 3, 3)
    for index in range(5):
        yield from residual(f"repeat_1.{index}", 256, 32, ((3, 3),), ((3, 3), (3, 3)))
    yield from unit("mixed_6a.branch0", 384, 256, 3, 3)
    yield from unit("mixed_6a.branch1.0", 192, 256)
    yield from unit("mixed_6a.branch1.1", 192, 192, 3, 3)
    yield from unit("mixed_6a.branch1.2", 256, 192, 3, 3)
    for index in range(10):
        yield from residual(f"repeat_2.{index}", 896, 128, ((1, 7), (7, 1)))
    for branch, outputs in enumerate((384, 256, 256)):
        yield from unit(f"mixed_7a.branch{branch}.0", 256, 896)
        yield from unit(f"mixed_7a.branch{branch}.1", outputs, 256, 3, 3)
    yield from unit("mixed_7a.branch2.2", 256, 256, 3, 3)
    for name in (*(f"repeat_3.{index}" for index in range(5)), "block8"):
        yield from residual(name, 1792, 192, ((1, 3), (3, 1)))
    yield "last_linear.weight", (512, 1792)
    yield from norm("last_bn", 512)


def test_tensors_have_the_published_names_and_shapes(network: InceptionResNetV1) -> None:
    result = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert result == dict(published())
    assert len(result) == 714


def test_there_are_as_many_parameters_as_published(network: InceptionResNetV1) -> None:
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 23_482_624
    assert count + 8631 * (512 + 1) == 27_910_327  # with the classifier of VGGFace2


def test_the_same_weights_give_what_the_port_gives(network: InceptionResNetV1) -> None:
    """As facenet-pytorch 2.5.3 gave of these weights and pictures."""
    expected = [
        [0.124518, 0.029094, -0.012776, -0.011781, 0.003955, 0.028110],
        [0.123058, 0.028758, -0.011860, -0.013654, 0.009322, 0.030621],
    ]
    result = network(pixels() / 127.5 - 1)
    assert result[:, :6] == pytest.approx(torch.tensor(expected), abs=1e-4)


# --- what each stage gives ---


def halved(side: int) -> int:
    """Of a 3×3 window at every other place, without padding."""
    return (side - 3) // 2 + 1


def test_every_stage_has_its_size(network: InceptionResNetV1) -> None:
    recorded = Shapes()
    for name, module in network.named_children():
        module.register_forward_hook(
            lambda _, given, answer, name=name: recorded.update({name: tuple(answer.shape[1:])})
        )
    network(torch.zeros(1, 3, network.size, network.size))
    first = halved(160)
    second = halved(first - 2)
    third = halved(second - 2)
    fourth = halved(third)
    fifth = halved(fourth)
    assert (first, second, third, fourth, fifth) == (79, 38, 17, 8, 3)
    sides = {
        "conv2d_1a": (32, first),
        "conv2d_2a": (32, first - 2),
        "conv2d_2b": (64, first - 2),
        "maxpool_3a": (64, second),
        "conv2d_3b": (80, second),
        "conv2d_4a": (192, second - 2),
        "conv2d_4b": (256, third),
        "repeat_1": (256, third),
        "mixed_6a": (896, fourth),
        "repeat_2": (896, fourth),
        "mixed_7a": (1792, fifth),
        "repeat_3": (1792, fifth),
        "block8": (1792, fifth),
    }
    vectors = {"dropout": (1792,), "last_linear": (512,), "last_bn": (512,)}
    assert recorded == {name: (width, side, side) for name, (width, side) in sides.items()} | vectors


@pytest.fixture(scope="module")
def trained() -> InceptionResNetV1:
    """A network of fewer blocks that has seen a batch."""
    torch.manual_seed(0)
    network = InceptionResNetV1(SMALL)
    with torch.no_grad():
        network(torch.randn(4, 3, 160, 160))
    return network.eval()


@pytest.fixture
def small(trained: InceptionResNetV1) -> InceptionResNetV1:
    return copy.deepcopy(trained)


@torch.no_grad()
def test_pixels_arrive_as_the_weights_expect_them(small: InceptionResNetV1) -> None:
    recorded = list[Tensor]()
    small.conv2d_1a.register_forward_hook(lambda module, given, answer: recorded.append(given[0]))
    small(pixels() / 127.5 - 1)
    torch.testing.assert_close(recorded[0], (pixels() - 127.5) / 128)


@torch.no_grad()
def test_a_unit_normalises_and_rectifies(small: InceptionResNetV1) -> None:
    unit, image = small.conv2d_1a, torch.randn(2, 3, 9, 9)
    mean, variance, weight, bias = (
        item[:, None, None] for item in (unit.bn.running_mean, unit.bn.running_var, unit.bn.weight, unit.bn.bias)
    )
    whitened = (F.conv2d(image, unit.conv.weight, stride=2) - mean) / (variance + 0.001).sqrt()
    torch.testing.assert_close(unit(image), (whitened * weight + bias).clamp(min=0))


def test_batches_are_normalised_as_published(network: InceptionResNetV1) -> None:
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(layers) == 112
    assert {layer.eps for layer in layers} == {0.001}
    assert {layer.momentum for layer in layers} == {0.1}


@torch.no_grad()
@pytest.mark.parametrize(
    ("stage", "scale", "floor"),
    [("repeat_1", 0.17, 0.0), ("repeat_2", 0.1, 0.0), ("repeat_3", 0.2, 0.0), ("", 1, -math.inf)],
)
def test_a_block_adds_a_part_of_what_its_branches_say(
    small: InceptionResNetV1, stage: str, scale: float, floor: float
) -> None:
    block = getattr(small, stage)[0] if stage else small.block8
    assert isinstance(block, ResidualBranches)
    width, inner = block.conv2d.weight.shape[0], block.conv2d.weight.shape[1] // len(block.names)
    features = torch.randn(2, width, 3, 3)
    for number, name in enumerate(block.names):
        block.conv2d.weight.zero_()
        block.conv2d.weight[5, number * inner + 2] = 1.0
        expected = features + scale * block.conv2d.bias[:, None, None]
        expected[:, 5] += scale * getattr(block, name)(features)[:, 2]
        assert getattr(block, name)(features)[:, 2].any()
        torch.testing.assert_close(block(features), expected.clamp(min=floor))


@torch.no_grad()
@pytest.mark.parametrize("name", ["mixed_6a", "mixed_7a"])
def test_where_resolution_halves_maxima_are_kept(small: InceptionResNetV1, name: str) -> None:
    block, width = getattr(small, name), {"mixed_6a": 256, "mixed_7a": 896}[name]
    features = torch.randn(2, width, 9, 9)
    learnt = [getattr(block, branch)(features) for branch in block.names[:-1]]
    torch.testing.assert_close(block(features), torch.cat([*learnt, F.max_pool2d(features, 3, 2)], dim=1))


@torch.no_grad()
def test_the_embedding_is_of_the_mean_over_the_image(small: InceptionResNetV1) -> None:
    recorded = dict[str, Tensor]()
    small.block8.register_forward_hook(lambda module, given, answer: recorded.update(block=answer))
    small.last_linear.register_forward_hook(lambda module, given, answer: recorded.update(pooled=given[0]))
    small(torch.randn(2, 3, 160, 160))
    torch.testing.assert_close(recorded["pooled"], recorded["block"].mean(dim=(2, 3)))
    assert recorded["block"].min() < 0  # the last block is not rectified
    small.dropout.train()
    small(torch.randn(2, 3, 160, 160))
    dropped = (recorded["pooled"] == 0).float().mean()
    assert float(dropped) == pytest.approx(0.6, abs=0.05)


# --- as a FaceNet ---


@torch.no_grad()
def test_embeddings_have_length_1(small: InceptionResNetV1) -> None:
    assert (small.size, small.embedding) == (160, 16)
    images = torch.randn(2, 3, 160, 160)
    result = small(images)
    assert result.shape == (2, 16)
    assert result.norm(dim=1) == pytest.approx(torch.ones(2), abs=1e-6)
    halved = small.half()(images.half())
    assert halved.dtype == torch.float32
    assert halved.norm(dim=1) == pytest.approx(torch.ones(2), abs=1e-6)
    assert halved == pytest.approx(result, abs=0.02)


def test_a_loss_sees_every_pixel_of_a_smaller_image(small: InceptionResNetV1) -> None:
    """As a generator draws it, through the resizing."""
    image = torch.randn(1, 3, 96, 96, requires_grad=True)
    small.requires_grad_(False)
    towards = F.normalize(torch.randn(16), dim=0)
    (small(at_side(image, small.size)) @ towards).sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert float((image.grad[:, :, :-1, :-1] != 0).float().mean()) > 0.99  # windows end before the last row and column


def test_every_weight_learns(small: InceptionResNetV1) -> None:
    answer = small.train()(torch.randn(2, 3, 160, 160))
    (answer * torch.randn(answer.shape)).sum().backward()
    still = [name for name, weight in small.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_shapes_survive_json() -> None:
    for shape in (InceptionResNetShape(), SMALL):
        stored = json.loads(json.dumps(shape.as_dict()))
        assert stored["layout"] == "inception_resnet_v1"
        assert InceptionResNetShape.from_dict(stored) == shape
