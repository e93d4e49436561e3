"""Parity: graphs that differ from their networks are refused, and by how much is said."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_bundle.graphs import Precision, Signature
from dorian_export.errors import ExportError, ParityError
from dorian_export.exporters.age_cgan import EncoderGraph, GeneratorGraph
from dorian_export.onnx_writer import in_precision, write_onnx
from dorian_export.verified_export import BATCHES, TOLERANCE, require_parity

Rows = dict[str, np.ndarray]


@pytest.fixture
def rows() -> Rows:
    random = np.random.default_rng(1)
    return {
        "image": random.random((8, 3, 64, 64), dtype=np.float32),
        "latent": random.standard_normal((8, 16), dtype=np.float32),
        "condition": np.eye(6, dtype=np.float32)[np.arange(8) % 6],
    }


@pytest.fixture(scope="module")
def single(bundle: Bundle, networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files in single precision, which a bundle has none of, by role."""
    folder = tmp_path_factory.mktemp("single")
    wrapped = {"encoder": EncoderGraph(networks["encoder"]), "generator": GeneratorGraph(networks["generator"])}
    files = {role: folder / f"age_cgan_{role}.fp32.onnx" for role in wrapped}
    for role, graph in wrapped.items():
        write_onnx(in_precision(graph, "fp32"), bundle.manifest.graphs[f"age_cgan_{role}"].signature, files[role])
    return files


@pytest.fixture
def parity(bundle: Bundle, single: dict[str, Path], rows: Rows) -> Callable[..., float]:
    """Compares a network with a file in single precision, with the bundle's in half, or with another one at ``path``."""

    def parity(
        graph: nn.Module, role: str, precision: Precision = "fp32", path: Path | None = None, **changes: Any
    ) -> float:
        signature = bundle.manifest.graphs[f"age_cgan_{role}"].signature
        file = path or (single[role] if precision == "fp32" else bundle.graph_path(f"age_cgan_{role}", precision))
        return require_parity(graph, file, signature, precision, [rows | changes])

    return parity


@pytest.fixture
def encoder(networks: dict[str, nn.Module]) -> EncoderGraph:
    """A copy, to be changed."""
    return EncoderGraph(copy.deepcopy(networks["encoder"]))


def shifted(encoder: EncoderGraph, by: float) -> EncoderGraph:
    """The encoder with one number of every latent shifted."""
    encoder.encoder.head[-1].bias[3] += by  # type: ignore[index,operator,union-attr]
    return encoder


def test_tolerances() -> None:
    assert TOLERANCE["fp32"] == 1e-4
    assert TOLERANCE["fp16"] < 0.05
    assert BATCHES == (1, 3, 8)
    assert issubclass(ParityError, ExportError)


def test_graphs_agree_with_their_networks(networks: dict[str, nn.Module], parity: Callable[..., float]) -> None:
    graphs = {"encoder": EncoderGraph(networks["encoder"]), "generator": GeneratorGraph(networks["generator"])}
    for role, graph in graphs.items():
        single, half = parity(graph, role), parity(graph, role, "fp16")
        assert 0 < single <= TOLERANCE["fp32"]
        assert single < half <= TOLERANCE["fp16"]


class Darker(nn.Module):
    """A generator, all of whose pixels are darker; they run from 0 to 1, so differences count as they are."""

    def __init__(self, generator: nn.Module, by: float) -> None:
        super().__init__()
        self.graph, self.by = GeneratorGraph(generator), by

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        image: Tensor = self.graph(latent, condition)
        return image - self.by


def test_what_is_allowed_ends_at_the_tolerance(networks: dict[str, nn.Module], parity: Callable[..., float]) -> None:
    generator = networks["generator"]
    assert parity(Darker(generator, 5e-5), "generator") == pytest.approx(5e-5, abs=1e-5)
    with pytest.raises(ParityError):
        parity(Darker(generator, 1.5e-4), "generator")
    assert parity(Darker(generator, 0), "generator", "fp16") < TOLERANCE["fp16"]
    with pytest.raises(ParityError):
        parity(Darker(generator, 0.02), "generator", "fp16")


