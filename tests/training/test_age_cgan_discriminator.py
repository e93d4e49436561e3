"""Age-cGAN's discriminator of age groups: that it can begin as an age estimator, and what the stages make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.data.batches import BalancedBatches
from dorian_training.errors import ConfigError
from dorian_training.losses.reconstruction import feature_distance
from dorian_training.methods.age_cgan import AdversarialSettings, AdversarialStage, LatentSettings, LatentStage
from dorian_training.networks.age_cgan import (
    AgeCganShape,
    DiscriminatorShape,
    GroupDiscriminator,
    build_discriminator,
)
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape

MakeBatches = Callable[..., BalancedBatches]
CPU = torch.device("cpu")
SPANS = [(0, 18), (19, 29), (30, 39), (40, 49), (50, 59), (60, 90)]  # years of the groups, as an estimator has them


@pytest.fixture(scope="module")
def estimator() -> CompactAgeEstimator:
    """An age estimator whose logits differ from year to year, and whose batch statistics are its own."""
    torch.manual_seed(0)
    network = CompactAgeEstimator(CompactAgeEstimatorShape())
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            for values in (layer.bias.data, layer.running_mean):
                values.normal_(0, 0.3)  # type: ignore[union-attr]
    nn.init.normal_(network.head[-1].weight, std=0.3)  # type: ignore[arg-type]
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def shape(tiny_shape: AgeCganShape) -> AgeCganShape:
    """Tiny but for the discriminator, which has one layout."""
    return replace(tiny_shape, discriminator=DiscriminatorShape(layout="ages"))


def faces(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def begun_as(estimator: CompactAgeEstimator | None, shape: AgeCganShape) -> AdversarialStage:
    torch.manual_seed(2)
    return AdversarialStage(shape, AdversarialSettings(), CPU, False, estimator)


def judged(logits: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Of an estimator's logits, the mean over the years of each span."""
    return torch.stack([logits[:, first : last + 1].mean(dim=1) for first, last in spans], dim=1)


@torch.no_grad()
def test_it_begins_as_the_estimator(estimator: CompactAgeEstimator, shape: AgeCganShape) -> None:
    """A group's logit is the mean of its years'."""
    assert [group.low for group in PAPER_GROUPS] == [first for first, _ in SPANS]
    result = begun_as(estimator, shape).discriminator(faces(), torch.eye(6)[:4])
    expected = judged(estimator(faces()), SPANS)
    assert expected.std(dim=1).min() > 0.01
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-3)
    fresh = begun_as(None, shape).discriminator(faces(), torch.eye(6)[:4])
    assert (fresh - expected).abs().max() > 0.05


@torch.no_grad()
def test_what_sees_all_pixels_begins_by_saying_nothing(shape: AgeCganShape) -> None:
    network = build_discriminator(shape)
    assert isinstance(network, GroupDiscriminator)
    coarse = network.coarse_head(network.coarse(faces()))
    assert torch.equal(network(faces()), coarse)
    nn.init.ones_(network.fine_head[-1].weight)  # type: ignore[arg-type]
    assert (network(faces()) - coarse).abs().min() > 1e-3


@torch.no_grad()
def test_a_condition_has_no_part_in_it(shape: AgeCganShape) -> None:
    network = build_discriminator(shape)
    young, old = torch.eye(6)[:1].expand(4, -1), torch.eye(6)[5:].expand(4, -1)
    assert torch.equal(network(faces(), young), network(faces(), old))
    assert torch.equal(network(faces(), young), network(faces()))  # type: ignore[call-arg]
    for one, other in zip(network.features(faces(), young), network.features(faces(), old), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_its_features_are_what_it_judges_by(shape: AgeCganShape) -> None:
    network = build_discriminator(shape)
    assert isinstance(network, GroupDiscriminator)
    every = network.features(faces(2), torch.eye(6)[:2])
    widths, sides = CompactAgeEstimatorShape().widths, (32, 32, 16, 16, 8, 8, 4, 4)
    assert [item.shape for item in every] == [(2, width, s, s) for width, s in zip(widths, sides, strict=True)]
    assert all(float(item.min()) == 0 < float(item.max()) for item in every)
    torch.testing.assert_close(network.coarse_head(every[-1]), network(faces(2)))


def test_estimators_of_another_layout(shape: AgeCganShape) -> None:
    for widths, strides in (
        ((4, 8), (2, 2)),
        ((32, 64, 96, 96, 192, 192, 208, 200), CompactAgeEstimatorShape().strides),
    ):
        other = CompactAgeEstimator(CompactAgeEstimatorShape(widths=widths, strides=strides))
        with pytest.raises(ConfigError, match="the age estimator is of another layout than the discriminator"):
            begun_as(other, shape)


def test_a_discriminator_of_another_layout_begins_as_nothing(
    estimator: CompactAgeEstimator, tiny_shape: AgeCganShape
) -> None:
    result, expected = (begun_as(item, tiny_shape).weights()["discriminator"] for item in (estimator, None))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in result.items())


def test_it_learns_what_is_real(estimator: CompactAgeEstimator, shape: AgeCganShape, make_batches: MakeBatches) -> None:
    """Both its towers, and the generator through it; the estimator stays as it was."""
    before = {name: tensor.clone() for name, tensor in estimator.state_dict().items()}
    stage, batches = begun_as(estimator, shape), make_batches()
    start = {name: tensor.clone() for name, tensor in stage.discriminator.state_dict().items()}
    drawn = stage.generator.state_dict()["dense.0.weight"].clone()
    for number in (16, 1):
        losses = stage.step(batches.next(), number)
        assert all(bool(loss.isfinite()) for loss in losses.values())
    assert losses.keys() == {"d/real", "d/fake", "d/wrong_group", "g/adversarial"}
    still = [name for name, tensor in stage.discriminator.state_dict().items() if torch.equal(tensor, start[name])]
    assert still == []
    assert not torch.equal(stage.generator.state_dict()["dense.0.weight"], drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in estimator.state_dict().items())


def test_the_latent_stage_measures_by_it(shape: AgeCganShape, make_batches: MakeBatches) -> None:
    batch = make_batches().next()
    torch.manual_seed(3)
    stage = LatentStage(shape, LatentSettings(), CPU, False, watched=batch)
    stage.load_pretrained(begun_as(None, shape).weights())
    discriminator, generator, encoder = stage.discriminator, stage.generator, stage.encoder
    torch.manual_seed(4)
    condition = torch.eye(6)[batch.group]
    latent = torch.randn(len(batch.group), 8)
    with torch.no_grad():
        joined = torch.cat([generator(latent, condition), batch.image])
        rebuilt = generator(encoder(joined)[len(latent) :], condition)
        features = [discriminator.features(image, condition) for image in (rebuilt, batch.image)]  # type: ignore[operator]
    torch.manual_seed(4)
    losses = stage.step(batch, 0)
    assert float(losses["e/feature"]) == pytest.approx(float(feature_distance(*features)), rel=1e-3)
    assert float(losses["e/feature"]) > 0.01
