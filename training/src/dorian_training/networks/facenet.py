"""The FaceNet of a checkpoint, whatever its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from dorian_training.checkpoint import load_network, load_weights, require_network
from dorian_training.errors import CheckpointError
from dorian_training.networks import dlib_resnet, inception_resnet
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

# Image (batch, 3, size, size), RGB in [-1, 1] → embedding (batch, embedding) of length 1, float32.
# ``size`` and ``embedding`` are attributes of each; the image may be a generator's, as gradients pass through.
FaceNet = DlibResNet | InceptionResNetV1


def facenet_of(weights: dict[str, dict[str, Tensor]], metadata: dict[str, Any]) -> FaceNet:
    """Return the EMA of a checkpoint's FaceNet, for inference; ``weights`` and ``metadata`` as ``load_weights`` gives them.

    ``CheckpointError`` if there is no FaceNet, or none of a known layout.
    """
    require_network(weights, "facenet_ema")  # before its shape is read: any checkpoint has one
    network = _built(metadata["shape"])
    load_network(network, weights, "facenet_ema")
    return network.eval()


def load_facenet(path: Path) -> FaceNet:
    """Return ``facenet_of`` the checkpoint at ``path``."""
    return facenet_of(*load_weights(path))


def _built(shape: dict[str, Any]) -> FaceNet:
    match shape.get("layout"):
        case dlib_resnet.LAYOUT:
            return DlibResNet(DlibResNetShape.from_dict(shape))
        case inception_resnet.LAYOUT:
            return InceptionResNetV1(InceptionResNetShape.from_dict(shape))
        case other:
            layouts = f"{dlib_resnet.LAYOUT}, {inception_resnet.LAYOUT}"
            raise CheckpointError(f"unknown layout {other!r} of a FaceNet; known: {layouts}")
