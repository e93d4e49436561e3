"""ONNX files of networks, with the names and axes that a signature declares.

Networks are wrapped, never edited: a wrapper takes and gives float32 RGB in [0, 1], and casts to its network's precision.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from dorian_bundle.graphs import Precision, Signature
from dorian_bundle.onnx_contents import require_self_contained

OPSET = 18


def cast_like(network: nn.Module, tensor: Tensor) -> Tensor:
    """Return ``tensor`` in the precision of the weights of ``network``."""
    return tensor.to(next(network.parameters()).dtype)


def in_precision(graph: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy of ``graph`` for inference, its weights in ``precision``."""
    graph = copy.deepcopy(graph).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    result: nn.Module = graph.half() if precision == "fp16" else graph.float()
    return result


def write_onnx(graph: nn.Module, signature: Signature, path: Path) -> None:
    """Write ``graph`` to ``path``.

    Args:
        graph: Takes and gives what ``signature`` says.
        signature: Names of inputs, outputs and axes. Named axes may have any length.
        path: The ONNX file; its folder is made.
    """
    lengths = {
        name: torch.export.Dim(name, min=1) for spec in signature.inputs for name in spec.shape if isinstance(name, str)
    }
    # 2 where an axis may vary: the exporter treats lengths 0 and 1 as constants.
    example = tuple(
        torch.zeros([2 if isinstance(size, str) else size for size in spec.shape]) for spec in signature.inputs
    )
    shapes = tuple(
        {axis: lengths[name] for axis, name in enumerate(spec.shape) if isinstance(name, str)}
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
    name_axes(model, signature)
    save_onnx(model, path)


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Check ``model`` and save it to ``path``, whose folder is made, without what its exporter noted in it.

    Raises:
        ExternalDataError: Some of its weights are in other files.
    """
    del model.metadata_props[:]
    for node in model.graph.node:  # the exporter writes each node's place in the source there
        del node.metadata_props[:]
        node.doc_string = ""
    data = model.SerializeToString()
    require_self_contained(data, path.name)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def name_axes(model: onnx.ModelProto, signature: Signature) -> None:
    """Name the axes of ``model`` that may have any length as ``signature`` does."""
    values = [*model.graph.input, *model.graph.output]
    for value, spec in zip(values, [*signature.inputs, *signature.outputs], strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
