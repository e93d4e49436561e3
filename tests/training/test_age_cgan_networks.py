"""The Age-cGAN networks: the published layout layer by layer, and what all presets take and give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from dorian_training.networks.age_cgan import (
    PRESETS,
    AgeCganShape,
    GeneratorShape,
    build_discriminator,
    build_encoder,
    build_generator,
)

Networks = tuple[nn.Module, nn.Module, nn.Module]


def layers(network: nn.Module, *inputs: Tensor) -> list[str]:
    """Every layer in the order in which it runs, with the shape that it gives and what sets it apart."""
    result: list[str] = []

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        shape = "x".join(map(str, output.shape[1:]))
        match layer:
            case nn.Conv2d():
                detail = f" kernel {layer.kernel_size[0]} stride {layer.stride[0]}"
            case nn.LeakyReLU():
                detail = f" {layer.negative_slope}"
            case nn.Dropout():
                detail = f" {layer.p}"
            case nn.Upsample():
                detail = f" {layer.mode}"
            case _:
                detail = ""
        result.append(f"{type(layer).__name__} {shape}{detail}")

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return result


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def paper() -> Networks:
    """E, G and D of the published layout, without memory behind their weights."""
    with torch.device("meta"):
        shape = PRESETS["paper"]
        return build_encoder(shape), build_generator(shape), build_discriminator(shape)


@pytest.fixture(scope="module", params=list(PRESETS))
def networks(request: pytest.FixtureRequest) -> Iterator[tuple[AgeCganShape, *tuple[nn.Module, ...]]]:
    torch.manual_seed(0)
    shape = PRESETS[request.param]
    built = (build_encoder(shape), build_generator(shape), build_discriminator(shape))
    if shape.generator.eigenfaces:  # these, and what is added to them, begin as nothing
        for part in (built[0].eigenfaces, built[0].head[-1], built[1].eigenfaces, built[1].stages[-1]):
            for tensor in part.state_dict().values():
                tensor.normal_(0, 0.05)
    return shape, *(network.eval().requires_grad_(False) for network in built)  # type: ignore[return-value]


def test_the_published_encoder(paper: Networks) -> None:
    encoder = paper[0]
    assert layers(encoder, torch.zeros(2, 3, 64, 64, device="meta")) == [
        "Conv2d 32x32x32 kernel 5 stride 2",
        "LeakyReLU 32x32x32 0.2",
        "Conv2d 64x16x16 kernel 5 stride 2",
        "BatchNorm2d 64x16x16",
        "LeakyReLU 64x16x16 0.2",
        "Conv2d 128x8x8 kernel 5 stride 2",
        "BatchNorm2d 128x8x8",
        "LeakyReLU 128x8x8 0.2",
        "Conv2d 256x4x4 kernel 5 stride 2",
        "BatchNorm2d 256x4x4",
        "LeakyReLU 256x4x4 0.2",
        "Flatten 4096",
        "Linear 4096",
        "BatchNorm1d 4096",
        "LeakyReLU 4096 0.2",
        "Linear 100",
    ]
    convolutions = sum(before * after * 25 + after for before, after in ((3, 32), (32, 64), (64, 128), (128, 256)))
    norms = 2 * (64 + 128 + 256 + 4096)
    assert numbers(encoder) == convolutions + norms + (4096 * 4096 + 4096) + (4096 * 100 + 100)


def test_the_published_generator(paper: Networks) -> None:
    generator = paper[1]
    assert layers(generator, torch.zeros(2, 100, device="meta"), torch.zeros(2, 6, device="meta")) == [
        "Linear 2048",
        "LeakyReLU 2048 0.2",
        "Dropout 2048 0.2",
        "Linear 16384",
        "BatchNorm2d 256x8x8",
        "LeakyReLU 256x8x8 0.2",
        "Dropout 256x8x8 0.2",
        "Upsample 256x16x16 nearest",
        "Conv2d 128x16x16 kernel 5 stride 1",
        "BatchNorm2d 128x16x16",
        "LeakyReLU 128x16x16 0.2",
        "Upsample 128x32x32 nearest",
        "Conv2d 64x32x32 kernel 5 stride 1",
        "BatchNorm2d 64x32x32",
        "LeakyReLU 64x32x32 0.2",
        "Upsample 64x64x64 nearest",
        "Conv2d 3x64x64 kernel 5 stride 1",
        "Tanh 3x64x64",
    ]
    dense = ((100 + 6) * 2048 + 2048) + (2048 * 8 * 8 * 256 + 8 * 8 * 256)
    convolutions = sum(before * after * 25 + after for before, after in ((256, 128), (128, 64), (64, 3)))
    assert numbers(generator) == dense + convolutions + 2 * (256 + 128 + 64)


def test_the_published_discriminator(paper: Networks) -> None:
    discriminator = paper[2]
    assert layers(discriminator, torch.zeros(2, 3, 64, 64, device="meta"), torch.zeros(2, 6, device="meta")) == [
        "Conv2d 64x32x32 kernel 3 stride 2",
        "LeakyReLU 64x32x32 0.2",
        "Conv2d 128x16x16 kernel 3 stride 2",
        "BatchNorm2d 128x16x16",
        "LeakyReLU 128x16x16 0.2",
        "Conv2d 256x8x8 kernel 3 stride 2",
        "BatchNorm2d 256x8x8",
        "LeakyReLU 256x8x8 0.2",
        "Conv2d 512x4x4 kernel 3 stride 2",
        "BatchNorm2d 512x4x4",
        "LeakyReLU 512x4x4 0.2",
        "Flatten 8192",
        "Linear 1",
    ]
    convolutions = sum(before * after * 9 + after for before, after in ((3, 64), (64 + 6, 128), (128, 256), (256, 512)))
    assert numbers(discriminator) == convolutions + 2 * (128 + 256 + 512) + (512 * 4 * 4 + 1)


def test_the_condition_joins_after_the_first_convolution_as_planes(paper: Networks) -> None:
    torch.manual_seed(0)
    shape = PRESETS["paper"]
    discriminator = build_discriminator(shape).eval()
    condition = torch.tensor([[0.0, 1, 0, 0, 0, 0], [0, 0, 0, 0.25, 0.75, 0]])
    joined, *rest = discriminator.features(torch.zeros(2, 3, 64, 64), condition)
    assert joined.shape == (2, 64 + 6, 32, 32)
    assert torch.equal(joined[:, 64:], condition[:, :, None, None].expand(2, 6, 32, 32))
    assert [feature.shape[1] for feature in rest] == [128, 256, 512]


@pytest.mark.parametrize(("name", "most"), [("dcgan", 6e6), ("lean", 7.5e6)])
def test_the_presets_of_our_own_are_small(name: str, most: float) -> None:
    with torch.device("meta"):
        shape = PRESETS[name]
        built = [build_encoder(shape), build_generator(shape), build_discriminator(shape)]
    assert sum(map(numbers, built)) < most
    assert shape.discriminator.condition == "outputs"


def test_the_lean_preset_alone_begins_as_eigenfaces() -> None:
    """And its latents are the largest: a person is to fit in."""
    sides = {name: (shape.encoder.eigenfaces, shape.generator.eigenfaces) for name, shape in PRESETS.items()}
    assert sides == {"paper": (0, 0), "dcgan": (0, 0), "lean": (32, 32)}
    assert PRESETS["lean"].latent == max(shape.latent for shape in PRESETS.values()) == 384
    assert [name for name, shape in PRESETS.items() if shape.discriminator.layout == "ages"] == ["lean"]


def test_what_networks_take_and_give(networks: tuple[AgeCganShape, *tuple[nn.Module, ...]]) -> None:
    shape, encoder, generator, discriminator = networks
    condition = torch.eye(6)[:2]
    image = generator(torch.randn(2, shape.latent) * 100, condition)
    assert image.shape == (2, 3, 64, 64)
    assert 0.5 < float(image.abs().max()) <= 1.0
    assert float(image.std()) > 0.01
    assert encoder(image).shape == (2, shape.latent)
    logits = discriminator(image, condition)
    assert logits.shape == (2, 6 if shape.discriminator.condition == "outputs" else 1)
    assert len(discriminator.features(image, condition)) == (8 if shape.discriminator.layout == "ages" else 4)
    assert not torch.equal(logits[0], logits[1])


def test_what_the_condition_changes(networks: tuple[AgeCganShape, *tuple[nn.Module, ...]]) -> None:
    shape, _, generator, discriminator = networks
    latent, image = torch.randn(1, shape.latent), torch.rand(1, 3, 64, 64) * 2 - 1
    young, old = torch.eye(6)[:1], torch.eye(6)[5:]
    assert not torch.allclose(generator(latent, young), generator(latent, old))
    same = torch.equal(discriminator(image, young), discriminator(image, old))
    assert same == (shape.discriminator.condition == "outputs")


def test_rows_of_a_batch_do_not_mix_at_inference(networks: tuple[AgeCganShape, *tuple[nn.Module, ...]]) -> None:
    shape, encoder, generator, _ = networks
    latent, condition = torch.randn(3, shape.latent), torch.eye(6)[:3]
    images = generator(latent, condition)
    assert torch.allclose(generator(latent[1:2], condition[1:2]), images[1:2], atol=1e-5)
    assert torch.allclose(encoder(images[2:]), encoder(images)[2:], atol=1e-5)


def test_dropout_only_while_training(tiny_shape: AgeCganShape) -> None:
    torch.manual_seed(0)
    generator = build_generator(tiny_shape)
    latent, condition = torch.randn(2, tiny_shape.latent), torch.eye(6)[:2]
    assert not torch.equal(generator(latent, condition), generator(latent, condition))
    generator.eval()
    assert torch.equal(generator(latent, condition), generator(latent, condition))


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 8, 8, 8)])
@pytest.mark.parametrize(
    ("upsampling", "kernel"), [("nearest", 3), ("nearest", 5), ("transposed", 4), ("transposed", 5)]
)
def test_every_kind_of_doubling_ends_at_64_px(widths: tuple[int, ...], upsampling: Any, kernel: int) -> None:
    shape = GeneratorShape(widths, kernel, upsampling, hidden=0, refine=2)
    generator = build_generator(replace(PRESETS["paper"], latent=4, generator=shape))
    assert generator(torch.randn(2, 4), torch.eye(6)[:2]).shape == (2, 3, 64, 64)
    kinds = {type(layer) for layer in generator.modules()}
    assert (nn.ConvTranspose2d in kinds) == (upsampling == "transposed")


def test_a_shape_survives_the_files_that_carry_it(tiny_shape: AgeCganShape) -> None:
    for shape in (*PRESETS.values(), tiny_shape):
        values = shape.as_dict()
        assert AgeCganShape.from_dict(values) == shape
        assert AgeCganShape.from_dict(json.loads(json.dumps(values))) == shape
        assert AgeCganShape.from_dict(yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(values))))) == shape
    assert AgeCganShape.from_dict(PRESETS["dcgan"].as_dict()) != PRESETS["paper"]


def test_a_shape_from_before_there_were_layouts(tiny_shape: AgeCganShape) -> None:
    values = tiny_shape.as_dict()
    del values["discriminator"]["layout"]
    assert AgeCganShape.from_dict(values) == tiny_shape
