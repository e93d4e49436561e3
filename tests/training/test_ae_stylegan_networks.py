"""AE-StyleGAN's networks: layers against their closed forms, levels, and what no batch may change."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dorian_training.networks.ae_stylegan import (
    PRESETS,
    AeStyleGanShape,
    MappingNetwork,
    StyleGenerator,
    StyleMaps,
    build_discriminator,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.eigen_pyramid import EigenPyramid, fit_pyramid
from dorian_training.networks.residual_trunk import ResidualEncoder, minibatch_deviation
from dorian_training.networks.style_layers import ScaledLinear, StyledConv, doubled

SMALL = AeStyleGanShape(
    sides=(3, 6, 12),
    widths=(8, 8, 6),
    style=5,
    mapping=0,
    structure_sides=(6,),
    structure_counts=(9,),
    luma_until=6,
    equalized=False,
    noise=False,
    shifts=True,
    convolve_small=True,
)
SMALL_PAPER = AeStyleGanShape(sides=(4, 8, 16), widths=(8, 8, 6), style=8)


def test_presets_have_the_reports_levels() -> None:
    assert PRESETS["paper"].levels == PRESETS["lean"].levels == 12
    assert PRESETS["paper256"].levels == 14
    assert [PRESETS[name].size for name in ("paper", "paper256", "lean")] == [128, 256, 96]


def styled(**options: object) -> StyledConv:
    torch.manual_seed(0)
    settings: dict[str, object] = {"modulation": "demodulation", "equalized": False}
    return StyledConv(4, 6, 3, **(settings | options)).eval()  # type: ignore[arg-type]


def test_demodulation_equals_a_kernel_scaled_for_each_image() -> None:
    layer, x, style = styled(), torch.randn(2, 4, 5, 5), torch.randn(2, 3)
    factors = layer.affine(style)
    for image, factor, result in zip(x, factors, layer(x, style), strict=True):
        kernel = layer.convolution.weight * factor[None, :, None, None]
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = F.leaky_relu(F.conv2d(image[None], kernel, padding=1)[0], 0.2) * 2**0.5
        torch.testing.assert_close(result, expected)


def test_adain_gives_each_channel_the_mean_and_spread_of_its_style() -> None:
    layer, x, style = styled(modulation="adain"), torch.randn(2, 4, 9, 9), torch.randn(2, 3)
    before = F.leaky_relu(layer(x, style) / 2**0.5, 1 / 0.2)  # undo the rectifier
    scale, shift = layer.affine(style).chunk(2, dim=1)
    torch.testing.assert_close(before.mean(dim=(2, 3)), shift, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(before.std(dim=(2, 3), correction=0), (1 + scale).abs(), atol=1e-3, rtol=1e-3)


def test_an_up_convolution_before_or_behind_the_doubling_is_the_same_inside() -> None:
    small, large = styled(doubles=True, convolve_small=True), styled(doubles=True)
    assert styled(doubles=True)(torch.ones(1, 4, 8, 8), torch.zeros(1, 3)).shape == (1, 6, 16, 16)
    x = torch.full((1, 4, 8, 8), 0.7)  # constant: the two orders only differ at edges and in what a kernel sees
    style = torch.zeros(1, 3)
    torch.testing.assert_close(small(x, style)[..., 6:10, 6:10], large(x, style)[..., 6:10, 6:10])


def test_equalized_layers_begin_with_the_same_spread_as_plain_ones() -> None:
    torch.manual_seed(0)
    x = torch.randn(4000, 64)
    for rate in (1.0, 0.01):
        for equalized in (True, False):
            assert ScaledLinear(64, 8, equalized, rate=rate)(x).std().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("preset", ["lean", "paper"])
def test_each_level_changes_the_picture_and_the_twelfth_only_its_last_layer(preset: str) -> None:
    torch.manual_seed(0)
    shape = SMALL if preset == "lean" else SMALL_PAPER
    generator = StyleGenerator(shape).eval()
    for layer in generator.convolutions:
        if layer.shift is not None:
            torch.nn.init.normal_(layer.shift.weight)
    linear = [torch.zeros(1, 3, side, side) for side in shape.sides] if shape.structure else []
    styles = torch.randn(1, shape.levels, shape.style)
    with torch.no_grad():
        before = generator(styles, linear)
        assert before.shape == (1, 3, shape.size, shape.size)
        for level in range(shape.levels):
            changed = styles.clone()
            changed[:, level] += 1
            assert (generator(changed, linear) - before).abs().max() > 1e-4, level
    hooked: list[torch.Tensor] = []
    generator.convolutions[-1].register_forward_hook(lambda *given: hooked.append(given[2]))
    with torch.no_grad():
        changed = styles.clone()
        changed[:, -1] += 1
        generator(styles, linear), generator(changed, linear)
    assert torch.equal(hooked[0], hooked[1])


def test_a_change_is_bounded_to_a_tenth_of_the_range() -> None:
    shape, change = PRESETS["lean"], torch.tensor([-9.0, -0.1, 0.0, 1e-3, 0.2])
    torch.testing.assert_close(shape.bounded(change), 0.2 * torch.tanh(change / 0.2))
    assert float(shape.bounded(change).abs().max()) <= 0.2 + 1e-6
    torch.testing.assert_close(shape.excess(change), torch.tensor([8.8, 0.0, 0.0, 0.0, 0.0]))


def test_coarse_pictures_of_the_lean_generator_are_grey() -> None:
    torch.manual_seed(0)
    generator = StyleGenerator(SMALL).eval()
    for side, to_rgb in zip(SMALL.sides, generator.to_rgb, strict=True):
        width = to_rgb.convolution.weight.shape[1]
        picture = to_rgb(torch.randn(2, width, side, side), torch.randn(2, SMALL.style))
        assert bool((picture[:, 0] == picture[:, 2]).all()) is (side <= 6)


def test_styles_are_linear_in_whitened_features_which_are_bounded() -> None:
    torch.manual_seed(0)
    maps = StyleMaps(SMALL)
    pooled = torch.randn(400, 512) @ torch.diag(torch.linspace(3, 0.1, 512))
    ages = 40 + 10 * pooled[:, 0]
    features = maps.fit(pooled, ages)
    assert features.shape == (400, SMALL.style)
    torch.testing.assert_close(features, maps.whitened(pooled))
    assert features.abs().max() < 4
    assert features.std(dim=0).mean().item() == pytest.approx(1, abs=0.1)
    styles = maps(pooled)
    assert styles.shape == (400, SMALL.levels, SMALL.style)
    torch.testing.assert_close(maps.styles_of(features.mean(dim=0, keepdim=True))[0], styles.mean(dim=0))
    direction = torch.linalg.lstsq(features - features.mean(0), (ages - ages.mean())[:, None]).solution[:, 0]
    direction = direction / direction.norm()
    for level_map in maps.maps:  # what tells ages counts three times
        torch.testing.assert_close(direction @ level_map, 3 * direction, atol=1e-4, rtol=1e-4)


def test_a_pyramid_gives_back_faces_of_its_own_span() -> None:
    torch.manual_seed(0)
    basis = torch.randn(3, 3, 12, 12)
    weights = torch.randn(60, 3)
    images = torch.einsum("fk,kchw->fchw", weights, basis) * 0.1
    images = (images + images.flip(3)) / 2  # as mirror images are fitted, too
    pyramid = EigenPyramid((6, 12), (3, 3))
    fit_pyramid(pyramid, images)
    code = pyramid.encode(images)
    assert code.shape == (60, 6)
    torch.testing.assert_close(pyramid.decode(code)[-1], images, atol=1e-4, rtol=1e-3)
    assert code[:, :3].square().mean(dim=0) == pytest.approx([1, 1, 1], abs=0.05)
    faces = linear_faces(pyramid, code, (3, 6, 12, 24))
    assert [face.shape[2] for face in faces] == [3, 6, 12, 24]
    torch.testing.assert_close(faces[3], doubled(faces[2]))


def test_the_paper_preset_encodes_each_face_by_itself() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(SMALL_PAPER).eval()
    assert isinstance(encoder, ResidualEncoder)
    images = torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        together = encoder(images)
        assert together.shape == (5, 6, 8)
        for image, styles in zip(images, together, strict=True):
            torch.testing.assert_close(encoder(image[None])[0], styles, atol=1e-5, rtol=1e-4)


def test_minibatch_deviation_is_that_of_groups_of_four() -> None:
    features = torch.randn(8, 3, 2, 2)
    groups = [features[index::2] for index in range(2)]
    expected = [(group.var(dim=0, correction=0) + 1e-8).sqrt().mean() for group in groups]
    result = minibatch_deviation(features)
    assert result.shape == (8, 1, 2, 2)
    for index in range(8):
        torch.testing.assert_close(result[index].mean(), expected[index % 2])


def test_the_mapping_network_learns_a_hundredth_as_fast_and_normalises_its_noise() -> None:
    torch.manual_seed(0)
    mapping = MappingNetwork(SMALL_PAPER)
    noise = torch.randn(4, 8)
    torch.testing.assert_close(mapping(noise), mapping(3 * noise))
    assert [layer.rate for layer in mapping.layers if isinstance(layer, ScaledLinear)] == [0.01] * 8


def test_discriminators_judge_ages_where_there_is_no_mapping_network() -> None:
    assert build_discriminator(SMALL_PAPER)(torch.randn(4, 3, 16, 16)).shape == (4, 1)
    assert build_discriminator(PRESETS["lean"])(torch.randn(2, 3, 96, 96)).shape == (2, 12)
