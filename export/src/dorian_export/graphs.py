"""Networks as graphs: wrapped, never edited, so that every graph takes and gives float32 RGB in [0, 1]."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from dorian_bundle.graphs import Precision, Signature

log = logging.getLogger(__name__)

OPSET = 18


class EncoderGraph(nn.Module):
    """An encoder whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        latent: Tensor = self.encoder(_as(image * 2 - 1, self.encoder))
        return latent.float()


class GeneratorGraph(nn.Module):
    """A generator whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        image: Tensor = self.generator(_as(latent, self.generator), _as(condition, self.generator))
        return image.float() * 0.5 + 0.5


def _as(tensor: Tensor, network: nn.Module) -> Tensor:
    return tensor.to(next(network.parameters()).dtype)


def in_precision(graph: nn.Module, precision: Precision) -> nn.Module:
    """A copy of ``graph`` for inference, its weights in ``precision``."""
    made = copy.deepcopy(graph).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    result: nn.Module = made.half() if precision == "fp16" else made.float()
    return result


def write_onnx(graph: nn.Module, signature: Signature, path: Path) -> None:
    """Write ``graph`` to ``path`` with the names and axes of ``signature``; named axes may have any length."""
    # 2 where an axis may vary: the exporter takes lengths 0 and 1 for constants.
    example = tuple(
        torch.zeros([size if isinstance(size, int) else 2 for size in spec.shape]) for spec in signature.inputs
    )
    varying = {
        name: torch.export.Dim(name, min=1) for spec in signature.inputs for name in spec.shape if isinstance(name, str)
    }
    shapes = tuple(
        {axis: varying[name] for axis, name in enumerate(spec.shape) if isinstance(name, str)}
        for spec in signature.inputs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            dynamic_shapes=shapes,
            optimize=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_output_axes(model, signature)
    del model.metadata_props[:]
    for node in model.graph.node:  # the exporter notes there where in the source each node came from
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def _name_output_axes(model: onnx.ModelProto, signature: Signature) -> None:
    for value, spec in zip(model.graph.output, signature.outputs, strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
