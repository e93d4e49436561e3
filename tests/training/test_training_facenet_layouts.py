"""One way to the FaceNet of a checkpoint, whatever its layout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dorian_training.checkpoint import save_weights
from dorian_training.errors import CheckpointError
from dorian_training.networks.compact_facenet import CompactFaceNet, FaceNetShape
from dorian_training.networks.facenet import FaceNet, facenet_of, load_facenet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

COMPACT = FaceNetShape(stem=4, widths=(4, 8, 8), blocks=(1, 1, 1), embedding=8)
INCEPTION = InceptionResNetShape(repeats=(1, 1, 1), embedding=16)
LAYOUTS: dict[str, tuple[type[FaceNet], Any, int]] = {
    "compact": (CompactFaceNet, COMPACT, 64),
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
    found = load_facenet(tmp_path / "net")
    assert isinstance(found, kind)
    assert (found.size, found.embedding) == (size, shape.embedding)
    assert not any(module.training for module in found.modules())
    image = torch.randn(1, 3, found.size, found.size)
    with torch.no_grad():
        assert torch.equal(found(image), stored(image))
        assert found(image).shape == (1, found.embedding)


def test_the_compact_networks_shape_names_no_layout() -> None:
    """So that checkpoints from before there were others still say what they are."""
    assert FaceNetShape().as_dict().keys() == {"stem", "widths", "blocks", "embedding", "dropout"}


def test_checkpoints_without_a_facenet() -> None:
    state = CompactFaceNet(COMPACT).state_dict()
    with pytest.raises(CheckpointError, match="the checkpoint has no 'facenet_ema'; it has facenet"):
        facenet_of({"facenet": state}, {"shape": COMPACT.as_dict()})
    words = "unknown layout 'mobile' of a FaceNet; known: inception_resnet_v1, or none"
    with pytest.raises(CheckpointError, match=words):
        facenet_of({"facenet_ema": state}, {"shape": {"layout": "mobile"}})
    shape = json.loads(json.dumps(INCEPTION.as_dict()))
    with pytest.raises(CheckpointError, match="'facenet_ema' does not fit"):
        facenet_of({"facenet_ema": state}, {"shape": shape})