def test_values_above_1_are_compared_in_proportion(
    encoder: EncoderGraph, parity: Callable[..., float], rows: Rows
) -> None:
    with torch.no_grad():
        largest = [float(encoder(torch.from_numpy(rows["image"][:batch])).abs().max()) for batch in BATCHES]
    assert min(largest) > 1
    result = parity(shifted(encoder, 1e-4), "encoder")
    assert result == pytest.approx(1e-4 / min(largest), rel=0.1)
    with pytest.raises(ParityError):
        parity(shifted(encoder, 1e-4 * min(largest)), "encoder")


def test_a_refusal_names_file_difference_and_tolerance(
    networks: dict[str, nn.Module], parity: Callable[..., float]
) -> None:
    message = r"age_cgan_generator\.fp32\.onnx differs from its network by 0\.5 at batch 1; 0\.0001 is allowed in fp32"
    with pytest.raises(ParityError, match=message):
        parity(Darker(networks["generator"], 0.5), "generator")
    with pytest.raises(ParityError, match=r"fp16\.onnx .* 0\.01 is allowed in fp16"):
        parity(Darker(networks["generator"], 0.5), "generator", "fp16")


def test_a_changed_weight_deep_inside(encoder: EncoderGraph, parity: Callable[..., float]) -> None:
    encoder.encoder.blocks[2][0].weight[5] *= 1.05  # type: ignore[index,operator,union-attr]
    with pytest.raises(ParityError):
        parity(encoder, "encoder")


def test_a_file_of_another_network(
    networks: dict[str, nn.Module], parity: Callable[..., float], tmp_path: Path, single: dict[str, Path]
) -> None:
    model = onnx.load(single["generator"])
    tensor = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
    onnx.save(model, tmp_path / "swapped.onnx")
    with pytest.raises(ParityError, match=r"^swapped\.onnx differs"):
        parity(GeneratorGraph(networks["generator"]), "generator", path=tmp_path / "swapped.onnx")


def test_a_difference_in_the_last_row_alone(encoder: EncoderGraph, parity: Callable[..., float], rows: Rows) -> None:
    class LastRow(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            latent: Tensor = encoder(image)
            latent[7:] += 1
            return latent

    with pytest.raises(ParityError, match="at batch 8"):
        parity(LastRow(), "encoder")


def test_nan_from_the_network_is_refused(encoder: EncoderGraph, parity: Callable[..., float]) -> None:
    with pytest.raises(ParityError, match="differs from its network by nan"):
        parity(shifted(encoder, float("nan")), "encoder")


def test_nan_from_the_file_is_refused(
    networks: dict[str, nn.Module], parity: Callable[..., float], tmp_path: Path, single: dict[str, Path]
) -> None:
    model = onnx.load(single["encoder"])
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [16]:
            tensor.CopyFrom(numpy_helper.from_array(np.full(16, np.nan, np.float32), tensor.name))
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(ParityError, match=r"^nan\.onnx differs from its network by nan"):
        parity(EncoderGraph(networks["encoder"]), "encoder", path=tmp_path / "nan.onnx")


def test_another_shape_is_refused(encoder: EncoderGraph, parity: Callable[..., float]) -> None:
    class Shorter(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            latent: Tensor = encoder(image)
            return latent[:, :1]  # what would broadcast

    with pytest.raises(ParityError, match=r"gives \(1, 16\) at batch 1; its network gives \(1, 1\)"):
        parity(Shorter(), "encoder")


def test_all_inputs_count(bundle: Bundle, single: dict[str, Path], networks: dict[str, nn.Module], rows: Rows) -> None:
    class Bright(nn.Module):
        """Right but for white pictures."""

        def forward(self, image: Tensor) -> Tensor:
            return EncoderGraph(networks["encoder"])(image) + (image.amin(dim=(1, 2, 3)) == 1).float()[:, None]

    signature: Signature = bundle.manifest.graphs["age_cgan_encoder"].signature
    path = single["encoder"]
    assert require_parity(Bright(), path, signature, "fp32", [rows, rows]) <= TOLERANCE["fp32"]
    with pytest.raises(ParityError, match=r"by 0\.\d+ at batch 1"):
        require_parity(Bright(), path, signature, "fp32", [rows, {"image": np.ones_like(rows["image"])}])
    with torch.no_grad():
        assert torch.isfinite(Bright()(torch.ones(1, 3, 64, 64))).all()
