"""One way to the FaceNet of a checkpoint, whatever its layout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.checkpoint import save_weights
from dorian_training.errors import CheckpointError
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import FaceNet, facenet_of, load_facenet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

SMALL = DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))
INCEPTION = InceptionResNetShape(repeats=(1, 1, 1), embedding=16)
LAYOUTS: dict[str, tuple[type[FaceNet], Any, int]] = {
    "small dlib_resnet_v1": (DlibResNet, SMALL, 64),
    "dlib_resnet_v1": (DlibResNet, DlibResNetShape(), 150),
    "inception_resnet_v1": (InceptionResNetV1, INCEPTION, 160),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_the_averaged_network_comes_as_it_was_stored(layout: str, tmp_path: Path) -> None:
    kind, shape, size = LAYOUTS[layout]
    torch.manual_seed(0)
    stored = kind(shape).eval()
    averaged = stored.state_dict()
    raw = {name: tensor * math.nan for name, tensor in averaged.items() if tensor.is_floating_point()}
    save_weights(tmp_path / "net", {"facenet": raw, "facenet_ema": averaged}, {"shape": shape.as_dict()})
    result = load_facenet(tmp_path / "net")
    assert isinstance(result, kind)
    assert (result.size, result.embedding) == (size, shape.embedding)
    assert not any(module.training for module in result.modules())
    image = torch.randn(1, 3, result.size, result.size)
    with torch.no_grad():
        assert torch.equal(result(image), stored(image))
        assert result(image).shape == (1, result.embedding)


def layers(network: FaceNet) -> tuple[list[nn.Module], nn.Module]:
    """The layers that give ``features``, and the one that gives the embedding before it is brought to a length of 1."""
    if isinstance(network, DlibResNet):
        ends = (2, 6, 9, 12, 13) if network.shape == DlibResNetShape() else (0, 1, 2)
        return [network.blocks[index] for index in ends], network.head
    return [network.conv2d_2b, network.repeat_1, network.repeat_2, network.block8], network.last_bn


@torch.no_grad()
@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        ("small dlib_resnet_v1", [(4, 14, 14), (8, 7, 7), (8, 3, 3)]),
        ("dlib_resnet_v1", [(32, 35, 35), (64, 17, 17), (128, 8, 8), (256, 4, 4), (256, 2, 2)]),
        ("inception_resnet_v1", [(64, 77, 77), (256, 17, 17), (896, 8, 8), (1792, 3, 3)]),
    ],
)
def test_features_are_of_every_resolution_finest_first(layout: str, shapes: list[tuple[int, ...]]) -> None:
    """With the very embedding that the network gives."""
    kind, shape, size = LAYOUTS[layout]
    torch.manual_seed(0)
    network = kind(shape).eval()
    image, recorded = torch.randn(2, 3, size, size), list[Tensor]()
    looking, answering = layers(network)
    for layer in (*looking, answering):
        layer.register_forward_hook(lambda module, given, answer: recorded.append(answer))
    features, embedding = network.features_and_embedding(image)
    assert [item.shape for item in features] == [(2, *item) for item in shapes]
    assert all(torch.equal(result, known) for result, known in zip(features, recorded, strict=False))
    assert len(recorded) == len(features) + 1
    torch.testing.assert_close(embedding, F.normalize(recorded[-1], dim=1))
    assert torch.equal(embedding, network(image))
    assert embedding.norm(dim=1) == pytest.approx(torch.ones(2), abs=1e-6)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_loss_sees_an_image_through_every_feature(layout: str) -> None:
    kind, shape, size = LAYOUTS[layout]
    torch.manual_seed(0)
    network = kind(shape).eval().requires_grad_(False)
    image = torch.randn(1, 3, size, size, requires_grad=True)
    features, embedding = network.features_and_embedding(image)
    for item in (*features, embedding):
        (slope,) = torch.autograd.grad((item * torch.randn(item.shape)).sum(), image, retain_graph=True)
        assert bool(slope.isfinite().all())
        assert float((slope != 0).float().mean()) > 0.5


def test_features_keep_the_precision_of_the_network_and_the_embedding_is_single() -> None:
    network = DlibResNet(SMALL).eval().half()
    features, embedding = network.features_and_embedding(torch.randn(1, 3, 64, 64).half())
    assert {item.dtype for item in features} == {torch.float16}
    assert embedding.dtype == torch.float32


def test_checkpoints_without_a_facenet() -> None:
    state = DlibResNet(SMALL).state_dict()
    with pytest.raises(CheckpointError, match="the checkpoint has no 'facenet_ema'; it has facenet"):
        facenet_of({"facenet": state}, {"shape": SMALL.as_dict()})
    for layout in ({"layout": "mobile"}, {}):
        message = f"unknown layout {layout.get('layout')!r} of a FaceNet; known: dlib_resnet_v1, inception_resnet_v1$"
        with pytest.raises(CheckpointError, match=message):
            facenet_of({"facenet_ema": state}, {"shape": layout})
    shape = json.loads(json.dumps(INCEPTION.as_dict()))
    with pytest.raises(CheckpointError, match="'facenet_ema' does not fit"):
        facenet_of({"facenet_ema": state}, {"shape": shape})
