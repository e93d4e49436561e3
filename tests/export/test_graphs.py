"""Graphs: what the files take and give, what was folded into them, and what was kept out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from dorian_bundle import Bundle
from dorian_bundle.graphs import GraphFile, Signature
from dorian_export.exporters.age_cgan import EncoderGraph, GeneratorGraph
from dorian_export.onnx_writer import in_precision

METHOD = [f"age_cgan_{role}.fp16.onnx" for role in ("encoder", "generator")]
GRADIENT = "age_cgan_latent_gradient.fp16.onnx"
AGE_ESTIMATOR = "age_estimator.fp32.onnx"
READERS = ("landmark_refiner", "facenet")
TRANSLATORS = ["age_translator.fp16.onnx", "cyclegan_old.fp16.onnx", "cyclegan_young.fp16.onnx"]
FILES = [
    *METHOD,
    GRADIENT,
    *TRANSLATORS,
    "detector.fp32.onnx",
    "age_estimator.fp32.onnx",
    *(f"{reader}.fp16.onnx" for reader in READERS),
]
ALLOWED = 1e-2  # of half precision


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(bundle: Bundle, file: str) -> Path:
    return bundle.folder / "graphs" / file


def described(bundle: Bundle, file: str) -> tuple[Signature, GraphFile]:
    """What the manifest says of a file."""
    return next(
        (graph.signature, entry)
        for graph in bundle.manifest.graphs.values()
        for entry in graph.files
        if entry.path == f"graphs/{file}"
    )


def weights_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Initialisers of more than a few numbers and of a floating-point type."""
    for tensor in model.graph.initializer:
        floating = tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        if floating and np.prod(tensor.dims) > 8:
            yield tensor


def test_a_file_takes_and_gives_what_the_manifest_says(bundle: Bundle, file: str, path: Path) -> None:
    signature, entry = described(bundle, file)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for result, wanted in ((session.get_inputs(), signature.inputs), (session.get_outputs(), signature.outputs)):
        assert [(value.name, tuple(value.shape)) for value in result] == [(spec.name, spec.shape) for spec in wanted]
        assert {value.type for value in result} == {"tensor(float)"}
    assert entry.precision == file.split(".")[1]
    assert signature.inputs[0].shape[0] == "batch"


@pytest.mark.parametrize("file", METHOD)
@pytest.mark.parametrize("batch", [1, 3, 8, 5])
def test_pixels_run_from_0_to_1(networks: dict[str, nn.Module], path: Path, batch: int) -> None:
    random = torch.Generator().manual_seed(batch)
    if "encoder" in path.name:
        image = torch.rand(batch, 3, 64, 64, generator=random)
        feed = {"image": image.numpy()}
        expected, wrong = networks["encoder"](2 * image - 1), networks["encoder"](image)
    else:
        latent = torch.randn(batch, 16, generator=random)
        condition = torch.softmax(torch.randn(batch, 6, generator=random), dim=1)
        feed = {"latent": latent.numpy(), "condition": condition.numpy()}
        wrong = networks["generator"](latent, condition)
        expected = (wrong + 1) / 2
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feed)
    assert (result.shape, result.dtype) == (tuple(expected.shape), np.float32)
    assert np.abs(result - expected.numpy()).max() <= ALLOWED
    assert np.abs(result - wrong.numpy()).max() > 5 * ALLOWED
    assert all((expected[row] - expected[0]).abs().max() > 5 * ALLOWED for row in range(1, batch))
    if "generator" in path.name:
        rounding = 1e-6  # a tanh that has run to its end may leave its range by it
        assert -rounding <= result.min() < 0.3
        assert 0.7 < result.max() <= 1 + rounding


def test_constants_are_folded(path: Path) -> None:
    graph = onnx.load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    of_constants = {node.op_type for node in graph.node if set(filter(None, node.input)) <= constant}
    assert of_constants == (
        {"Cast"} if path.name in (GRADIENT, AGE_ESTIMATOR) else set()
    )  # there small weights are widened
    kinds = {node.op_type for node in graph.node}
    by_batch = {"Shape"} if "facenet" in path.name else set[str]()  # how many embeddings there are to divide
    if path.name == GRADIENT:
        by_batch = {"Shape", "Identity"}  # and latents that the gradient is laid out for
    assert not kinds & ({"Constant", "ConstantOfShape", "Dropout", "Identity", "Shape"} - by_batch)
    assert "Conv" in kinds
    used = {name for node in graph.node for name in node.input}
    assert constant <= used


def test_no_word_of_the_machine_it_was_made_on(path: Path) -> None:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # chance may spell anything
    text = model.SerializeToString()
    root, home = Path(__file__).parents[2], Path.home()
    assert [word for word in (str(root), str(home), "site-packages", ".py", "forward") if word.encode() in text] == []
    assert len(model.metadata_props) == 0
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_half_precision_halves_the_weights(bundle: Bundle) -> None:
    assert {tensor.data_type for tensor in weights_of(onnx.load(bundle.graph_path("detector")))} == {
        onnx.TensorProto.FLOAT
    }
    for role in ("encoder", "generator"):
        path = bundle.graph_path(f"age_cgan_{role}")
        weights = sum(int(np.prod(tensor.dims)) for tensor in weights_of(onnx.load(path)))
        assert {tensor.data_type for tensor in weights_of(onnx.load(path))} == {onnx.TensorProto.FLOAT16}
        assert 2 * weights < path.stat().st_size < 2.6 * weights


def test_one_version_of_onnx(path: Path) -> None:
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert list(model.functions) == []


def test_wrapping_leaves_the_network_as_it_was(networks: dict[str, nn.Module]) -> None:
    network = networks["encoder"].train()
    try:
        graph = in_precision(EncoderGraph(network), "fp16")
        assert {parameter.dtype for parameter in graph.parameters()} == {torch.float16}
        assert not graph.training
        assert network.training
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    finally:
        network.eval()


def test_half_precision_inside_single_outside(networks: dict[str, nn.Module]) -> None:
    graph = in_precision(GeneratorGraph(networks["generator"]), "fp16")
    image = graph(torch.zeros(2, 16), torch.eye(6)[:2])
    assert image.dtype == torch.float32
    exact = in_precision(GeneratorGraph(networks["generator"]), "fp32")(torch.zeros(2, 16), torch.eye(6)[:2])
    assert 0 < float((image - exact).abs().max()) < ALLOWED
