"""CycleGAN's training: what its losses are of, which networks they change, the pool of older images, and exact resuming."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dorian_training.data.domains import DomainBatch
from dorian_training.errors import CheckpointError
from dorian_training.methods.cyclegan import CycleGanSettings, CycleGanStage, ImagePool
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.cyclegan import CycleGanShape, FaceDiscriminator

MakeStage = Callable[..., CycleGanStage]
Weights = dict[str, dict[str, Tensor]]
SIDE = 16
SHAPE = CycleGanShape(size=SIDE, width=4, depth=1, outer=3, patches=(4, 8))
NETWORKS = ("to_old", "discriminator_old", "to_young", "discriminator_young")
TRANSLATIONS = {f"g/{kind}_{domain}" for kind in ("adversarial", "cycle", "identity") for domain in ("old", "young")}
CRITICS = {"d/old", "d/young"}


@pytest.fixture
def make_stage() -> MakeStage:
    """A stage of tiny networks, initialised from ``seed``, with changed settings."""

    def make(seed: int = 0, amp: bool = False, watched: DomainBatch | None = None, **changes: float) -> CycleGanStage:
        torch.manual_seed(seed)
        settings = CycleGanSettings(**changes)  # type: ignore[arg-type]
        return CycleGanStage(SHAPE, settings, torch.device("cpu"), amp, watched)

    return make


def batch(seed: int = 0, count: int = 2) -> DomainBatch:
    """Dark faces and bright ones."""
    random = torch.Generator().manual_seed(seed)
    young, old = torch.rand(2, count, 3, SIDE, SIDE, generator=random)
    return DomainBatch(*(item.contiguous(memory_format=torch.channels_last) for item in (young - 1, old)))


def copied(stage: CycleGanStage) -> Weights:
    return copy.deepcopy(stage.weights())


def changed(before: Weights, after: Weights) -> list[str]:
    """The networks of which a tensor has changed."""
    return [name for name, state in before.items() if any(not torch.equal(t, after[name][k]) for k, t in state.items())]


# --- a step ---


def test_a_step_changes_all_four_networks_and_both_averages(make_stage: MakeStage) -> None:
    stage = make_stage()
    before = copied(stage)
    assert before.keys() == {*NETWORKS, "to_old_ema", "to_young_ema"}
    losses = stage.step(batch(), 0)
    assert losses.keys() == TRANSLATIONS | CRITICS
    assert all(loss.shape == () and not loss.requires_grad and bool(loss.isfinite()) for loss in losses.values())
    assert sorted(changed(before, copied(stage))) == sorted(before)
    assert all(p.requires_grad for network in stage.networks.values() for p in network.parameters())


def test_discriminators_of_whole_faces_begin_with_what_the_age_estimator_sees_and_then_learn() -> None:
    torch.manual_seed(0)
    estimator = CompactAgeEstimator(CompactAgeEstimatorShape())
    shape = replace(SHAPE, size=64, residual=True, patches=())
    stage = CycleGanStage(shape, CycleGanSettings(), torch.device("cpu"), False, None, estimator)
    recorded = estimator.features(torch.zeros(1, 3, 64, 64))
    critics = [stage.networks[f"discriminator_{domain}"] for domain in ("old", "young")]
    for critic in critics:
        assert isinstance(critic, FaceDiscriminator)
        assert torch.allclose(critic.coarse(torch.zeros(1, 3, 64, 64)), recorded, atol=1e-5)
    before = copied(stage)
    faces = DomainBatch(*(torch.nn.functional.interpolate(item, (64, 64)) for item in (batch().young, batch().old)))
    for number in range(2):  # a head that says nothing yet has no gradient for what is below it
        losses = stage.step(faces, number)
    assert losses.keys() == TRANSLATIONS | CRITICS
    assert sorted(changed(before, copied(stage))) == sorted(before)


def expected_losses(networks: dict[str, nn.Module], real: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the paper's equations 1 and 2, and its identity loss, say of ``networks``."""
    result = {}
    for domain, source in (("old", "young"), ("young", "old")):
        to, back, critic = (networks[name] for name in (f"to_{domain}", f"to_{source}", f"discriminator_{domain}"))
        fake = to(real[source])
        result[f"g/adversarial_{domain}"] = ((critic(fake) - 1) ** 2).mean()
        result[f"g/cycle_{source}"] = (back(fake) - real[source]).abs().mean()
        result[f"g/identity_{domain}"] = (to(real[domain]) - real[domain]).abs().mean()
        of_real, of_fake = critic(real[domain]), critic(fake.detach())
        result[f"d/{domain}"] = (((of_real - 1) ** 2).mean() + (of_fake**2).mean()) / 2
    return result


