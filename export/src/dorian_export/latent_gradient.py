"""The gradient of the latent search as a graph of its own, so that latents are searched without torch.

Loss and ``torch.autograd.grad`` of it are traced together to plain operators (``make_fx``), and then exported like any network.
Operators of a backward pass that ONNX lacks are expressed in those that it has: a convolution's as a transposed convolution,
that of repeated pixels as a sum, and resizing as a product with constant matrices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from dorian_bundle.graphs import Array, Graph, GraphFile, Precision, Signature
from dorian_export.errors import ParityError
from dorian_export.onnx_writer import write_onnx
from dorian_export.verified_export import BATCHES
from dorian_export.weight_storage import round_to_bytes, round_to_half, store_weights
from dorian_training.losses.latent import LatentObjective, loss_and_gradient

# Largest difference of loss, gradient and terms from autograd's, relative to the largest value of each.
TOLERANCE = 1e-3
_EXAMPLE_ROWS = 7  # as long as no other axis, or tracing takes the two for one
aten = torch.ops.aten


def export_latent_gradient(
    name: str,
    objective: LatentObjective,
    signature: Signature,
    inputs: Sequence[Mapping[str, Array]],
    folder: Path,
    precision: Precision,
) -> tuple[Graph, dict[str, float]]:
    """Write the loss of a latent search and its gradient as a graph, and verify it against autograd.

    Arithmetic is always in full precision. ``fp16`` rounds the generator's weights, as in the method's other graphs, and FaceNet's
    to 8 bits: they only guide a search, and a bundle holds them once more for what is reported.

    Args:
        name: Name of the graph; its file is ``graphs/NAME.PRECISION.onnx``.
        objective: Generator, FaceNet and terms of the loss.
        signature: Names and shapes of inputs and outputs.
        inputs: See ``require_parity``.
        folder: Folder of the bundle.
        precision: Of the stored weights.

    Returns:
        The graph, and its difference from autograd by file.

    Raises:
        ParityError: If loss, gradient or terms differ too much from autograd's on the same weights.
    """
    exact = _round_weights(objective, precision)
    path = f"graphs/{name}.{precision}.onnx"
    write_onnx(_trace(exact, signature), signature, folder / path)
    if precision == "fp16":
        store_weights(folder / path)
    difference = _require_parity(exact, folder / path, signature, inputs)
    return Graph(signature=signature, files=(GraphFile.of(folder, path, precision),)), {path: difference}


def _round_weights(objective: LatentObjective, precision: Precision) -> LatentObjective:
    """Return a copy for inference, in full precision, with weights rounded as ``export_latent_gradient`` says."""
    rounded = copy.deepcopy(objective).eval().requires_grad_(False).float()
    if precision == "fp16":
        round_to_half(rounded.generator)
        round_to_bytes(rounded.facenet)
    return rounded


class _UnitImageObjective(nn.Module):
    """The objective with a target image of RGB in [0, 1], as all graphs take them."""

    def __init__(self, objective: LatentObjective) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self, latent: Tensor, condition: Tensor, image: Tensor, embedding: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        loss_and_terms: tuple[Tensor, Tensor] = self.objective(latent, condition, image * 2 - 1, embedding, weights)
        return loss_and_terms


def _trace(objective: LatentObjective, signature: Signature) -> nn.Module:
    """Return loss, gradient and terms of ``objective`` as a graph of operators that the exporter knows."""
    plain = _UnitImageObjective(_with_plain_layers(objective))

    def compute(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return loss_and_gradient(plain, *inputs)

    example = [torch.zeros([_EXAMPLE_ROWS, *spec.shape[1:]]) for spec in signature.inputs]  # type: ignore[list-item]
    traced: nn.Module = make_fx(
        compute, decomposition_table=_decompositions(), tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(*example)
    return traced


class _NearestUpsample(nn.Module):
    """``nn.Upsample`` by ``times`` with nearest pixels, in operators whose gradient is a sum."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = features.shape[2:]
        spread = features[:, :, :, None, :, None].expand(-1, -1, -1, self.times, -1, self.times)
        return spread.reshape(-1, features.shape[1], rows * self.times, columns * self.times)


