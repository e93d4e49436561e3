"""The embedded bundle, and the checkpoint beside it that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_bundle.alignment import crop_matrix, warp_crop
from dorian_bundle.graphs import Precision
from dorian_export.check import check_bundle
from dorian_export.parity import TOLERANCE
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.networks.age_cgan import (
    PRESETS,
    AgeCganShape,
    build_discriminator,
    build_encoder,
    build_generator,
)

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "models" / "checkpoints" / "age_cgan"
BUNDLE = ROOT / "models" / "default"
# Right eye, left eye, nose, right and left corner of the mouth in examples/astronaut.jpg.
ASTRONAUT = ((200.2, 101.7), (246.8, 102.4), (220.1, 124.2), (198.9, 142.4), (239.6, 143.4))

pytestmark = pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="models/checkpoints/age_cgan is not here")


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.fixture(scope="module")
def embedded() -> Bundle:
    return check_bundle(BUNDLE)


@pytest.fixture(scope="module")
def loaded() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    return load_weights(CHECKPOINT)


@pytest.fixture(scope="module")
def trained(loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]) -> tuple[nn.Module, nn.Module]:
    """The averaged encoder and generator of the checkpoint."""
    weights, about = loaded
    shape = AgeCganShape.from_dict(about["shape"])
    encoder, generator = build_encoder(shape), build_generator(shape)
    load_network(encoder, weights, "encoder_ema")
    load_network(generator, weights, "generator_ema")
    return encoder.eval().requires_grad_(False), generator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(embedded: Bundle) -> Tensor:
    """The astronaut's face, and four pictures of noise: RGB in [0, 1]."""
    photo = cv2.cvtColor(cv2.imread(str(ROOT / "examples" / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    size = embedded.manifest.methods[0].crop_size
    crop = warp_crop(np.asarray(photo), crop_matrix(ASTRONAUT, embedded.manifest.alignment, size), size)
    noise = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255, noise])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graphs_are_the_checkpoints_networks(
    embedded: Bundle, trained: tuple[nn.Module, nn.Module], images: Tensor, precision: Precision
) -> None:
    def run(role: str, **feed: Tensor) -> np.ndarray:
        path = str(embedded.graph_path(embedded.manifest.methods[0].graphs[role], precision))
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        output: np.ndarray = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})[0]
        return output

    encoder, generator = trained
    latent = encoder(2 * images - 1)
    assert np.abs(run("encoder", image=images) - latent.numpy()).max() <= TOLERANCE[precision]
    random = torch.randn(3, latent.shape[1], generator=torch.Generator().manual_seed(1))
    latents = torch.cat([latent[:1].expand(6, -1), random])
    conditions = torch.cat([torch.eye(6), torch.full((3, 6), 1 / 6)])
    drawn = (generator(latents, conditions) + 1) / 2
    assert np.abs(run("generator", latent=latents, condition=conditions) - drawn.numpy()).max() <= TOLERANCE[precision]
    assert float((drawn[0] - drawn[5]).abs().max()) > 0.1  # the youngest and the oldest of one person


def test_training_can_be_carried_on(loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]) -> None:
    weights, about = loaded
    shape = AgeCganShape.from_dict(about["shape"])
    assert shape == PRESETS[about["preset"]]
    builders = {"encoder": build_encoder, "generator": build_generator, "discriminator": build_discriminator}
    for name in ("encoder", "encoder_ema", "generator", "generator_ema", "discriminator"):
        load_network(builders[name.removesuffix("_ema")](shape), weights, name)
        assert all(bool(tensor.isfinite().all()) for tensor in weights[name].values())


def test_the_bundle_says_where_it_comes_from(
    embedded: Bundle, loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]
) -> None:
    _, about = loaded
    origin = embedded.manifest.methods[0].provenance
    assert origin.steps[about["stage"]] == about["steps"]
    assert origin.seed == about["seed"]
    assert {entry.name for entry in origin.data} == {"UTKFace", "FairFace"}
    assert sorted(entry.faces for entry in origin.data) == sorted(about["data"].values())
    card = (BUNDLE / "README.md").read_text(encoding="utf-8")
    assert all(f"{count:,}" in card for count in about["group_counts"])
    assert all((BUNDLE / name).is_file() for name in ("samples.jpg", "curves.png"))


def test_judged_ages_rise_from_group_to_group(embedded: Bundle) -> None:
    generated = embedded.manifest.methods[0].provenance.metrics["judged_age"]["generated"]
    ages = [generated[group.label] for group in embedded.manifest.methods[0].age_groups]
    assert ages == sorted(ages)
    assert ages[-1] - ages[0] >= 25


def test_sizes() -> None:
    assert megabytes(CHECKPOINT) <= 25
    assert megabytes(BUNDLE) <= 40
