"""Weights in few bytes: rounded as they are stored, and stored so that they come back bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from dorian_export.weight_storage import round_to_bytes, round_to_half, rounded_to_bytes, store_weights


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
def test_rounding_is_by_half_a_level_of_each_output(scale: float) -> None:
    weight = drawn(6, 5, 3, 3, scale=scale) * torch.tensor([1, 2, 0.01, 1e-4, 30, 0])[:, None, None, None]
    rounded = rounded_to_bytes(weight)
    largest = weight.abs().flatten(1).amax(dim=1)
    off = (rounded - weight).abs().flatten(1).amax(dim=1)
    assert bool((off <= 0.51 * largest / 127).all())
    assert all(len(channel.unique()) <= 255 for channel in rounded)
    assert torch.equal(rounded_to_bytes(rounded), rounded)  # what is rounded stays so
    assert not rounded[5].any()


def test_a_networks_vectors_are_in_half_precision() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 16))
    for parameter in network.parameters():
        parameter.data = drawn(*parameter.shape)
    before = {name: value.clone() for name, value in network.named_parameters()}
    round_to_bytes(network)
    for name, value in network.named_parameters():
        wanted = rounded_to_bytes(before[name]) if value.ndim > 1 else before[name].half().float()
        assert torch.equal(value, wanted)
    round_to_half(network)
    assert all(torch.equal(value, value.half().float()) for value in network.parameters())


def graph_of(weights: dict[str, np.ndarray], folder: Path) -> Path:
    """A graph whose outputs are its weights, plus an input that is 0."""
    nodes = [helper.make_node("Add", [name, "zero"], [f"{name}_out"]) for name in weights]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, values.shape)
        for name, values in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "weights",
        [helper.make_tensor_value_info("zero", TensorProto.FLOAT, [1])],
        outputs,
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "weights.onnx")
    return folder / "weights.onnx"


def test_each_weight_is_stored_in_the_fewest_bytes_that_hold_it(tmp_path: Path) -> None:
    kernel, matrix = (rounded_to_bytes(drawn(*shape, seed=3)).numpy() for shape in ((8, 4, 3, 3), (16, 12)))
    weights = {
        "kernel": kernel,
        "matrix": matrix,
        "turned": np.ascontiguousarray(matrix.T),
        "halved": drawn(9, 11).half().float().numpy(),
        "exact": drawn(9, 11).numpy(),
        "large": np.full((8, 9), 1e9, np.float32) + drawn(8, 9, scale=1e8).numpy(),
        "few": rounded_to_bytes(drawn(4, 4)).numpy(),
    }
    path = graph_of(weights, tmp_path)
    store_weights(path)
    graph = onnx.load(path).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer if not tensor.name.endswith("_scale")}
    assert kinds == {
        "kernel_levels": TensorProto.INT8,
        "matrix_levels": TensorProto.INT8,
        "turned_levels": TensorProto.INT8,
        "halved_half": TensorProto.FLOAT16,
        "exact": TensorProto.FLOAT,
        "large": TensorProto.FLOAT,
        "few": TensorProto.FLOAT,
    }
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = session.run([f"{name}_out" for name in weights], {"zero": np.zeros(1, np.float32)})
    for output, values in zip(outputs, weights.values(), strict=True):
        assert np.array_equal(output, values)


def test_onnx_runtime_widens_them_once_as_it_opens_the_graph(tmp_path: Path) -> None:
    path = graph_of({"kernel": rounded_to_bytes(drawn(8, 4, 3, 3)).numpy()}, tmp_path)
    store_weights(path)
    assert [node.op_type for node in onnx.load(path).graph.node] == ["Cast", "Mul", "Add"]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node] == ["Add"]