class _MaxPool(nn.Module):
    """``nn.MaxPool2d`` without padding, in operators whose gradient is a selection."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = ((length - self.side) // self.stride + 1 for length in features.shape[2:])
        largest: Tensor | None = None
        for top in range(self.side):
            for left in range(self.side):
                bottom, right = top + (rows - 1) * self.stride + 1, left + (columns - 1) * self.stride + 1
                window = features[:, :, top : bottom : self.stride, left : right : self.stride]
                largest = window if largest is None else torch.maximum(largest, window)
        assert largest is not None
        return largest


class _MeanPool(nn.Module):
    """``nn.AvgPool2d`` without padding and overlaps, in operators whose gradient is a sum."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = (length // self.side for length in features.shape[2:])
        whole = features[:, :, : rows * self.side, : columns * self.side]
        pooled: Tensor = whole.reshape(-1, features.shape[1], rows, self.side, columns, self.side).mean(dim=(3, 5))
        return pooled


def _with_plain_layers(objective: LatentObjective) -> LatentObjective:
    """Return a copy whose layers have gradients that ONNX can express."""
    plain = copy.deepcopy(objective)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, nn.Upsample):
            plain.set_submodule(name, _NearestUpsample(int(layer.scale_factor)))  # type: ignore[arg-type]
        elif isinstance(layer, nn.MaxPool2d):
            plain.set_submodule(name, _MaxPool(layer.kernel_size, layer.stride))  # type: ignore[arg-type]
        elif isinstance(layer, nn.AvgPool2d):
            plain.set_submodule(name, _MeanPool(layer.kernel_size))  # type: ignore[arg-type]
    return plain


def _decompositions() -> dict[Any, Callable[..., Any]]:
    backward = [
        aten._prelu_kernel_backward,
        aten.native_batch_norm_backward,
        aten.threshold_backward,
        aten.leaky_relu_backward,
    ]
    table: dict[Any, Callable[..., Any]] = {**core_aten_decompositions(), **get_decompositions(backward)}
    table[aten.convolution_backward.default] = _convolution_backward
    return table


def _convolution_backward(
    gradient: Tensor,
    features: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    _output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution by its input; weights and biases are constants here."""
    assert output_mask == [True, False, False]
    if transposed:
        by_input: Tensor = aten.convolution(gradient, weight, None, stride, padding, dilation, False, [0, 0], groups)
        return by_input, None, None
    lengths = [
        (gradient.shape[axis + 2] - 1) * stride[axis]
        - 2 * padding[axis]
        + (weight.shape[axis + 2] - 1) * dilation[axis]
        + 1
        for axis in range(2)
    ]
    output_padding = [int(features.shape[axis + 2]) - int(lengths[axis]) for axis in range(2)]
    by_input = aten.convolution(gradient, weight, None, stride, padding, dilation, True, output_padding, groups)
    return by_input, None, None


def _require_parity(
    objective: LatentObjective, path: Path, signature: Signature, inputs: Sequence[Mapping[str, Array]]
) -> float:
    """Return the largest relative difference between autograd on ``objective`` and the file at ``path`` over ``inputs``.

    Autograd works in double precision: in single, rounding flips a rectifier for some faces, and with it a slope.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exact = _UnitImageObjective(copy.deepcopy(objective).double())
    largest = 0.0
    for rows in inputs:
        for batch in BATCHES:
            feed = {spec.name: np.ascontiguousarray(rows[spec.name][:batch]) for spec in signature.inputs}
            tensors = (torch.from_numpy(feed[spec.name]).double() for spec in signature.inputs)
            expected = [tensor.numpy() for tensor in loss_and_gradient(exact, *tensors)]
            outputs = session.run([spec.name for spec in signature.outputs], feed)
            for spec, output, reference in zip(signature.outputs, outputs, expected, strict=True):
                difference = float(np.abs(output - reference).max() / np.abs(reference).max())
                if not difference <= TOLERANCE:  # not ">": a NaN must not pass
                    raise ParityError(
                        f"{path.name}: {spec.name} differs from autograd's by {difference:.2g} of its largest value at batch {batch};"
                        f" {TOLERANCE:g} is allowed"
                    )
                largest = max(largest, difference)
    return largest