def test_losses_and_what_each_network_learns_from_are_the_papers(make_stage: MakeStage) -> None:
    stage, faces = make_stage(cycle_weight=7.0, identity_weight=0.25), batch()
    networks = copy.deepcopy(stage.networks)
    expected = expected_losses(networks, {"young": faces.young, "old": faces.old})
    losses = stage.step(faces, 0)
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value.detach()), rel=1e-4)
    weights = {"adversarial": 1.0, "cycle": 7.0, "identity": 7.0 * 0.25}
    total = sum(weights[name[2:].partition("_")[0]] * expected[name] for name in TRANSLATIONS)
    objectives = dict.fromkeys(("to_old", "to_young"), total)
    objectives |= {f"discriminator_{domain}": expected[f"d/{domain}"] for domain in ("old", "young")}
    for name, objective in objectives.items():
        own = list(networks[name].parameters())
        gradients = torch.autograd.grad(objective, own, retain_graph=True)  # type: ignore[arg-type]
        for parameter, gradient in zip(stage.networks[name].parameters(), gradients, strict=True):
            assert parameter.grad is not None
            assert torch.allclose(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("weight", "translations"), [(0.5, 3), (0.0, 2)])
def test_without_an_identity_loss_faces_of_the_own_domain_are_not_translated(
    make_stage: MakeStage, weight: float, translations: int
) -> None:
    stage = make_stage(identity_weight=weight)
    recorded: list[str] = []
    for name in ("to_old", "to_young"):
        stage.networks[name].register_forward_hook(lambda *_, name=name: recorded.append(name))
    losses = stage.step(batch(), 0)
    assert sorted(recorded) == ["to_old"] * translations + ["to_young"] * translations
    assert any("identity" in name for name in losses) == bool(weight)


