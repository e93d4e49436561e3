"""The age translator's two networks: what they take and give, what ages do to a delta, and what a face costs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.mesh import LEFT_EYE, mean_mesh
from dorian_training.errors import CheckpointError, ConfigError
from dorian_training.networks.age_discriminator import AgeDiscriminator, AgeDiscriminatorShape
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.age_translator import (
    AgeTranslator,
    AgeTranslatorShape,
    ModulatedBlock,
    TranslatorShape,
)
from dorian_training.networks.shading import goatee_of, luma_of

UNBOUNDED: dict[str, Any] = {
    "delta_bound": 0.0,
    "fine_bound": 0.0,
    "light_bound": 0.0,
    "fold_gain": 0.0,
    "photo_blur": 0,
    "delta_blur": 0,
}
SMALL = TranslatorShape(size=64, widths=(4, 8, 12), middle=1, fine=4, style=8, waves=2, gentle=5.0)
SMALL_DISCRIMINATOR = AgeDiscriminatorShape(widths=(8, 8, 12), strides=(2, 1, 2), fine=(4, 6), bins=7, years=10.0)


def started(shape: TranslatorShape = SMALL) -> AgeTranslator:
    torch.manual_seed(0)
    return AgeTranslator(shape)


def awake(shape: TranslatorShape = SMALL) -> AgeTranslator:
    """A translator whose head, which starts at zero, is as random as the rest."""
    network = started(shape)
    nn.init.normal_(network.head.weight, std=0.3)
    nn.init.normal_(network.head.bias, std=0.3)  # type: ignore[arg-type]
    return network


def faces(count: int = 1, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def years(*ages: float) -> Tensor:
    return torch.tensor(ages)


@torch.no_grad()
def test_training_begins_with_no_change_at_all() -> None:
    assert not started()(faces(3), years(20, 50, 30), years(60, 10, 30)).any()


@torch.no_grad()
def test_a_face_at_its_own_age_is_not_touched() -> None:
    delta = awake()(faces(3), years(20, 41.5, 70), years(20, 41.5, 70.5))
    assert not delta[:2].any()
    assert delta[2].any()


@torch.no_grad()
@pytest.mark.parametrize("gentle", [5.0, 8.0])
def test_a_delta_fades_in_with_the_years_of_change(monkeypatch: pytest.MonkeyPatch, gentle: float) -> None:
    network, image = awake(replace(SMALL, gentle=gentle, fold_gain=0.0)), faces()
    monkeypatch.setattr(network.code, "forward", lambda source, target: torch.ones(len(source), SMALL.style))
    whole = network(image, years(0), years(1000))
    for change in (-30.0, -2.0, -0.5, 0.5, 2.0, 8.0, 30.0):
        delta = network(image, years(40), years(40 + change))
        torch.testing.assert_close(delta, whole * (1 - math.exp(-abs(change) / gentle)))


@torch.no_grad()
def test_both_ages_and_their_order_count() -> None:
    pairs = [(20, 50), (30, 60), (50, 20), (60, 30)]  # thirty years each, so that the gate is the same
    source, target = years(*(pair[0] for pair in pairs)), years(*(pair[1] for pair in pairs))
    deltas = awake(replace(SMALL, **UNBOUNDED))(faces().expand(4, -1, -1, -1), source, target)
    apart = torch.cdist(deltas.flatten(1), deltas.flatten(1)) / deltas.flatten(1).norm(dim=1).mean()
    assert apart[~torch.eye(4, dtype=torch.bool)].min() > 1e-3


@torch.no_grad()
def test_ages_up_to_a_hundred_have_codes_of_their_own() -> None:
    code, ages = started().code, torch.arange(0.0, 101.0, 5)
    for first, second in ((ages, torch.zeros_like(ages)), (torch.zeros_like(ages), ages)):
        result = code(first, second)
        assert result.shape == (len(ages), SMALL.style)
        assert torch.pdist(result).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("side", [64, 96, 128])
def test_a_delta_is_as_large_as_its_face(side: int) -> None:
    delta = awake()(faces(2, side), years(20, 30), years(70, 60))
    assert delta.shape == (2, 3, side, side)
    assert delta.dtype == torch.float32
    assert delta.std() > 0.003


@torch.no_grad()
def test_rows_of_a_batch_do_not_mix() -> None:
    network, images, source, target = awake(), faces(4), years(20, 30, 40, 50), years(60, 60, 20, 90)
    whole = network(images, source, target)
    for row in range(4):
        one = slice(row, row + 1)
        assert torch.allclose(network(images[one], source[one], target[one]), whole[one], atol=1e-5)


def test_every_weight_learns() -> None:
    network = awake()
    delta = network(faces(4), years(20, 30, 40, 50), years(60, 60, 20, 90))
    (delta * torch.randn(delta.shape)).sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_fine_detail_of_the_face_reaches_its_own_place_in_the_delta() -> None:
    network, image = awake(replace(SMALL, **UNBOUNDED)), faces().requires_grad_()  # what is bounded is smoothed
    nn.init.zeros_(network.fine.weight)  # nothing comes up from where the face is halved
    network.unbounded(image, years(20), years(60))[0, :, 20, 30].sum().backward()
    assert image.grad is not None
    reach = image.grad[0].abs().amin(dim=0)  # of the colour that counts least
    assert torch.nonzero(reach[18:23, 28:33]).shape == (25, 2)
    assert torch.nonzero(image.grad).shape == (3 * 25, 4)


@torch.no_grad()
def test_a_block_starts_near_to_doing_nothing() -> None:
    torch.manual_seed(0)
    block, features = ModulatedBlock(32, 8), torch.randn(4, 32, 16, 16)
    changed = block(features, torch.randn(4, 8)) - features
    assert 0.05 < changed.std() < 0.6


@torch.no_grad()
def test_a_blocks_style_scales_and_shifts_what_lies_between_its_convolutions() -> None:
    torch.manual_seed(0)
    block, features = ModulatedBlock(2, 3), torch.randn(1, 2, 8, 8)
    nn.init.zeros_(block.modulation.weight)
    block.modulation.bias.copy_(torch.tensor([0.5, -1.0, 7.0, -0.25]))  # scales of both channels, then shifts
    between = block.first(nn.functional.leaky_relu(features, 0.2))
    between = between * torch.tensor([1.5, 0.0])[:, None, None] + torch.tensor([7.0, -0.25])[:, None, None]
    expected = features + block.second(nn.functional.leaky_relu(between, 0.2))
    torch.testing.assert_close(block(features, torch.randn(1, 3)), expected)


@torch.no_grad()
def test_what_ships_is_small_and_quick() -> None:
    network, shape = started(TranslatorShape()), TranslatorShape()
    assert 2 < 2 * sum(t.numel() for t in network.state_dict().values()) / 1e6 < 6  # megabytes in half precision
    with FlopCounterMode(display=False) as counter:
        network(faces(1, shape.size), years(20), years(60))
    assert 0.2e9 < counter.get_total_flops() / 2 < 1.5e9  # a product and a sum count as two


def test_shapes_survive_json() -> None:
    for shape in (AgeTranslatorShape(), AgeTranslatorShape(SMALL, SMALL_DISCRIMINATOR)):
        assert AgeTranslatorShape.from_dict(json.loads(json.dumps(shape.as_dict()))) == shape
    again = AgeTranslator(AgeTranslatorShape.from_dict(AgeTranslatorShape(SMALL).as_dict()).translator)
    again.load_state_dict(awake().state_dict())
    with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected key|Missing key"):
        AgeTranslator(TranslatorShape()).load_state_dict(awake().state_dict())


def test_a_checkpoint_of_another_version_is_named_as_that() -> None:
    shape = AgeTranslatorShape().as_dict()
    shape["translator"] |= {"hue_bound": 0.3}
    with pytest.raises(
        CheckpointError, match="has hue_bound, which TranslatorShape does not know: the checkpoint is of"
    ):
        AgeTranslatorShape.from_dict(shape)


def bounded(luma: Tensor, image: Tensor | None = None, older: bool = True, **bounds: Any) -> Tensor:
    """The luma (batch, 1, side, side) that a translator with these bounds, and whose head says ``luma``, draws on a grey ``image``.

    The change is of very many years, in which faces get older unless ``older`` is false.
    """
    network = started(replace(SMALL, **(UNBOUNDED | bounds)))
    network.head = Said(luma)  # type: ignore[assignment]
    grey = torch.zeros(1, 1, *luma.shape[2:]) if image is None else image
    ages = [years(*[age] * len(luma)) for age in ((0, 1000) if older else (1000, 0))]
    drawn: Tensor = network(grey.expand(len(luma), 3, -1, -1), *ages)
    return luma_of(drawn)


class Said(nn.Module):
    def __init__(self, luma: Tensor) -> None:
        super().__init__()
        self.luma = luma

    def forward(self, features: Tensor) -> Tensor:
        return self.luma


def square(value: float) -> Tensor:
    return torch.full((1, 1, 48, 48), float(value))


@torch.no_grad()
def test_a_delta_is_bounded_by_a_hyperbolic_tangent() -> None:
    luma = torch.linspace(-30, 30, 64).repeat(1, 1, 64, 1)
    torch.testing.assert_close(bounded(luma, delta_bound=0.7), 0.7 * torch.tanh(luma / 0.7))
    torch.testing.assert_close(bounded(luma), luma)
    assert bounded(luma, delta_bound=0.7).abs().max() <= 0.7


@torch.no_grad()
def test_a_spot_is_bounded_and_broad_light_is_not() -> None:
    broad = square(0.5)
    torch.testing.assert_close(bounded(broad, fine_bound=0.2), broad)
    spot = square(0)
    spot[..., 23:26, 23:26] = -1
    drawn = bounded(spot, fine_bound=0.2)
    assert -0.25 < float(drawn.min()) < -0.15
    assert float(drawn[..., :10, :10].abs().max()) < 0.01


@torch.no_grad()
def test_light_rises_to_that_of_its_surroundings_and_hardly_beyond() -> None:
    skin, brow = square(0.2), (..., slice(20, 24), slice(12, 36))
    skin[brow] = -0.6
    lighter = bounded(square(1), skin, light_bound=0.06)
    torch.testing.assert_close(lighter[..., :2, :], torch.full((1, 1, 2, 48), 0.06), atol=1e-3, rtol=0)  # bare skin
    assert float(lighter[brow].min()) > 0.4  # what is darker than the skin around it may get as light
    assert float((skin + lighter).max()) < 0.27
    darker = square(-0.3)
    torch.testing.assert_close(bounded(darker, skin, light_bound=0.06), darker)


@torch.no_grad()
def test_of_ageing_shadows_only_folds_are_drawn() -> None:
    """Within a broad shadow nothing is left, of a broad light a share; a line is deepened, its banks are lighter by a share."""
    folds = {"fold_gain": 2.0, "broad_light": 0.5, "bank_light": 0.3}
    shadow, light, line = square(-0.2), square(0.2), square(0)
    assert float(bounded(shadow, square(0), **folds)[..., 22:26, 22:26].abs().max()) < 1e-6
    torch.testing.assert_close(
        bounded(light, square(0), **folds)[..., 22:26, 22:26], light[..., 22:26, 22:26] / 2, atol=1e-6, rtol=0
    )
    line[..., 24, :] = -0.1
    drawn = bounded(line, square(0), **folds)[0, 0, :, 24]
    # Two boxes of 5 leave a fifth of a line of one row: its peak is 1/5.
    assert float(drawn[24]) == pytest.approx(2 * -0.1 * (1 - 1 / 5), abs=1e-6)
    # Beside it, 4, 3, 2 and 1 of 25 parts of the line are taken away.
    torch.testing.assert_close(drawn[20:24], 0.3 * 2 * 0.1 * torch.tensor([1, 2, 3, 4]) / 25, atol=1e-6, rtol=0)
    for change in (shadow, light, line):
        kept = bounded(change, square(0), older=False, young_shadow=1.0, goatee_shadow=1.0, **folds)
        torch.testing.assert_close(kept, change)
    torch.testing.assert_close(bounded(light, square(0), older=False, **folds), light)


@torch.no_grad()
def test_folds_run_as_the_lines_of_old_skin_do() -> None:
    """On a forehead whose lines run along the rows, a line along them stays, one across them goes; eyes and who gets younger keep theirs."""
    lines = {"fold_gain": 2.0, "stroke_gain": 1.5, "young_shadow": 1.0, "goatee_shadow": 1.0}
    network = started(replace(SMALL, **(UNBOUNDED | lines)))
    network.follow_lines(torch.tensor([-1.0, 0.0])[:, None, None].expand(2, 4, 4), torch.full((4, 4), 100.0))
    points = mean_mesh(DEFAULT_TEMPLATE.points(64))
    eye = points[LEFT_EYE].mean(axis=0).round().astype(int)
    forehead = eye // (1, 3)
    image, older, younger = torch.zeros(1, 3, 64, 64), torch.tensor([True]), torch.tensor([False])
    for x, y in (forehead, eye):
        along, across = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
        along[..., y, x - 8 : x + 9], across[..., y - 8 : y + 9, x] = -0.1, -0.1
        kept, gone = (float(network.lit(luma, image, older)[..., y, x]) for luma in (along, across))
        assert kept < -0.1
        assert gone == pytest.approx(kept, rel=0.2) if y == eye[1] else gone > kept / 4
        torch.testing.assert_close(network.lit(across, image, younger), across)


@torch.no_grad()
def test_checkpoints_from_before_folds_followed_lines_are_read() -> None:
    state = awake().state_dict()
    unstroked = state.pop("strokes")
    network = started()
    network.follow_lines(torch.ones(2, 4, 4), torch.ones(4, 4))
    assert not torch.equal(network.strokes, unstroked)
    network.load_state_dict(state)
    assert torch.equal(network.strokes, unstroked)
    torch.testing.assert_close(network.head.weight, awake().head.weight)


def lines_at(*columns: int) -> Tensor:
    """A luma (1, 1, 64, 64) with lines from top to bottom."""
    luma = torch.zeros(1, 1, 64, 64)
    luma[..., list(columns)] = -0.1
    return luma


@torch.no_grad()
def test_cheeks_have_a_few_folds_and_not_many() -> None:
    """A fold below the eyes stays if there is one, and is faint between others; above the eyes all stay."""
    older = torch.tensor([True])
    folds = {"fold_gain": 2.0, "stroke_gain": 1.0, "crowd_bound": 0.012}
    network = started(replace(SMALL, **(UNBOUNDED | folds)))
    free = started(replace(SMALL, **(UNBOUNDED | folds | {"crowd_bound": 0.0})))
    cheek, forehead, image = (..., 45, 32), (..., 8, 32), torch.zeros(1, 3, 64, 64)
    one, many = lines_at(32), lines_at(20, 26, 32, 38, 44)
    alone, among = free.lit(one, image, older), free.lit(many, image, older)
    assert float(among[cheek]) == pytest.approx(float(alone[cheek]), rel=0.2)
    assert float(network.lit(one, image, older)[cheek]) == pytest.approx(float(alone[cheek]), rel=1e-4)
    # As many as five lines in two boxes of 15: by the square of what there are too many.
    dark = F.avg_pool2d(-among.clamp(max=0), (1, 15), 1, (0, 7), count_include_pad=False)
    crowd = float(F.avg_pool2d(dark, (1, 15), 1, (0, 7), count_include_pad=False)[cheek])
    assert crowd > 2 * 0.012
    fainter = network.lit(many, image, older)
    assert float(fainter[cheek]) == pytest.approx(float(among[cheek]) * (0.012 / crowd) ** 2, rel=1e-3)
    torch.testing.assert_close(fainter[forehead], among[forehead])
    torch.testing.assert_close(network.lit(many, image, ~older), free.lit(many, image, ~older))


def test_shapes_from_before_keep_the_light_beside_folds_and_all_folds() -> None:
    shape = TranslatorShape().as_dict()
    assert TranslatorShape.from_dict(shape) == TranslatorShape()
    del shape["bank_light"], shape["crowd_bound"]
    assert TranslatorShape.from_dict(shape) == TranslatorShape(bank_light=1.0, crowd_bound=0.0)
    assert AgeTranslatorShape.from_dict({"translator": shape}).translator.bank_light == 1


@torch.no_grad()
def test_who_gets_younger_gets_a_share_of_broad_shadows_but_no_goatee() -> None:
    shadow = square(-0.2)
    drawn = bounded(shadow, square(0), older=False, fold_gain=2.0, young_shadow=0.6, goatee_shadow=0.1)
    goatee = goatee_of(shadow.shape[2])
    torch.testing.assert_close(drawn, shadow * (0.6 - 0.5 * goatee), atol=5e-3, rtol=0)  # of another size
    points = mean_mesh(DEFAULT_TEMPLATE.points(shadow.shape[2])).round().astype(int)
    covered = {name: float(goatee[0, 0, y, x]) for name, (x, y) in {"chin": points[9], "lips": points[53]}.items()}
    assert min(covered.values()) > 0.5
    forehead, cheek, bridge, eye = points[0], points[5], points[64], points[71]
    assert max(float(goatee[0, 0, y, x]) for x, y in (forehead, cheek, bridge, eye)) == 0


@torch.no_grad()
def test_what_is_drawn_has_no_edges() -> None:
    step = square(0)
    step[..., 24:] = -0.3
    drawn = bounded(step, delta_blur=3)
    # Two boxes of 3 make an edge of 1/9, 3/9, 6/9, 8/9 of its height.
    expected = -0.3 * torch.tensor([0, 1, 3, 6, 8, 9]) / 9
    torch.testing.assert_close(drawn[0, 0, 24, 21:27], expected)


@torch.no_grad()
def test_a_sharp_photo_is_to_the_network_what_a_blurred_one_is() -> None:
    blind, seeing = (awake(replace(SMALL, **(UNBOUNDED | blur))) for blur in ({"photo_blur": 3}, {}))
    photo = faces(1, 64)
    blurred = F.avg_pool2d(F.avg_pool2d(photo, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    ages = years(20), years(60)
    sharp, seen = seeing.unbounded(photo, *ages), seeing.unbounded(blurred, *ages)
    torch.testing.assert_close(blind.unbounded(photo, *ages), seen, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(sharp, seen, atol=1e-3)


def excess(luma: Tensor, image: Tensor | None = None, **bounds: Any) -> float:
    network = AgeTranslator(TranslatorShape(**(UNBOUNDED | bounds)))
    return float(network.excess(luma, torch.zeros(1, 3, *luma.shape[2:]) if image is None else image))


@torch.no_grad()
def test_excess_is_what_goes_beyond_each_bound_squared() -> None:
    luma = square(0.5)
    assert excess(luma) == 0
    assert excess(luma, delta_bound=0.5) == 0
    assert excess(luma, delta_bound=0.35) == pytest.approx(0.15**2)
    assert excess(-luma, delta_bound=0.35) == pytest.approx(0.15**2)
    assert excess(luma, fine_bound=0.2) == pytest.approx(0, abs=1e-12)  # it is not fine
    stripes = square(1)
    stripes[..., ::2] = -1.0
    assert excess(stripes, fine_bound=0.2) == pytest.approx(0.8**2, rel=0.05)  # all but the mean of a box is fine
    assert excess(luma, light_bound=0.06) == pytest.approx(0.44**2)
    assert excess(-luma, light_bound=0.06) == 0


# --- the discriminator ---


@torch.no_grad()
@pytest.mark.parametrize("side", [64, 96, 128])
@pytest.mark.parametrize("bins", [7, 12])
def test_a_discriminator_has_an_output_per_span_of_ages(side: int, bins: int) -> None:
    torch.manual_seed(0)
    logits = AgeDiscriminator(replace(SMALL_DISCRIMINATOR, bins=bins))(faces(3, side))
    assert logits.shape == (3, bins)
    assert torch.pdist(logits.T).min() > 1e-4
    assert torch.pdist(logits).min() > 1e-4


def test_every_weight_of_the_discriminator_learns() -> None:
    torch.manual_seed(0)
    network = AgeDiscriminator(SMALL_DISCRIMINATOR)
    for parameter in network.fine_head.parameters():
        nn.init.normal_(parameter)
    (network(faces(4)) * torch.randn(4, 7)).sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@torch.no_grad()
def test_a_discriminators_towers_keep_the_scale_of_what_they_see() -> None:
    """In the mean over some starts."""
    shape = AgeDiscriminatorShape()
    scales: dict[str, list[float]] = {"coarse": [], "fine": []}
    for seed in range(4):
        torch.manual_seed(seed)
        network = AgeDiscriminator(shape)
        for name, tower in (("coarse", network.coarse), ("fine", network.fine)):
            features = tower(torch.randn(2, 3, 64, 64))
            scales[name].append(float(features.square().mean().sqrt()))
            assert bool((features < 0).any()) == (name == "fine")
    assert all(0.5 < sum(scale) / len(scale) < 2 for scale in scales.values())
    assert shape.bins * shape.years >= 90  # all ages that are drawn


@torch.no_grad()
def test_only_the_fine_tower_sees_what_64_pixels_do_not_hold() -> None:
    torch.manual_seed(0)
    network = AgeDiscriminator(SMALL_DISCRIMINATOR)
    plain = faces(2, side=128)
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    ruled = plain + 0.3 * ((rows + columns) % 2 * 2 - 1)
    torch.testing.assert_close(network(ruled), network(plain), rtol=0, atol=5e-3)  # at the start it says nothing
    for parameter in network.fine_head.parameters():
        nn.init.normal_(parameter)
    assert (network(ruled) - network(plain)).abs().max() > 0.05


def well_read(shape: AgeDiscriminatorShape) -> CompactAgeEstimator:
    """An age estimator of the layout of ``shape`` whose batch statistics are not those of its start."""
    torch.manual_seed(3)
    estimator = CompactAgeEstimator(CompactAgeEstimatorShape(shape.widths, shape.strides, dropout=0.5))
    nn.init.normal_(estimator.head[-1].weight)  # type: ignore[arg-type]
    with torch.no_grad():
        for norm in estimator.features[1::3]:
            nn.init.uniform_(norm.weight, 0.5, 2)  # type: ignore[arg-type]
            nn.init.normal_(norm.bias)  # type: ignore[arg-type]
        for _ in range(3):
            estimator(torch.randn(8, 3, 64, 64) * 2 + 1)
    return estimator.eval()


@torch.no_grad()
@pytest.mark.parametrize(("bins", "years_each"), [(12, 8.0), (7, 14.0), (6, 2.5)])
def test_a_discriminator_may_begin_with_an_estimators_means_over_its_spans(bins: int, years_each: float) -> None:
    shape = AgeDiscriminatorShape(widths=(8, 8, 12), strides=(2, 1, 2), bins=bins, years=years_each)
    estimator, network = well_read(shape), AgeDiscriminator(shape)
    before = {name: tensor.clone() for name, tensor in estimator.state_dict().items()}
    network.start_from_estimator(estimator)
    images = nn.functional.interpolate(faces(3, side=2), scale_factor=32.0) * 3
    known, result = estimator(images), network(images)
    for span in range(bins):
        first, last = round(span * years_each), round((span + 1) * years_each)
        torch.testing.assert_close(result[:, span], known[:, first:last].mean(dim=1), rtol=1e-4, atol=1e-4)
    assert torch.pdist(result).min() > 0.03
    assert all(torch.equal(tensor, before[name]) for name, tensor in estimator.state_dict().items())


def test_a_discriminator_that_began_as_an_estimator_learns_apart_from_it() -> None:
    shape = AgeDiscriminatorShape(widths=(8, 8, 12), strides=(2, 1, 2))
    estimator, network = well_read(shape), AgeDiscriminator(shape)
    network.start_from_estimator(estimator)
    (network(faces(4)) * torch.randn(4, 12)).sum().backward()
    assert all(weight.grad is not None and weight.requires_grad for weight in network.parameters())
    assert all(weight.grad is None for weight in estimator.parameters())
    own = {weight.data_ptr() for weight in network.parameters()}
    assert own.isdisjoint(weight.data_ptr() for weight in estimator.parameters())


def test_an_estimator_of_another_layout_is_refused() -> None:
    narrow = well_read(AgeDiscriminatorShape(widths=(8, 8, 8), strides=(2, 1, 2)))
    short = well_read(AgeDiscriminatorShape(widths=(8, 8), strides=(2, 1)))
    for estimator in (narrow, short):
        with pytest.raises(ConfigError, match="another layout"):
            AgeDiscriminator(AgeDiscriminatorShape(widths=(8, 8, 12), strides=(2, 1, 2))).start_from_estimator(
                estimator
            )


def test_the_standard_discriminator_can_begin_as_the_standard_estimator() -> None:
    AgeDiscriminator(AgeDiscriminatorShape()).start_from_estimator(
        CompactAgeEstimator(CompactAgeEstimatorShape()).eval()
    )
