"""Cycle-StyleGAN's fine-tuning: pairs that begin from one AE-StyleGAN, the way round, and the best weights kept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dorian_training.data.domains import DomainBatch
from dorian_training.errors import CheckpointError
from dorian_training.methods.cycle_stylegan import CycleStyleGanSettings, CycleStyleGanStage, StyleStart
from dorian_training.networks.ae_stylegan import (
    AeStyleGanShape,
    StyleGenerator,
    StyleReader,
    build_discriminator,
    build_encoder,
)
from dorian_training.networks.age_estimator import DlibAgeEstimator, DlibAgeEstimatorShape
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.eigen_pyramid import EigenPyramid
from tests.small_styles import LEAN
from tests.training.test_ae_stylegan_stage import PAPER

CPU = torch.device("cpu")
MakeStage = Callable[..., CycleStyleGanStage]


def faces(size: int, count: int = 4) -> DomainBatch:
    generator = torch.Generator().manual_seed(0)
    young, old = (torch.rand(count, 3, size, size, generator=generator) * 0.4 + base for base in (-0.6, 0.2))
    return DomainBatch(young, old)


@pytest.fixture(scope="module")
def make() -> MakeStage:
    torch.manual_seed(0)
    facenet = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
    reader = StyleReader(DlibAgeEstimator(DlibAgeEstimatorShape()))

    def weights(shape: AeStyleGanShape) -> dict[str, dict[str, Tensor]]:
        torch.manual_seed(1)
        encoder, generator = build_encoder(shape), StyleGenerator(shape)
        if shape.structure:
            torch.nn.init.normal_(encoder.whitening, std=0.05)  # type: ignore[arg-type]
        for layer in generator.convolutions:
            if layer.shift is not None:
                torch.nn.init.normal_(layer.shift.weight, std=0.1)
        pyramid = EigenPyramid(shape.structure_sides, shape.structure_counts)
        networks = {"encoder_ema": encoder, "generator_ema": generator, "pyramid": pyramid}
        networks["discriminator"] = build_discriminator(shape)
        return {name: network.state_dict() for name, network in networks.items()}

    def make(preset: str = "lean", watched: DomainBatch | None = None, **changes: Any) -> CycleStyleGanStage:
        shape = LEAN if preset == "lean" else PAPER
        shifts = {"old": torch.ones(4), "young": -torch.ones(4)}
        start = StyleStart(weights(shape), *((reader, shifts) if preset == "lean" else ()))
        torch.manual_seed(2)
        settings = replace(CycleStyleGanSettings(), **changes)
        return CycleStyleGanStage(shape, settings, start, facenet, CPU, False, watched)

    return make


@pytest.mark.parametrize(("preset", "size"), [("lean", 96), ("paper", 64)])
def test_a_step_changes_both_pairs_and_both_discriminators_alone(make: MakeStage, preset: str, size: int) -> None:
    stage = make(preset)
    before = copy.deepcopy({name: network.state_dict() for name, network in stage.networks.items()})
    losses = stage.step(faces(size), 1)
    assert all(torch.isfinite(value) for value in losses.values())
    terms = ("adversarial", "cycle") + (("size", "tint", "broad_tint", "imbalance") if preset == "lean" else ())
    expected = {f"g/{term}_{domain}" for term in terms for domain in ("old", "young")}
    assert set(losses) == expected | {f"d/{kind}_{domain}" for kind in ("real", "fake") for domain in ("old", "young")}
    changed = {
        name
        for name, network in stage.networks.items()
        if any(not torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
    }
    parts = ("encoder", "generator", "discriminator")
    assert changed == {f"{part}_{domain}" for part in parts for domain in ("old", "young")}


def test_pairs_begin_with_a_share_of_the_way_between_the_domains(make: MakeStage) -> None:
    image = faces(96).young
    with torch.no_grad():
        same = make(start_shift=0.0)
        torch.testing.assert_close(same.translate(image, "old"), image, atol=1e-5, rtol=0)
        stage = make(start_shift=0.5)
        moved = stage.translate(image, "old") - image
        assert moved.abs().max() > 1e-3
        assert moved.abs().amax(dim=1)[:, stage._mask == 0].max() == 0
        old, young = (stage.networks[f"encoder_{domain}"].offsets for domain in ("old", "young"))
        base = stage.networks["encoder"]
        expected = 0.5 * torch.ones(4) @ base.maps[6]  # type: ignore[index]
        torch.testing.assert_close(old[6] - base.offsets[6], expected)  # type: ignore[index]
        torch.testing.assert_close(young[6] - base.offsets[6], -expected)  # type: ignore[index]
        assert torch.equal(old[:4], base.offsets[:4])  # type: ignore[index]


def test_the_way_round_is_by_the_averages_and_compared_with_the_face_it_began_from(make: MakeStage) -> None:
    stage, batch = make(), faces(96)
    for average in stage.averages.values():
        for parameter in average.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    with torch.no_grad():
        back = stage.translate(stage.translate(batch.old, "young"), "old", average=True)
        expected = (back - batch.old).square().mean()
    assert float(stage.step(batch, 1)["g/cycle_young"]) == pytest.approx(float(expected), rel=1e-4)


def test_discriminators_learn_from_the_pool(make: MakeStage) -> None:
    stage = make(pool=4)
    stage.step(faces(96), 1)
    assert {domain: len(pool.images) for domain, pool in stage.pools.items()} == {"old": 4, "young": 4}
    other = make(pool=4)
    other.load_state_dict(stage.state_dict())
    assert torch.equal(torch.stack(other.pools["old"].images), torch.stack(stage.pools["old"].images))


def test_the_best_pairs_by_frechet_distance_are_those_that_are_written(make: MakeStage) -> None:
    stage = make(watched=faces(96, 12))
    first = stage.measure()
    assert set(first) == {"frechet/old", "frechet/young", "frechet/untouched"}
    kept = copy.deepcopy(stage.kept)
    stage.best = {"old": 0.0, "young": float("inf")}  # old cannot get better, young must
    with torch.no_grad():
        for average in stage.averages.values():
            average.module.load_state_dict({k: v + 0.01 for k, v in average.module.state_dict().items()})
    stage.measure()
    written = stage.weights()
    for name, state in kept.items():
        same = all(torch.equal(value, written[name][key]) for key, value in state.items())
        assert same is name.endswith("old_ema"), name


def test_it_does_not_begin_from_a_run_of_its_own(make: MakeStage) -> None:
    with pytest.raises(CheckpointError, match="begins from an AE-StyleGAN"):
        make().load_pretrained({})