def test_discriminators_are_shown_what_the_pool_gives(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, faces, older = make_stage(), batch(), batch(seed=9)
    critics = {domain: copy.deepcopy(stage.networks[f"discriminator_{domain}"]) for domain in ("old", "young")}
    fakes = {"old": stage.networks["to_old"](faces.young), "young": stage.networks["to_young"](faces.old)}
    given: dict[str, Tensor] = {}
    for domain in ("old", "young"):

        def exchange(images: Tensor, domain: str = domain) -> Tensor:
            given[domain] = images
            return getattr(older, domain)

        monkeypatch.setattr(stage.pools[domain], "exchange", exchange)
    losses = stage.step(faces, 0)
    for domain, critic in critics.items():
        assert torch.allclose(given[domain], fakes[domain], atol=1e-6)
        real, shown = getattr(faces, domain), getattr(older, domain)
        expected = (((critic(real) - 1) ** 2).mean() + (critic(shown) ** 2).mean()) / 2
        assert float(losses[f"d/{domain}"]) == pytest.approx(float(expected.detach()), rel=1e-4)


def test_mixed_precision_is_near_to_single(make_stage: MakeStage) -> None:
    first = {amp: make_stage(amp=amp).step(batch(), 0) for amp in (False, True)}
    for name, value in first[False].items():
        assert float(first[True][name]) == pytest.approx(float(value), rel=0.1, abs=0.02)
    assert any(not torch.equal(first[True][name], value) for name, value in first[False].items())


def test_the_rate_is_constant_and_then_falls_in_a_line_to_nothing(make_stage: MakeStage) -> None:
    def rates(done: float, **settings: float) -> set[float]:
        stage = make_stage(learning_rate=1e-3, **settings)
        stage.schedule(done)
        assert stage.optimizers.keys() == set(NETWORKS)
        return {round(g["lr"], 12) for item in stage.optimizers.values() for g in item.param_groups}

    result = [rates(done) for done in (0.0, 0.3, 0.5, 0.75, 0.9, 1.0)]
    assert result == [{1e-3}, {1e-3}, {1e-3}, {5e-4}, {2e-4}, {0.0}]
    assert [rates(done, decay_from=0.8) for done in (0.79, 0.9)] == [{1e-3}, {5e-4}]
    assert [rates(done, decay_from=0.0) for done in (0.0, 0.25)] == [{1e-3}, {7.5e-4}]
    assert [rates(done, decay_from=1.0) for done in (0.0, 1.0)] == [{1e-3}, {1e-3}]


# --- the pool ---


def numbered(number: int) -> Tensor:
    return torch.full((1, 3, 2, 2), float(number))


def test_the_first_images_are_shown_as_they_are_and_stay() -> None:
    pool = ImagePool(50)
    for number in range(0, 50, 2):
        images = torch.cat([numbered(number), numbered(number + 1)])
        assert torch.equal(pool.exchange(images), images)
    assert [int(image[0, 0, 0]) for image in pool.images] == list(range(50))


def test_then_about_half_are_older_ones_each_shown_once() -> None:
    torch.manual_seed(0)
    pool, shown = ImagePool(50), []
    for number in range(1050):
        (image,) = pool.exchange(numbered(number))
        shown.append(int(image[0, 0, 0]))
    later = list(enumerate(shown))[50:]
    older = [image for number, image in later if image != number]
    assert 450 <= len(older) <= 550
    assert all(image < number for number, image in later if image != number)
    assert len(set(older)) == len(older)  # what is shown leaves the pool
    ages = [number - image for number, image in later[200:] if image != number]
    assert 80 <= sum(ages) / len(ages) <= 120  # 50 images, of which every other step takes one
    left = {int(image[0, 0, 0]) for image in pool.images}
    assert len(left) == 50
    assert left.isdisjoint(older)
    assert left | set(older) | {image for number, image in later if image == number} >= set(range(50, 1050))


def test_images_of_a_batch_are_exchanged_one_by_one() -> None:
    torch.manual_seed(0)
    pool = ImagePool(8)
    pool.exchange(torch.cat([numbered(number) for number in range(8)]))
    images = torch.cat([numbered(number) for number in range(100, 140)])
    result = pool.exchange(images)
    kept = int((result == images).all(dim=(1, 2, 3)).sum())
    assert result.shape == images.shape
    assert 8 <= kept <= 32


def test_a_pool_of_nothing_shows_the_newest() -> None:
    pool = ImagePool(0)
    for number in range(9):
        assert torch.equal(pool.exchange(numbered(number)), numbered(number))
    assert pool.images == []


def test_stored_images_hold_no_graph_and_do_not_change() -> None:
    pool, factor = ImagePool(2), torch.ones(1, requires_grad=True)
    shown = pool.exchange(factor * torch.cat([numbered(1), numbered(2)]))
    assert not shown.requires_grad
    assert not any(image.requires_grad for image in pool.images)
    shown += 7
    assert [float(image.mean()) for image in pool.images] == [1.0, 2.0]


def test_each_domain_has_a_pool_of_its_own(make_stage: MakeStage) -> None:
    stage = make_stage(pool=3)
    assert {pool.size for pool in stage.pools.values()} == {3}
    translated = {"old": stage.networks["to_old"](batch().young), "young": stage.networks["to_young"](batch().old)}
    stage.step(batch(), 0)
    for domain, pool in stage.pools.items():
        assert torch.allclose(torch.stack(pool.images), translated[domain], atol=1e-6)


# --- runs ---


def test_a_stage_goes_on_exactly_where_it_was(
    make_stage: MakeStage, differing: Callable[[Any, Any], list[str]]
) -> None:
    """With full pools, from which the next discriminators' batches are drawn."""
    stage = make_stage(pool=3)
    for number in range(4):
        stage.step(batch(number), number)
    file = BytesIO()
    torch.save({"stage": stage.state_dict(), "random": torch.get_rng_state()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = make_stage(seed=1, pool=3)
    other.load_state_dict(state["stage"])
    assert differing(other.state_dict(), stage.state_dict()) == []
    torch.set_rng_state(state["random"])
    ends = []
    for item in (stage, other):
        torch.set_rng_state(state["random"])
        for number in range(4, 8):
            item.step(batch(number), number)
        ends.append(item.state_dict())
    assert {len(images) for images in ends[0]["pools"].values()} == {3}
    assert differing(*ends) == []
    assert "/pools/old" in differing(ends[1], state["stage"])


def test_a_stage_that_has_seen_nothing_can_be_kept(make_stage: MakeStage) -> None:
    state = make_stage().state_dict()
    assert state["pools"] == {}
    stage = make_stage(seed=1)
    stage.load_state_dict(state)
    assert [pool.images for pool in stage.pools.values()] == [[], []]


def test_a_run_goes_on_from_another(make_stage: MakeStage) -> None:
    earlier, stage = make_stage(), make_stage(seed=1, learning_rate=0.0)
    for number in range(2):
        earlier.step(batch(number), number)
    weights = copied(earlier)
    assert not torch.equal(weights["to_old"]["layers.1.weight"], weights["to_old_ema"]["layers.1.weight"])
    assert sorted(changed(weights, copied(stage))) == sorted(weights)
    stage.load_pretrained(weights)
    assert changed(weights, copied(stage)) == []
    stage.step(batch(), 0)  # without learning, but for the averages, which keep their long memory
    for name, averaged in weights["to_old_ema"].items():
        expected = 0.999 * averaged + 0.001 * weights["to_old"][name]
        torch.testing.assert_close(stage.weights()["to_old_ema"][name], expected)


@pytest.mark.parametrize("lacking", [*NETWORKS, "to_old_ema", "to_young_ema"])
def test_weights_that_do_not_fit(make_stage: MakeStage, lacking: str) -> None:
    weights = copied(make_stage())
    without = {name: state for name, state in weights.items() if name != lacking}
    with pytest.raises(CheckpointError, match=f"no '{lacking}'"):
        make_stage().load_pretrained(without)


def test_samples_show_pairs_there_and_back(make_stage: MakeStage) -> None:
    assert make_stage().samples() is None
    faces = batch(count=9)
    stage = make_stage(watched=faces, ema_decay=0.5)
    stage.step(batch(1), 0)
    stage.step(batch(2), 1)
    samples = stage.samples()
    assert samples is not None
    assert not samples.requires_grad
    assert samples.shape == (8, 6, 3, SIDE, SIDE)
    assert torch.equal(samples[:, 0], faces.young[:8])
    assert torch.equal(samples[:, 3], faces.old[:8])
    to_old, to_young = (stage.averages[name] for name in ("to_old", "to_young"))
    expected = {1: to_old(faces.young[:8]), 4: to_young(faces.old[:8])}
    expected |= {2: to_young(expected[1]), 5: to_old(expected[4])}
    for column, images in expected.items():
        assert torch.allclose(samples[:, column], images, atol=1e-6)
    assert not torch.allclose(samples[:, 1], stage.networks["to_old"](faces.young[:8]), atol=1e-5)
