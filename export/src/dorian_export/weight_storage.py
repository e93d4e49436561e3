"""Weights that are stored in few bytes: in half precision, or in 8 bits with a scale for each output channel.

Arithmetic stays in single precision: a graph widens its weights by operators that runtimes fold as they open it (``Cast``, and
``Mul`` by the scales; ``DequantizeLinear`` is not folded by ONNX Runtime). First the weights of a network are rounded, so that
it can be verified as it will be; then the graph made of it is stored, each weight in the fewest bytes that hold it exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from dorian_export.onnx_writer import save_onnx

Array = NDArray[np.float32]

_LEVELS = 127  # on either side of 0
# Significant bits of scales: few enough for products with levels to be exact in single precision.
_SCALE_BITS = 11
_MIN_VALUES = 64  # of a weight that is worth storing in fewer bytes


def round_to_half(network: nn.Module) -> None:
    """Round the parameters of ``network`` to half precision, in place; they stay in their own."""
    for parameter in network.parameters():
        parameter.data = parameter.data.half().to(parameter.dtype)


def round_to_bytes(network: nn.Module) -> None:
    """Round the matrices and kernels of ``network`` to 8 bits, its other parameters to half precision, in place."""
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.numel() >= _MIN_VALUES:
            parameter.data = rounded_to_bytes(parameter.data)
        else:
            parameter.data = parameter.data.half().to(parameter.dtype)


def rounded_to_bytes(weight: Tensor) -> Tensor:
    """Return ``weight`` (outputs, ...) rounded to 127 levels on either side of 0, up to the largest of each output.

    The largest becomes 127 times the scale, so that the scale can be found again in the rounded weight.
    """
    flat = weight.flatten(1)  # (outputs, rest)
    mantissa, exponent = torch.frexp(flat.abs().amax(dim=1, keepdim=True) / _LEVELS)
    scale = torch.ldexp((mantissa * 2**_SCALE_BITS).round() / 2**_SCALE_BITS, exponent)
    scale = torch.where(scale > 0, scale, 1.0)
    levels = (flat / scale).round().clamp(-_LEVELS, _LEVELS)
    return (levels * scale).to(weight.dtype).reshape(weight.shape)


def store_weights(path: Path) -> None:
    """Store each weight of the graph at ``path`` in the fewest bytes that hold it exactly, and how it is widened again."""
    model = onnx.load(path)
    widening: list[onnx.NodeProto] = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_VALUES:
            continue
        in_bytes = _levels_and_scale(values)
        if in_bytes is not None:
            levels, scale = in_bytes
            name, scale_name, cast_name = tensor.name, f"{tensor.name}_scale", f"{tensor.name}_widened"
            tensor.CopyFrom(numpy_helper.from_array(levels, f"{name}_levels"))
            model.graph.initializer.append(numpy_helper.from_array(scale, scale_name))
            widening.append(onnx.helper.make_node("Cast", [tensor.name], [cast_name], to=onnx.TensorProto.FLOAT))
            widening.append(onnx.helper.make_node("Mul", [cast_name, scale_name], [name]))
            continue
        with np.errstate(over="ignore"):  # values beyond the range of half precision stay as they are
            halved = values.astype(np.float16)
        if np.array_equal(halved.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}_half"))
            widening.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    for index, node in enumerate(widening):
        model.graph.node.insert(index, node)
    save_onnx(model, path)


def _levels_and_scale(values: Array) -> tuple[NDArray[np.int8], Array] | None:
    """Return levels and scale whose product is ``values``, if ``rounded_to_bytes`` made them, or they are its transpose."""
    if values.ndim < 2:
        return None
    for axis in (0, values.ndim - 1):
        if values.size == values.shape[axis]:
            continue  # a scale for each value would take more than the values
        others = tuple(other for other in range(values.ndim) if other != axis)
        largest = np.abs(values).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / np.float32(_LEVELS), np.float32(1))
        levels = np.rint(values / scale)
        if np.array_equal(levels * scale, values):
            return levels.astype(np.int8), scale
    return None
