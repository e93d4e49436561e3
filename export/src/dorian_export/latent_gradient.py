"""The gradient of the latent optimisation as a graph of its own, so that no torch is needed to search a latent.

Loss and ``torch.autograd.grad`` of it are traced together to plain operators (``make_fx``), and then exported like any network.
The operators of a backward pass that ONNX lacks are written in those that it has: a convolution's as a transposed
convolution, that of repeated pixels as a sum, and resizing as a product with constant matrices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from dorian_bundle.graphs import Array, Graph, GraphFile, Precision, Signature
from dorian_export.errors import ParityError
from dorian_export.onnx_writer import write_onnx
from dorian_export.verified_export import BATCHES
from dorian_training.losses.latent import LatentObjective, loss_and_gradient

# Largest difference of loss, gradient and terms from autograd's, relative to the largest value of each.
TOLERANCE = 1e-3
_EXAMPLES = 7  # a batch that no other axis is as long as, or tracing takes the two for one
_LARGE = 64  # values from which on a weight is worth storing in half precision
aten = torch.ops.aten


def export_latent_gradient(
    name: str,
    objective: LatentObjective,
    signature: Signature,
    inputs: Sequence[Mapping[str, Array]],
    folder: Path,
    precision: Precision,
) -> tuple[Graph, dict[str, float]]:
    """Write the graph ``name`` of ``objective`` into ``folder``; returns it, and its difference from autograd by file.

    ``inputs`` as for ``require_parity``. Arithmetic is in full precision always; ``fp16`` rounds the weights, as the method's other
    graphs have them, and halves the file. ``ParityError`` if loss or gradient differ from autograd's on the same weights.
    """
    exact = _rounded(objective, precision)
    path = f"graphs/{name}.{precision}.onnx"
    write_onnx(_traced(exact, signature), signature, folder / path)
    if precision == "fp16":
        store_in_half(folder / path)
    difference = _require_parity(exact, folder / path, signature, inputs)
    return Graph(signature=signature, files=(GraphFile.of(folder, path, precision),)), {path: difference}


def _rounded(objective: LatentObjective, precision: Precision) -> LatentObjective:
    """A copy for inference, in full precision, of weights that ``precision`` holds."""
    made = copy.deepcopy(objective).eval().requires_grad_(False).float()
    if precision == "fp16":
        for parameter in made.parameters():
            parameter.data = parameter.data.half().float()
    return made


class _Pictures(nn.Module):
    """The objective with a target image of RGB in [0, 1], as all graphs take them."""

    def __init__(self, objective: LatentObjective) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self, latent: Tensor, condition: Tensor, image: Tensor, embedding: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.objective(latent, condition, image * 2 - 1, embedding, weights)
        return found


def _traced(objective: LatentObjective, signature: Signature) -> nn.Module:
    """Loss, gradient and terms of ``objective`` as a graph of operators that the exporter knows."""
    pictures = _Pictures(_with_plain_layers(objective))

    def computed(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return loss_and_gradient(pictures, *given)

    example = [torch.zeros([_EXAMPLES, *spec.shape[1:]]) for spec in signature.inputs]  # type: ignore[list-item]
    traced: nn.Module = make_fx(
        computed, decomposition_table=_decompositions(), tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(*example)
    return traced


class _Repeated(nn.Module):
    """What ``nn.Upsample`` does with ``times`` and nearest pixels, of operators whose gradient is a sum."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = features.shape[2:]
        spread = features[:, :, :, None, :, None].expand(-1, -1, -1, self.times, -1, self.times)
        return spread.reshape(-1, features.shape[1], rows * self.times, columns * self.times)


class _Largest(nn.Module):
    """What ``nn.MaxPool2d`` does without padding, of operators whose gradient is a choice."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = ((length - self.side) // self.stride + 1 for length in features.shape[2:])
        largest: Tensor | None = None
        for top in range(self.side):
            for left in range(self.side):
                bottom, right = top + (rows - 1) * self.stride + 1, left + (columns - 1) * self.stride + 1
                seen = features[:, :, top : bottom : self.stride, left : right : self.stride]
                largest = seen if largest is None else torch.maximum(largest, seen)
        assert largest is not None
        return largest


def _with_plain_layers(objective: LatentObjective) -> LatentObjective:
    """A copy whose layers have gradients that ONNX can write."""
    made = copy.deepcopy(objective)
    for name, layer in list(made.named_modules()):
        if isinstance(layer, nn.Upsample):
            made.set_submodule(name, _Repeated(int(layer.scale_factor)))  # type: ignore[arg-type]
        elif isinstance(layer, nn.MaxPool2d):
            made.set_submodule(name, _Largest(layer.kernel_size, layer.stride))  # type: ignore[arg-type]
    return made


def _decompositions() -> dict[Any, Callable[..., Any]]:
    lacking = [
        aten._prelu_kernel_backward,
        aten.native_batch_norm_backward,
        aten.threshold_backward,
        aten.leaky_relu_backward,
    ]
    table: dict[Any, Callable[..., Any]] = {**core_aten_decompositions(), **get_decompositions(lacking)}
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
    _added: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """The gradient of a convolution by its input; weights and biases are constants here."""
    assert wanted == [True, False, False]
    if transposed:
        narrowed: Tensor = aten.convolution(gradient, weight, None, stride, padding, dilation, False, [0, 0], groups)
        return narrowed, None, None
    reached = [
        (gradient.shape[axis + 2] - 1) * stride[axis]
        - 2 * padding[axis]
        + (weight.shape[axis + 2] - 1) * dilation[axis]
        + 1
        for axis in range(2)
    ]
    added = [int(features.shape[axis + 2]) - int(reached[axis]) for axis in range(2)]
    found: Tensor = aten.convolution(gradient, weight, None, stride, padding, dilation, True, added, groups)
    return found, None, None


def store_in_half(path: Path) -> None:
    """Store those weights of the graph at ``path`` in half precision that it holds as they are; opened, they are widened again."""
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        with np.errstate(over="ignore"):  # beyond the largest of half precision, they are not held
            halved = values.astype(np.float16)
        name = tensor.name
        if np.array_equal(halved.astype(np.float32), values):
            stored = f"{name}_half"
            tensor.CopyFrom(numpy_helper.from_array(halved, stored))
            casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        graph.node.insert(place, cast)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _require_parity(
    objective: LatentObjective, path: Path, signature: Signature, inputs: Sequence[Mapping[str, Array]]
) -> float:
    """The largest difference between autograd on ``objective`` and the file at ``path`` over ``inputs``, relative.

    Autograd works in double precision: in single, rounding turns over a rectifier for some faces, and with it a slope.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pictures = _Pictures(copy.deepcopy(objective).double())
    worst = 0.0
    for rows in inputs:
        for batch in BATCHES:
            feed = {spec.name: np.ascontiguousarray(rows[spec.name][:batch]) for spec in signature.inputs}
            given = (torch.from_numpy(feed[spec.name]).double() for spec in signature.inputs)
            wanted = loss_and_gradient(pictures, *given)
            found = session.run([spec.name for spec in signature.outputs], feed)
            for spec, one, other in zip(signature.outputs, found, wanted, strict=True):
                difference = float(np.abs(one - other.numpy()).max() / np.abs(other.numpy()).max())
                if not difference <= TOLERANCE:  # not ">": a NaN must not pass
                    raise ParityError(
                        f"{path.name}: {spec.name} differs from autograd's by {difference:.2g} of its largest value at batch {batch};"
                        f" {TOLERANCE:g} is allowed"
                    )
                worst = max(worst, difference)
    return worst
