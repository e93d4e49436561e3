"""ONNX Runtime's session: what it opens, what it refuses, and that its answers do not depend on the batch."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle, GraphFileError, GraphSignatureError
from dorian_bundle.graphs import Signature, TensorSpec
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession

BATCH_TOLERANCE = 1e-5

# x double[batch, 2] -> Identity -> y, made with onnx.helper.
DOUBLE_GRAPH = base64.b64decode(
    "CAgSADpJChAKAXgSAXkiCElkZW50aXR5EgFnWhgKAXgSEwoRCAsSDQoHEgViYXRjaAoCCAJiGAoBeRITChEICxINCgcSBWJhdGNoCgIIAkIECgAQEQ=="
)

NAMES = ["age_cgan_encoder", "age_cgan_generator", "age_cgan_latent_gradient"]
READERS = ["detector", "landmark_refiner", "age_estimator", "facenet"]
SIDES = {"height": 96, "width": 128}  # of a picture that may have any
Inputs = dict[str, NDArray[np.float32]]


def signature_of(bundle: Bundle, name: str) -> Signature:
    return bundle.manifest.graphs[name].signature


def open_graph(bundle: Bundle, name: str) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(bundle.graph_path(name), signature_of(bundle, name), threads=1)


def inputs_for(signature: Signature, batch: int) -> Inputs:
    """Random pictures in [0, 1], normal latents, one-hot conditions, embeddings of length 1, weights in [0, 1]."""
    random = np.random.default_rng(batch)
    made = {
        "image": lambda shape: random.uniform(0, 1, shape),
        "latent": lambda shape: random.normal(size=shape),
        "condition": lambda shape: np.eye(shape[1])[random.integers(0, shape[1], shape[0])],
        "embedding": lambda shape: np.linalg.qr(random.normal(size=shape[::-1]))[0].T,
        "weights": lambda shape: random.uniform(0, 1, shape),
    }
    return {spec.name: made[spec.name](shape_of(spec, batch)).astype(np.float32) for spec in signature.inputs}


def shape_of(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """Its shape for ``batch`` and pictures of ``SIDES``."""
    return (batch, *(SIDES[side] if isinstance(side, str) else side for side in spec.shape[1:]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 3])
def test_graphs_take_and_give_what_the_manifest_says(default_bundle: Bundle, name: str, batch: int) -> None:
    session = open_graph(default_bundle, name)
    signature = signature_of(default_bundle, name)
    assert session.signature == signature
    outputs = session.run(inputs_for(signature, batch))
    assert {key: (value.shape, value.dtype) for key, value in outputs.items()} == {
        spec.name: ((batch, *spec.shape[1:]), np.dtype(np.float32)) for spec in signature.outputs
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_gives_what_each_gives_alone(default_bundle: Bundle, name: str) -> None:
    session = open_graph(default_bundle, name)
    inputs = inputs_for(session.signature, 8)
    together = session.run(inputs)
    for index in range(8):
        alone = session.run({key: value[index : index + 1] for key, value in inputs.items()})
        for key, values in together.items():
            assert np.abs(values[index] - alone[key][0]).max() < BATCH_TOLERANCE * max(1, np.abs(values).max())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_readers_take_and_give_what_the_manifest_says(default_bundle: Bundle, name: str, batch: int) -> None:
    graph = getattr(default_bundle.manifest.readers, name).graph
    session = open_graph(default_bundle, graph)
    signature = signature_of(default_bundle, graph)
    assert session.signature == signature
    outputs = session.run(inputs_for(signature, batch))
    assert list(outputs) == [spec.name for spec in signature.outputs]
    for spec in signature.outputs:
        result = outputs[spec.name]
        assert (result.dtype, len(result), result.ndim) == (np.float32, batch, len(spec.shape))
        fixed = [side for side in enumerate(spec.shape) if isinstance(side[1], int)]
        assert [(axis, result.shape[axis]) for axis, _ in fixed] == fixed
        assert np.isfinite(result).all()


def test_threads_share_a_session(default_bundle: Bundle) -> None:
    session = open_graph(default_bundle, "age_cgan_encoder")
    batches = [inputs_for(session.signature, batch) for batch in (1, 2, 3, 4)]
    expected = [session.run(inputs)["latent"] for inputs in batches]
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(session.run, batches * 3))
    assert all(np.allclose(a["latent"], b, atol=BATCH_TOLERANCE) for a, b in zip(result, expected * 3, strict=True))


def test_another_graph_than_the_manifest_says(default_bundle: Bundle) -> None:
    path, expected = default_bundle.graph_path("age_cgan_encoder"), signature_of(default_bundle, "age_cgan_generator")
    with pytest.raises(GraphSignatureError) as caught:
        OnnxRuntimeSession(path, expected, threads=1)
    result = signature_of(default_bundle, "age_cgan_encoder")
    assert str(caught.value) == f"the file {path.name} has the signature {result}, but {expected} is needed"


@pytest.mark.parametrize("data", [b"", b"this is no graph", b"\x08\x08"])
def test_a_file_that_is_no_graph(default_bundle: Bundle, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "g.onnx").write_bytes(data)
    with pytest.raises(GraphFileError, match=r"^g\.onnx cannot be opened by ONNX Runtime \d"):
        OnnxRuntimeSession(tmp_path / "g.onnx", signature_of(default_bundle, "age_cgan_encoder"), threads=1)


def test_a_file_that_is_not_there(default_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(GraphFileError, match=r"^g\.onnx cannot be opened"):
        OnnxRuntimeSession(tmp_path / "g.onnx", signature_of(default_bundle, "age_cgan_encoder"), threads=1)


def test_a_graph_of_another_number_type(default_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(DOUBLE_GRAPH)
    with pytest.raises(GraphFileError, match=r"^x is of type tensor\(double\); graphs take and give tensor\(float\)$"):
        OnnxRuntimeSession(tmp_path / "g.onnx", signature_of(default_bundle, "age_cgan_encoder"), threads=1)
