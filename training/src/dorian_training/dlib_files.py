"""Reads dlib's ``.dat`` files of ``dlib_face_recognition_resnet_model_v1``, and folds its affine layers into convolutions.

A ``.dat`` file is a stream of dlib's own serialisation: integers as a control byte (low four bits: number of bytes, high bit:
sign) and little-endian bytes, strings as a length and characters, tensors as a version, four sizes and float32 values. The
layers with weights stand in it by their names, in the order of the forward pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dorian_training.errors import CheckpointError
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape

_LAYER = re.compile(rb"\x01[\x04-\x07](con_[45]|affine_|fc_2)")
_TENSOR_VERSION = 2
_MAX_VALUES = 1 << 24  # in one tensor; the largest of this network has 590,080

Array = NDArray[np.float32]


def read_dlib_resnet(path: Path) -> DlibResNet:
    """Read the network in the ``.dat`` file at ``path``, without a whitening.

    Raises:
        CheckpointError: If the file cannot be read, or holds another network.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    network = DlibResNet(DlibResNetShape())
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)}
    layers = list(_layers(data, path))
    expected = [kind for _ in convolutions for kind in ("con", "affine")] + ["fc"]
    if [kind for kind, _ in layers] != expected:
        raise CheckpointError(f"{path} is not dlib_face_recognition_resnet_model_v1: its layers are of other kinds")
    weights: dict[str, Tensor] = {}
    for (name, convolution), (_, values), (_, affine) in zip(
        convolutions.items(), layers[:-1:2], layers[1:-1:2], strict=True
    ):
        weights |= _folded(name, values, affine, convolution.weight.shape, path)
    inputs, outputs = network.head.in_features, network.head.out_features
    weights["head.weight"] = torch.from_numpy(_reshaped(layers[-1][1], (inputs, outputs), path).T.copy())
    network.load_state_dict(weights, strict=False)
    return network.eval()


def _folded(name: str, values: Array, affine: Array, shape: torch.Size, path: Path) -> dict[str, Tensor]:
    """The weight and the bias of a convolution that does what it and the ``affine`` layer behind it do."""
    filters = shape.numel()
    weight = _reshaped(values[:filters], tuple(shape), path).astype(np.float64)
    bias = _reshaped(values[filters:], (shape[0],), path).astype(np.float64)
    gamma, beta = _reshaped(affine, (2, shape[0]), path).astype(np.float64)
    folded = {"weight": weight * gamma[:, None, None, None], "bias": bias * gamma + beta}
    return {f"{name}.{key}": torch.from_numpy(value.astype(np.float32)) for key, value in folded.items()}


def _reshaped(values: Array, shape: tuple[int, ...], path: Path) -> Array:
    if values.size != np.prod(shape):
        raise CheckpointError(
            f"{path} is not dlib_face_recognition_resnet_model_v1: {values.size} weights, not {shape}"
        )
    return values.reshape(shape)


def _layers(data: bytes, path: Path) -> Iterator[tuple[str, Array]]:
    """The kind and the weights of each layer that has weights, in the order of the file."""
    position = 0
    while match := _LAYER.search(data, position):
        kind, position = match[1].decode().split("_")[0], match.end()
        if kind == "fc":  # the numbers of outputs and inputs stand before its tensor
            for _ in range(2):
                _, position = _integer(data, position, path)
        version, position = _integer(data, position, path)
        sizes = []
        for _ in range(4):
            size, position = _integer(data, position, path)
            sizes.append(size)
        count = int(np.prod(sizes))
        if version != _TENSOR_VERSION or not 0 < count <= _MAX_VALUES or len(data) < position + 4 * count:
            raise CheckpointError(f"{path} is damaged, or no file of dlib: a tensor of sizes {sizes}")
        yield kind, np.frombuffer(data, "<f4", count, position)
        position += 4 * count


def _integer(data: bytes, position: int, path: Path) -> tuple[int, int]:
    """The integer at ``position``, and the position behind it."""
    if position >= len(data):
        raise CheckpointError(f"{path} ends too early")
    length, is_negative = data[position] & 0x0F, data[position] & 0x80
    stop = position + 1 + length
    value = int.from_bytes(data[position + 1 : stop], "little")
    return -value if is_negative else value, stop
