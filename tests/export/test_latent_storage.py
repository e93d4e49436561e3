"""What the latent's gradient is written with: layers whose gradients ONNX knows, and weights in half precision where that loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_export.latent_gradient import _MaxPool, _MeanPool, _NearestUpsample
from dorian_export.weight_storage import store_weights

Array = NDArray[np.float32]


# --- layers ---


def value_and_gradient(layer: nn.Module, features: Tensor, rectified: bool = False) -> tuple[Tensor, Tensor]:
    """What ``layer`` makes of ``features``, and the gradient by them of a sum that weighs every value otherwise."""
    features = features.clone().requires_grad_(True)
    found = layer(features.relu() if rectified else features)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((found * weights).sum(), features)
    return found.detach(), gradient


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 9, 7), (3, 1, 35, 35)])
def test_a_mean_is_average_pooling(shape: tuple[int, ...]) -> None:
    for own, torchs in zip(
        value_and_gradient(_MeanPool(2), noise(*shape)), value_and_gradient(nn.AvgPool2d(2), noise(*shape)), strict=True
    ):
        torch.testing.assert_close(own, torchs)


@pytest.mark.parametrize("shape", [(2, 3, 9, 9), (1, 2, 10, 7), (3, 1, 38, 39)])
@pytest.mark.parametrize(("side", "stride"), [(3, 2), (2, 2), (3, 1), (2, 3)])
def test_largest_is_max_pooling(shape: tuple[int, ...], side: int, stride: int) -> None:
    plain, layer = _MaxPool(side, stride), nn.MaxPool2d(side, stride)
    for found, expected in zip(
        value_and_gradient(plain, noise(*shape)), value_and_gradient(layer, noise(*shape)), strict=True
    ):
        assert torch.equal(found != 0, expected != 0)
        torch.testing.assert_close(found, expected)


def test_zeros_that_tie_for_the_largest_have_no_slope_behind_a_rectifier() -> None:
    features = noise(2, 3, 9, 9) - 1.5
    found = value_and_gradient(_MaxPool(3, 2), features, rectified=True)
    expected = value_and_gradient(nn.MaxPool2d(3, 2), features, rectified=True)
    assert (found[0] == 0).any()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 2, 5, 3)])
@pytest.mark.parametrize("times", [2, 3])
def test_repeated_is_nearest_upsampling(shape: tuple[int, ...], times: int) -> None:
    found = value_and_gradient(_NearestUpsample(times), noise(*shape))
    expected = value_and_gradient(nn.Upsample(scale_factor=times), noise(*shape))
    assert torch.equal(found[0], expected[0])
    assert found[0].shape == (*shape[:2], shape[2] * times, shape[3] * times)
    torch.testing.assert_close(found[1], expected[1])


# --- weights in half precision ---


def held(*shape: int) -> Array:
    """Numbers that half precision holds."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float16).astype(np.float32)


WEIGHTS: dict[str, Array] = {
    "kernel": held(8, 3, 5, 5),
    "dense": held(8, 60),
    "exact": held(8, 60) + np.float32(1e-5),  # beyond 11 bits
    "large": np.float32(1e5) + np.float32(100) * held(8, 60),  # beyond the largest half
    "small": held(8),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A graph of a convolution, its mean, and a sum of products with matrices."""
    names = ("dense", "exact", "large")
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "small"], ["features"]),
        helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
        *(helper.make_node("MatMul", ["mean", name], [f"by_{name}"]) for name in names),
        helper.make_node("Sum", [f"by_{name}" for name in names], ["found"]),
    ]
    graph = helper.make_graph(
        nodes,
        "weighty",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 60])],
        [numpy_helper.from_array(values, name) for name, values in WEIGHTS.items()]
        + [numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "net")
    return tmp_path / "net"


def answer(path: Path) -> Array:
    image = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    (found,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image})
    return np.asarray(found, dtype=np.float32)


def test_what_half_precision_holds_is_stored_in_it(path: Path) -> None:
    before = answer(path)
    store_weights(path)
    stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    assert stored.keys() == {"kernel_half", "dense_half", "exact", "large", "small", "axes"}
    for name, tensor in stored.items():
        kind = TensorProto.FLOAT16 if name.endswith("_half") else TensorProto.FLOAT
        assert tensor.data_type == (TensorProto.INT64 if name == "axes" else kind)
        if name != "axes":
            assert np.array_equal(numpy_helper.to_array(tensor).astype(np.float32), WEIGHTS[name.removesuffix("_half")])
    assert np.array_equal(answer(path), before)
    again = path.read_bytes()
    store_weights(path)
    assert path.read_bytes() == again


def test_the_bundles_gradient_has_less_than_half_the_size_of_its_weights(bundle: Bundle) -> None:
    path = bundle.graph_path("age_cgan_latent_gradient")
    graph = onnx.load(path).graph
    weights = [tensor for tensor in graph.initializer if np.prod(tensor.dims) >= 64]
    in_full = sum(4 * int(np.prod(tensor.dims)) for tensor in weights)
    stored = sum(len(tensor.raw_data) for tensor in weights)
    assert 0.25 < stored / in_full < 0.5
    small = (TensorProto.FLOAT16, TensorProto.INT8)
    widened = {node.input[0] for node in graph.node if node.op_type == "Cast"}
    assert widened == {tensor.name for tensor in weights if tensor.data_type in small}
    for tensor in weights:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            assert not np.array_equal(values.astype(np.float16).astype(np.float32), values)


def test_resizing_leaves_no_resize_in_the_graph(bundle: Bundle) -> None:
    kinds = {node.op_type for node in onnx.load(bundle.graph_path("age_cgan_latent_gradient")).graph.node}
    assert not kinds & {"Resize", "MaxPool", "Loop", "Scan", "If"}
    assert "ConvTranspose" in kinds
