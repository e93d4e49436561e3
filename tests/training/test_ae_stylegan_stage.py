"""AE-StyleGAN's training: which networks a step changes and by which losses, both presets, and that runs resume."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dorian_training.data.batches import LabelledBatch
from dorian_training.distributed import DistributedContext
from dorian_training.loop import LoopSettings, train
from dorian_training.methods.ae_stylegan import AeStyleGanStage, ReadStyles
from dorian_training.methods.ae_stylegan_settings import LEAN_SETTINGS, AeStyleGanSettings
from dorian_training.networks.ae_stylegan import AeStyleGanShape, StyleMaps
from dorian_training.networks.age_estimator import (
    CompactAgeEstimator,
    CompactAgeEstimatorShape,
    DlibAgeEstimator,
    DlibAgeEstimatorShape,
)
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.layers import at_side
from tests.small_styles import LEAN

CPU = torch.device("cpu")
PAPER = AeStyleGanShape(sides=(4, 8, 16, 32, 64), widths=(4, 4, 4, 4, 4), style=4)
BASE = {"g/pixel", "g/perceptual", "g/adversarial", "g/encoder_adversarial", "d/real", "d/fake", "d/reconstructed"}
MIXED = {"d/wrong_age", "g/size", "g/excess", "g/alike", "g/imbalance", "g/tint", "g/broad_tint", "g/identity"}
MakeStage = Callable[..., AeStyleGanStage]
Snapshot = dict[str, dict[str, Tensor]]


class Stream:
    """The same batch for ever."""

    def __init__(self, batch: LabelledBatch) -> None:
        self.batch = batch

    def next(self) -> LabelledBatch:
        return self.batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def batch(size: int, features: int, count: int = 8) -> LabelledBatch:
    generator = torch.Generator().manual_seed(3)
    ages = torch.linspace(10, 80, count)
    image = torch.rand(count, 3, size, size, generator=generator) * 0.2 + ages[:, None, None, None] / 100 - 0.5
    read = torch.cat([ages[:, None] / 20 - 2, torch.randn(count, 3, generator=generator)], dim=1)[:, :features]
    return LabelledBatch(image, torch.cat([ages[:, None], ages[:, None] + 3, read], dim=1))


@pytest.fixture(scope="module")
def make() -> MakeStage:
    torch.manual_seed(0)
    facenet = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
    estimator = DlibAgeEstimator(DlibAgeEstimatorShape()).eval()

    def make(preset: str, seed: int = 0, **changes: Any) -> AeStyleGanStage:
        torch.manual_seed(seed)
        if preset == "paper":
            settings = replace(AeStyleGanSettings(guided=2, r1_every=4), **changes)
            return AeStyleGanStage(PAPER, settings, facenet, CPU, False, None, batch(64, 0, 4))
        defaults = replace(LEAN_SETTINGS, guided=2, discriminator_alone=0, r1_every=4)
        means = torch.linspace(-2, 2, 91)[:, None] * torch.tensor([1.0, 0, 0, 0])
        stage = AeStyleGanStage(
            LEAN, replace(defaults, **changes), facenet, CPU, False, ReadStyles(estimator, means), batch(96, 4, 4)
        )
        stage.start(StyleMaps(LEAN), batch(96, 4, 32).image)
        for layer in stage.generator.convolutions:
            torch.nn.init.normal_(layer.shift.weight)  # type: ignore[union-attr]
        return stage

    return make


def snapshot(stage: AeStyleGanStage) -> Snapshot:
    return copy.deepcopy({name: network.state_dict() for name, network in stage.networks.items()})


def changed(before: Snapshot, stage: AeStyleGanStage) -> set[str]:
    return {
        name
        for name, network in stage.networks.items()
        if any(not torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
    }


@pytest.mark.parametrize(
    ("preset", "size", "features", "losses", "networks"),
    [
        ("lean", 96, 4, BASE | MIXED, {"encoder", "generator", "discriminator"}),
        (
            "paper",
            64,
            0,
            BASE | {"e/pixel", "e/perceptual", "e/encoder_adversarial"},
            {"encoder", "generator", "mapping", "discriminator"},
        ),
    ],
)
def test_a_step_changes_what_learns_by_the_losses_of_the_preset(
    make: MakeStage, preset: str, size: int, features: int, losses: set[str], networks: set[str]
) -> None:
    stage = make(preset)
    before = snapshot(stage)
    result = stage.step(batch(size, features), 1)
    assert set(result) == losses
    assert all(torch.isfinite(value) for value in result.values())
    assert changed(before, stage) == networks  # never the pyramid
    assert "d/r1" in stage.step(batch(size, features), 4)
    assert all(parameter.requires_grad for parameter in stage.discriminator.parameters())


def test_the_discriminator_learns_alone_at_the_start(make: MakeStage) -> None:
    stage = make("lean", discriminator_alone=3)
    before = snapshot(stage)
    result = stage.step(batch(96, 4), 2)
    assert set(result) == {"d/real", "d/fake", "d/wrong_age"}
    assert changed(before, stage) == {"discriminator"}
    stage.step(batch(96, 4), 3)
    assert "generator" in changed(before, stage)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_encoder_takes_its_own_steps_or_learns_with_the_generator(make: MakeStage, steps: int) -> None:
    stage = make("lean", encoder_steps=steps)
    taken: list[Any] = []
    optimizer_step = stage.optimizer_step

    def note(names: Any, *given: Any) -> Tensor:
        taken.append(names)
        return optimizer_step(names, *given)

    stage.optimizer_step = note  # type: ignore[method-assign]
    stage.step(batch(96, 4), 1)
    assert taken == [*["encoder"] * steps, "discriminator", ["generator"] if steps else ["generator", "encoder"]]


def test_r1_grows_over_its_first_steps(make: MakeStage) -> None:
    weights: list[float] = []
    for number in (0, 4, 96, 400):
        stage = make("lean", r1_warm_up=99, r1_weight=2.0, r1_every=4)
        optimizer_step = stage.optimizer_step
        seen: list[tuple[Any, float]] = []

        def note(names: Any, loss: Tensor, *given: Any, seen: Any = seen, step: Any = optimizer_step) -> Tensor:
            seen.append((names, float(loss.detach())))
            return step(names, loss, *given)  # type: ignore[no-any-return]

        stage.optimizer_step = note  # type: ignore[method-assign]
        losses = stage.step(batch(96, 4), number)
        penalty = [loss for names, loss in seen if names == "discriminator"][1]
        weights.append(penalty / float(losses["d/r1"]) / 4)
    assert weights == pytest.approx([0.01, 0.05, 0.97, 1.0], rel=1e-3)


def test_drawn_styles_are_one_or_two_of_noise(make: MakeStage) -> None:
    for share in (0.0, 1.0):
        stage = make("paper", style_mixing=share)
        styles = stage._drawn_styles(64)
        assert styles.shape == (64, 10, 4)
        alike = (styles[:, :-1] == styles[:, 1:]).all(dim=2)  # (64, 9)
        assert (~alike).sum(dim=1).unique().tolist() == [round(share)]


def test_a_mixed_face_changes_under_the_mask_alone(make: MakeStage) -> None:
    stage, faces = make("lean"), batch(96, 4)
    source = faces.label[:, 0]
    mix = stage._draw_mix(faces, source)
    assert mix is not None
    _, generated, _ = stage._generate(faces, mix)
    change = (generated - faces.image).abs().amax(dim=1)
    assert change.amax() > 1e-3
    assert change[:, stage._mask == 0].amax() == 0
    own = stage._generate(faces, mix._replace(levels=torch.zeros_like(mix.levels)))[1]
    torch.testing.assert_close(own, faces.image, atol=1e-5, rtol=0)  # its own styles leave a face alone


def test_a_discriminator_may_begin_as_an_age_estimator(make: MakeStage) -> None:
    torch.manual_seed(4)
    compact = CompactAgeEstimator(CompactAgeEstimatorShape((4, 4), (2, 2), 0.0)).eval()
    stage = make("lean")
    assert stage.read is not None
    read = replace(stage.read, compact_estimator=compact)
    other = AeStyleGanStage(LEAN, stage.settings, stage.facenet, CPU, False, read)
    image = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        logits = compact(at_side(image, 64))
        expected = torch.stack([logits[:, 8 * span : 8 * span + 8].mean(dim=1) for span in range(12)], dim=1)
        torch.testing.assert_close(other.discriminator(image), expected, atol=1e-4, rtol=1e-3)


def test_faces_are_watched(make: MakeStage) -> None:
    for preset, columns in (("lean", 7), ("paper", 2)):
        stage = make(preset)
        samples = stage.samples()
        assert samples is not None
        assert samples.shape[:3] == (4, columns, 3)
        measured = stage.measure()
        assert measured["reconstruction/error"] > 0
        assert ("age_70/read" in measured) is (preset == "lean")
        error, distance = stage.reconstruction_quality()
        assert error > 0
        assert distance > 0


def test_a_run_resumes_exactly(make: MakeStage, tmp_path: Path) -> None:
    place = DistributedContext(0, 1, CPU)
    stream = Stream(batch(96, 4))
    ends: list[Snapshot] = []
    for folder, legs in (("whole", (4,)), ("halves", (2, 4))):
        for steps in legs:
            stage = make("lean")
            torch.manual_seed(1)
            train(stage, stream, LoopSettings(steps, sample_every=100), tmp_path / folder, place, {})
        ends.append(snapshot(stage))
    for name, state in ends[0].items():
        for key, value in state.items():
            torch.testing.assert_close(ends[1][name][key], value)
    fresh = make("lean", seed=5)
    own = copy.deepcopy(fresh.discriminator.state_dict())
    fresh.new_discriminator = True
    fresh.load_pretrained(stage.weights())
    assert torch.equal(fresh.encoder.maps, stage.encoder.maps)  # type: ignore[arg-type]
    assert all(torch.equal(value, own[key]) for key, value in fresh.discriminator.state_dict().items())
    fresh.new_discriminator = False
    fresh.load_pretrained(stage.weights())
    assert any(not torch.equal(value, own[key]) for key, value in fresh.discriminator.state_dict().items())
    assert stage.weights()["age_means"]["features"].shape == (91, 4)
