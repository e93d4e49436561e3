"""CycleGAN's networks: the published layouts number by number, and what any of them does to an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_training.errors import ConfigError
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.cyclegan import (
    PRESETS,
    CycleGanShape,
    FaceDiscriminator,
    build_discriminator,
    build_translator,
)

Layer = tuple[str, int, int, int, int]  # kind, channels in and out, kernel, stride
RESNET = CycleGanShape(size=32, width=4, depth=1, outer=5, patches=(4, 8))
UNET = CycleGanShape(size=32, layout="unet", width=4, depth=4, patches=(4, 8))


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def weightless(preset: str, discriminator: bool = False) -> nn.Module:
    """A network as large as published, of which no weight takes memory."""
    with torch.device("meta"):
        return (build_discriminator if discriminator else build_translator)(PRESETS[preset])


def convolutions(network: nn.Module) -> Iterator[Layer]:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kind = "up" if isinstance(layer, nn.ConvTranspose2d) else "conv"
            assert layer.kernel_size[0] == layer.kernel_size[1]
            yield kind, layer.in_channels, layer.out_channels, int(layer.kernel_size[0]), int(layer.stride[0])


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def kinds(network: nn.Module) -> list[str]:
    """Kinds of the layers that hold no others, in their order."""
    return [type(layer).__name__ for layer in network.modules() if not list(layer.children())]


# --- the published layouts ---


def test_the_residual_translator_is_the_papers_with_nine_blocks() -> None:
    """c7s1-64, d128, d256, R256 × 9, u128, u64, c7s1-3 (appendix 7.2)."""
    network = weightless("resnet9")
    assert list(convolutions(network)) == [
        ("conv", 3, 64, 7, 1),
        ("conv", 64, 128, 3, 2),
        ("conv", 128, 256, 3, 2),
        *[("conv", 256, 256, 3, 1)] * 18,
        ("up", 256, 128, 3, 2),
        ("up", 128, 64, 3, 2),
        ("conv", 64, 3, 7, 1),
    ]
    assert parameters(network) == 11_378_179  # 11.378 M in the authors' code
    result = kinds(network)
    outer, block = ["ReflectionPad2d", "Conv2d"], ["ReflectionPad2d", "Conv2d", "InstanceNorm2d"]
    halving, doubling = ["Conv2d", "InstanceNorm2d", "ReLU"], ["ConvTranspose2d", "InstanceNorm2d", "ReLU"]
    assert result == [
        *outer, "InstanceNorm2d", "ReLU", *halving * 2, *[*block, "ReLU", *block] * 9, *doubling * 2, *outer, "Tanh",
    ]  # fmt: skip
    padded = [layer.padding[0] for layer in network.modules() if isinstance(layer, nn.ReflectionPad2d)]
    assert padded == [3, *[1] * 18, 3]


def test_the_unet_is_that_of_256_pixels() -> None:
    """Eight halvings to a single cell, and eight doublings that see the maps of the way down (Isola et al. 2017)."""
    network = weightless("unet")
    widths = [3, 64, 128, 256, *[512] * 5]
    down = [("conv", before, after, 4, 2) for before, after in pairwise(widths)]
    up = [(512, 512), *[(1024, 512)] * 3, (1024, 256), (512, 128), (256, 64), (128, 3)]
    assert list(convolutions(network)) == [*down, *(("up", before, after, 4, 2) for before, after in up)]
    assert parameters(network) == 54_409_603  # 54.41 M in the authors' code
    assert kinds(network) == [
        "Conv2d", *["LeakyReLU", "Conv2d", "InstanceNorm2d"] * 6, "LeakyReLU", "Conv2d",
        *["ReLU", "ConvTranspose2d", "InstanceNorm2d"] * 7, "ReLU", "ConvTranspose2d", "Tanh",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", ["resnet9", "unet"])
def test_the_discriminator_is_the_papers(preset: str) -> None:
    """C64-C128-C256-C512, and a convolution to one score (appendix 7.2)."""
    network = weightless(preset, discriminator=True)
    assert list(convolutions(network)) == [
        ("conv", 3, 64, 4, 2),
        ("conv", 64, 128, 4, 2),
        ("conv", 128, 256, 4, 2),
        ("conv", 256, 512, 4, 1),
        ("conv", 512, 1, 4, 1),
    ]
    assert parameters(network) == 2_764_737  # 2.765 M in the authors' code
    assert kinds(network) == [
        "Conv2d", "LeakyReLU", *["Conv2d", "InstanceNorm2d", "LeakyReLU"] * 3, "Conv2d",
    ]  # fmt: skip
    assert {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize(
    ("shape", "scores", "patch"),
    [(PRESETS["resnet9"], 30, 70), (CycleGanShape(size=64, patches=(4, 4, 4)), 14, 34)],
    ids=["published", "three convolutions"],
)
def test_a_score_sees_a_patch(shape: CycleGanShape, scores: int, patch: int) -> None:
    """Without normalisation, which lets all cells of a map know its mean, and with weights that hide no pixel."""
    network = build_discriminator(replace(shape, patches=(1,) * len(shape.patches)))
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.InstanceNorm2d):
            network.set_submodule(name, nn.Identity())
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    image = torch.ones(1, 3, shape.size, shape.size, requires_grad=True)
    result = network(image)
    assert result.shape == (1, 1, scores, scores)
    (gradient,) = torch.autograd.grad(result[0, 0, scores // 2, scores // 2], image)
    rows, columns = (gradient[0, 0] != 0).any(dim=1), (gradient[0, 0] != 0).any(dim=0)
    assert (int(rows.sum()), int(columns.sum())) == (patch, patch)


@torch.no_grad()
def test_weights_begin_as_published() -> None:
    torch.manual_seed(0)
    for network in (build_translator(RESNET), build_translator(UNET), build_discriminator(RESNET)):
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                assert not tensor.any()
            elif tensor.numel() > 500:
                assert float(tensor.std()) == pytest.approx(0.02, rel=0.2)
                assert abs(float(tensor.mean())) < 0.003


# --- what they do ---


@torch.no_grad()
def test_the_lean_preset_gives_images_as_large_as_it_takes_them() -> None:
    torch.manual_seed(0)
    translator, discriminator = build_translator(PRESETS["lean"]), build_discriminator(PRESETS["lean"])
    image = noise(2, 64)
    assert translator(image).shape == image.shape
    assert discriminator(image).shape == (2, 1)
    assert parameters(translator) < 1_000_000


@torch.no_grad()
@pytest.mark.parametrize("shape", [RESNET, UNET], ids=lambda shape: shape.layout)
def test_published_layouts_draw_the_whole_image_and_a_residual_one_what_is_added_to_it(shape: CycleGanShape) -> None:
    torch.manual_seed(0)
    plain, added = build_translator(shape), build_translator(replace(shape, residual=True))
    last = [layer for layer in plain.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1]
    last.weight.mul_(99)
    image = noise(2, 32)
    drawn = plain(image)
    assert drawn.shape == image.shape
    assert -1 <= float(drawn.min()) < -0.9
    assert 0.9 < float(drawn.max()) <= 1
    assert 0 < float((added(image.clamp(-1, 1)) - image.clamp(-1, 1)).abs().mean()) < 0.05  # it begins with little
    added.network.load_state_dict(plain.state_dict())  # type: ignore[union-attr]
    mask = torch.from_numpy(face_mask(mean_mesh(DEFAULT_TEMPLATE.points(32)), 32))
    assert torch.equal(added(image), (image + mask * drawn).clamp(-1, 1))
    beside = (mask == 0).expand_as(image)
    assert beside.any()
    assert torch.equal(added(image)[beside], image[beside])
    assert {name: preset.residual for name, preset in PRESETS.items()} == {
        "resnet9": False, "unet": False, "lean": True,
    }  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("shape", [RESNET, UNET], ids=lambda shape: shape.layout)
def test_other_faces_of_a_batch_change_nothing(shape: CycleGanShape) -> None:
    """Nor do those of training stay behind in statistics."""
    torch.manual_seed(0)
    image = noise(3, 32)
    others = torch.cat([image[:1], 5 * noise(2, 32, seed=1)])
    for network in (build_translator(shape), build_discriminator(shape)):
        alone = network.train()(image[:1])
        assert torch.allclose(network(image)[:1], alone, atol=1e-6)
        assert torch.allclose(network(others)[:1], alone, atol=1e-6)
        assert torch.allclose(network.eval()(image[:1]), alone, atol=1e-6)
        assert {name.rpartition(".")[2] for name in network.state_dict()} == {"weight", "bias"}


@torch.no_grad()
def test_every_map_of_the_way_down_is_used_on_the_way_up() -> None:
    torch.manual_seed(0)
    network, image = build_translator(UNET), noise(1, 32)
    plain = network(image)
    for level, up in enumerate(network.up):  # type: ignore[arg-type]
        weight = up[1].weight  # of channels that come from below, then of those that were kept
        if level == 0:
            continue
        half = len(weight) // 2
        for part in (slice(0, half), slice(half, None)):
            kept = weight[part].clone()
            weight[part] = 0
            assert float((network(image) - plain).abs().max()) > 1e-6
            weight[part] = kept
    assert torch.equal(network(image), plain)


@torch.no_grad()
def test_the_finest_kept_map_carries_a_pixel_to_its_own_place() -> None:
    torch.manual_seed(0)
    network, image = build_translator(UNET), noise(1, 32)
    changed = image.clone()
    changed[0, :, 11, 20] += 1
    last = network.up[-1][1].weight  # type: ignore[index,union-attr]
    last[: UNET.width] = 0  # what comes from below
    rows, columns = torch.nonzero((network(changed) - network(image)).abs().amax(dim=1)[0], as_tuple=True)
    assert len(rows)
    assert (rows - 11).abs().max() <= 3
    assert (columns - 20).abs().max() <= 3


def test_every_kernel_learns() -> None:
    for shape in (RESNET, UNET):
        torch.manual_seed(0)
        for network in (build_translator(shape), build_discriminator(shape)):
            network(noise(2, 32)).square().mean().backward()
            silent = [name for name, p in network.named_parameters() if p.ndim > 1 and not p.grad.any()]  # type: ignore[union-attr]
            assert silent == []


@torch.no_grad()
def test_a_discriminator_of_whole_faces_sees_what_an_age_estimator_sees_and_says_nothing_of_it_yet() -> None:
    torch.manual_seed(0)
    estimator = CompactAgeEstimator(CompactAgeEstimatorShape()).train()
    for _ in range(3):  # statistics that folding must take along
        estimator(noise(8, 64) + 0.3)
    discriminator, image = build_discriminator(PRESETS["lean"]), noise(2, 64, seed=1)
    assert isinstance(discriminator, FaceDiscriminator)
    recorded = estimator.eval().features(image)
    assert not torch.allclose(discriminator.coarse(image), recorded, atol=0.1)
    discriminator.start_tower(estimator)
    assert torch.allclose(discriminator.coarse(image), recorded, atol=1e-4)
    assert torch.equal(discriminator(image), torch.zeros(2, 1))


def test_an_estimator_of_another_layout_is_refused() -> None:
    other = CompactAgeEstimator(CompactAgeEstimatorShape(widths=(4, 4), strides=(2, 2))).eval()
    with pytest.raises(ConfigError, match="of another layout than the discriminator"):
        FaceDiscriminator().start_tower(other)


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_survive_json(preset: str) -> None:
    shape = PRESETS[preset]
    assert CycleGanShape.from_dict(json.loads(json.dumps(shape.as_dict()))) == shape
    assert CycleGanShape.from_dict(shape.as_dict()) == shape
