"""Age-cGAN's joint stage: which networks it changes, what it holds against them, and how it follows and precedes others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_training.data.batches import BalancedBatches, Batch
from dorian_training.errors import CheckpointError
from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_divergence
from dorian_training.methods.age_cgan import LatentStage
from dorian_training.methods.age_cgan_joint import JointSettings, JointStage
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import AgeCganShape, DiscriminatorShape, build_encoder, build_generator
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side

MakeStage = Callable[..., Stage[Batch]]
MakeJoint = Callable[..., JointStage]
MakeBatches = Callable[..., BalancedBatches]
Differing = Callable[[Any, Any], list[str]]
Weights = dict[str, dict[str, Tensor]]
CPU = torch.device("cpu")
REBUILDING = {"g/pixel", "g/feature", "g/identity", "g/divergence"}
LOSSES = REBUILDING | {"g/aged_identity", "g/age", "g/adversarial", "d/real", "d/fake", "d/wrong_group"}
NETWORKS = {"encoder", "encoder_ema", "generator", "generator_ema", "discriminator"}
WEIGHTS = {
    "pixel": 3.0,
    "feature": 5.0,
    "identity": 7.0,
    "aged_identity": 11.0,
    "age": 2.0,
    "divergence": 13.0,
    "adversarial": 17.0,
}
NOTHING = {f"{name}_weight": 0.0 for name in WEIGHTS}
YEARS = [(0, 18), (19, 29), (30, 39), (40, 49), (50, 59), (60, 90)]  # of the groups, as an estimator has them


@pytest.fixture
def estimator() -> CompactAgeEstimator:
    """An age estimator whose belief differs from year to year and from face to face."""
    torch.manual_seed(7)
    network = CompactAgeEstimator(CompactAgeEstimatorShape(widths=(4, 8, 8), strides=(2, 2, 2)))
    with torch.no_grad():
        network(torch.randn(16, 3, 64, 64))
        nn.init.normal_(network.head[-1].weight, std=5)  # type: ignore[arg-type]
    return network


@pytest.fixture
def make_joint(
    tiny_shape: AgeCganShape, make_batches: MakeBatches, facenet: DlibResNet, estimator: CompactAgeEstimator
) -> MakeJoint:
    """A joint stage of tiny networks, initialised from ``seed``, with changed settings.

    ``condition``: of the discriminator. ``watched``: how many faces. ``judge``: in place of a compact FaceNet.
    """

    def make(
        seed: int = 0,
        amp: bool = False,
        condition: Any = "outputs",
        watched: int = 6,
        judge: FaceNet | None = None,
        **changes: float,
    ) -> JointStage:
        torch.manual_seed(seed)
        shape = replace(tiny_shape, discriminator=replace(tiny_shape.discriminator, condition=condition))
        settings = JointSettings(**changes)  # type: ignore[arg-type]
        return JointStage(shape, settings, CPU, amp, make_batches(9, watched).next(), judge or facenet, estimator)

    return make


@pytest.fixture
def batch(make_batches: MakeBatches) -> Batch:
    return make_batches().next()


def copied(stage: Stage[Batch]) -> Weights:
    return {name: {key: tensor.clone() for key, tensor in state.items()} for name, state in stage.weights().items()}


def changed(before: Weights, after: Weights) -> set[str]:
    """The networks of which any tensor has changed."""
    return {
        name for name, state in before.items() if any(not torch.equal(t, after[name][key]) for key, t in state.items())
    }


def conditions(group: Tensor) -> Tensor:
    return F.one_hot(group, 6).float()


def aged_and_new(image: Tensor, drawn: Tensor) -> Tensor:
    """Half of a batch, with what changes from what was drawn at its own ages to others' added within the face; and what is of nobody."""
    count, half = len(image), len(image) // 2
    mask = torch.from_numpy(face_mask(mean_mesh(DEFAULT_TEMPLATE.points(64)), 64))
    aged = image[:half] + (drawn[count : count + half] - drawn[:half]) * mask
    return torch.cat([aged.clamp(-1, 1), drawn[count + half :]])


# --- a step ---


def test_a_step_changes_all_networks_and_their_averages(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    stage, batches = make_joint(), make_batches()
    stage.step(batches.next(), 1)  # after the first step an average is its network
    before = copied(stage)
    losses = stage.step(batches.next(), 2)
    assert losses.keys() == LOSSES
    assert all(loss.shape == () and not loss.requires_grad and bool(loss.isfinite()) for loss in losses.values())
    assert before.keys() == changed(before, copied(stage)) == NETWORKS
    for name in ("encoder", "generator"):
        own, averaged = stage.weights()[name], stage.weights()[f"{name}_ema"]
        assert not any(torch.equal(tensor, averaged[key]) for key, tensor in own.items() if tensor.ndim > 1)
    assert all(p.requires_grad for network in stage.networks.values() for p in network.parameters())


def test_alone_faces_are_only_rebuilt(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    """Without the discriminator, which then comes in at the step that was asked for."""
    stage, batches = make_joint(alone=2, r1_every=1), make_batches()
    before = copied(stage)
    for number in range(2):
        assert stage.step(batches.next(), number).keys() == REBUILDING
        assert all(p.requires_grad and p.grad is None for p in stage.discriminator.parameters())
    assert changed(before, copied(stage)) == NETWORKS - {"discriminator"}
    assert stage.step(batches.next(), 2).keys() == LOSSES | {"d/r1"}
    assert changed(before, copied(stage)) == NETWORKS


def test_r1_comes_every_so_many_steps(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    stage, batches = make_joint(r1_every=3), make_batches()
    assert ["d/r1" in stage.step(batches.next(), number) for number in range(5)] == [True, False, False, True, False]
    assert "d/r1" not in make_joint(r1_weight=0).step(batches.next(), 0)


class Wide(nn.Module):
    """A FaceNet of another side than the generator's."""

    size, embedding = 96, 48

    def forward(self, image: Tensor) -> Tensor:
        return self.features_and_embedding(image)[1]

    def features_and_embedding(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        assert image.shape[1:] == (3, 96, 96)
        features = [F.avg_pool2d(image.float(), side) for side in (6, 24)]
        return features, F.normalize(features[-1].flatten(1), dim=1)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("condition", ["outputs", "planes"])
@pytest.mark.parametrize("alone", [0, 2])
def test_losses_are_of_the_batch_and_of_what_is_drawn_of_it(
    make_joint: MakeJoint,
    batch: Batch,
    facenet: DlibResNet,
    estimator: CompactAgeEstimator,
    wide: bool,
    condition: str,
    alone: int,
) -> None:
    """So are their gradients. A discriminator has learnt already when it judges for the generator."""
    judge = cast(FaceNet, Wide()) if wide else facenet
    changes = {f"{name}_weight": weight for name, weight in WEIGHTS.items()}
    changes |= {"alone": alone, "shift": 0, "brightness": 0.0, "learning_rate": 0.01}
    stage = make_joint(judge=judge, condition=condition, **changes)
    encoder, generator, discriminator = (
        copy.deepcopy(network) for network in (stage.encoder, stage.generator, stage.discriminator)
    )
    torch.manual_seed(5)
    losses = {name: float(loss) for name, loss in stage.step(batch, 1).items()}

    torch.manual_seed(5)
    latent = actual = encoder(batch.image)
    group = batch.group
    if not alone:
        latent = torch.cat([actual, actual[:3], torch.randn(3, 8)])
        group = torch.cat([group, torch.randint(6, (6,))])
    drawn = generator(latent, conditions(group))
    features = [judge.features_and_embedding(at_side(item, judge.size))[0] for item in (drawn[:6], batch.image)]
    people = [judge(at_side(item, judge.size)) for item in (batch.image, drawn[:6])]
    expected = {
        "g/pixel": charbonnier(drawn[:6] - batch.image),
        "g/feature": feature_distance(*features),
        "g/identity": 1 - F.cosine_similarity(*people).mean(),
        "g/divergence": latent_divergence(actual),
    }
    if not alone:
        fake, requested = aged_and_new(batch.image, drawn), group[6:]
        later = judge(at_side(fake[:3], judge.size))
        expected["g/aged_identity"] = 1 - F.cosine_similarity(people[0][:3], later).mean()
        spans = [slice(YEARS[item][0], YEARS[item][1] + 1) for item in requested.tolist()]
        believed = estimator(fake).softmax(dim=1)
        likely = torch.stack([row[span].sum() for row, span in zip(believed, spans, strict=True)])
        assert float((likely.max() / likely.min()).detach()) > 2
        expected["g/age"] = -likely.log().mean()

        def logit(network: nn.Module, image: Tensor, group: Tensor) -> Tensor:
            answer: Tensor = network(image, conditions(group))
            return answer[:, 0] if condition == "planes" else answer[torch.arange(6), group]

        expected["d/real"] = F.softplus(-logit(discriminator, batch.image, batch.group)).mean()
        expected["d/fake"] = F.softplus(logit(discriminator, fake, requested)).mean()
        expected["g/adversarial"] = F.softplus(-logit(stage.discriminator, fake, requested)).mean()
        before = F.softplus(-logit(discriminator, fake, requested)).mean()
        assert float((expected["g/adversarial"] / before).detach()) != pytest.approx(1, abs=0.01)
    wrong = losses.pop("d/wrong_group", None)
    assert (wrong is None) == (condition == "planes" or bool(alone))
    assert losses == pytest.approx({name: float(value.detach()) for name, value in expected.items()}, rel=1e-3)
    assert min(losses.values()) > 1e-3

    total = torch.stack([weight * expected[f"g/{name}"] for name, weight in WEIGHTS.items() if f"g/{name}" in expected])
    for network, known in ((stage.encoder, encoder), (stage.generator, generator)):
        wanted = torch.autograd.grad(total.sum(), tuple(known.parameters()), retain_graph=True)
        steepest = max(float(slope.abs().max()) for slope in wanted)
        for parameter, slope in zip(network.parameters(), wanted, strict=True):
            assert parameter.grad is not None
            largest = float(slope.abs().max())
            if largest > 1e-3 * steepest:
                torch.testing.assert_close(parameter.grad, slope, rtol=1e-3, atol=1e-3 * largest)
            else:  # a bias before a batch norm: its gradient is zero, and what is computed of it is rounding
                assert parameter.ndim == 1
                assert float(parameter.grad.abs().max()) < 1e-3 * steepest


@pytest.mark.parametrize("alone", [0, 1])
def test_all_terms_are_descended_at_once_by_their_weights(
    make_joint: MakeJoint, batch: Batch, monkeypatch: pytest.MonkeyPatch, alone: int
) -> None:
    stage = make_joint(alone=alone, wrong_group_weight=2.0, **{f"{name}_weight": w for name, w in WEIGHTS.items()})
    steps: list[tuple[Any, Tensor]] = []
    monkeypatch.setattr(stage, "optimizer_step", lambda names, loss: steps.append((names, loss)))
    losses = {name: float(loss) for name, loss in stage.step(batch, 1 - alone).items()}
    names, total = steps.pop()
    assert set(names) == {"encoder", "generator"}
    drawing = sum(weight * losses.get(f"g/{name}", 0.0) for name, weight in WEIGHTS.items())
    assert float(total.detach()) == pytest.approx(drawing, rel=1e-5)
    if not alone:
        names, total = steps.pop()
        assert names == "discriminator"
        judging = losses["d/real"] + losses["d/fake"] + 2 * losses["d/wrong_group"]
        assert float(total.detach()) == pytest.approx(judging, rel=1e-5)
    assert steps == []


@pytest.mark.parametrize("term", ["nothing", *WEIGHTS])
def test_every_term_pulls_at_what_it_is_of(
    make_joint: MakeJoint, batch: Batch, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    """The divergence at the encoder alone; all others at both networks. A weight of 0 leaves no pull at all."""
    stage = make_joint(**(NOTHING | ({} if term == "nothing" else {f"{term}_weight": 1.0})))
    steps: list[Tensor] = []
    monkeypatch.setattr(stage, "optimizer_step", lambda names, loss: steps.append(loss))
    stage.step(batch, 1)
    pulls = {}
    for name, network in (("encoder", stage.encoder), ("generator", stage.generator)):
        slopes = torch.autograd.grad(steps[-1], tuple(network.parameters()), retain_graph=True, allow_unused=True)
        pulls[name] = max(float(slope.abs().max()) for slope in slopes if slope is not None)
    assert (pulls["encoder"] > 1e-5) == (term != "nothing")
    assert (pulls["generator"] > 1e-5) == (term not in ("nothing", "divergence"))
    assert all(pull == 0 or pull > 1e-5 for pull in pulls.values())


@pytest.mark.parametrize("size", [6, 5])
def test_aged_faces_and_new_ones_reach_the_discriminator(
    make_joint: MakeJoint, make_batches: MakeBatches, size: int
) -> None:
    """Half of the batch, aged as it is served, and the rest from the prior; in all, as many as there are real ones."""
    stage, batch, half = make_joint(shift=0, brightness=0.0), make_batches(batch_size=size).next(), size // 2
    recorded: dict[str, list[Any]] = {name: [] for name in stage.networks}
    for name, network in stage.networks.items():
        network.register_forward_hook(
            lambda _, given, answer, name=name: recorded[name].append((*given, answer.detach()))
        )
    torch.manual_seed(5)
    stage.step(batch, 1)
    ((image, actual),) = recorded["encoder"]
    ((latent, condition, drawn),) = recorded["generator"]
    (real, real_as, _), (fake, fake_as, _), (again, again_as, _) = recorded["discriminator"]
    torch.manual_seed(5)
    prior, requested = torch.randn(size - half, 8), torch.randint(6, (size,))
    assert torch.equal(image, batch.image)
    assert torch.equal(latent, torch.cat([actual, actual[:half], prior]))
    assert torch.equal(condition, conditions(torch.cat([batch.group, requested])))
    assert torch.equal(real, batch.image)
    assert torch.equal(real_as, conditions(batch.group))
    assert not fake.requires_grad
    assert again.requires_grad
    wanted = aged_and_new(batch.image, drawn)
    assert bool((wanted[:half].abs() == 1).any())  # some of it is clipped
    for picture, shown_as in ((fake, fake_as), (again, again_as)):
        torch.testing.assert_close(picture.detach(), wanted, atol=1e-6, rtol=0)
        assert torch.equal(shown_as, conditions(requested))


def test_all_ages_are_asked_for(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    stage, requested = make_joint(), list[Tensor]()
    stage.generator.register_forward_hook(lambda module, given, answer: requested.append(given[1][12:]))
    stage.step(make_batches(batch_size=12).next(), 1)
    stage.step(make_batches(batch_size=12).next(), 2)
    assert requested[0].shape == (12, 6)
    assert not torch.equal(requested[0], requested[1])
    assert bool((torch.cat(requested).sum(dim=0) > 0).all())


def test_real_and_drawn_faces_are_shown_with_one_change(
    make_joint: MakeJoint, batch: Batch, estimator: CompactAgeEstimator
) -> None:
    """To who sees ages, too."""
    stage, recorded = make_joint(shift=3, brightness=0.2), dict[str, list[Tensor]]()
    networks: dict[str, nn.Module] = {"drawn": stage.generator, "judged": stage.discriminator, "read": estimator}
    for name, network in networks.items():
        network.register_forward_hook(
            lambda _, given, answer, name=name: recorded.setdefault(name, []).extend(
                (given[0].detach(), answer.detach())
            )
        )
    torch.manual_seed(7)
    stage.step(batch, 1)
    real, fake, again = recorded["judged"][::2]
    drawn = aged_and_new(batch.image, recorded["drawn"][1])
    assert torch.equal(fake, again)
    assert torch.equal(fake, recorded["read"][0])
    wide, shown = F.pad(torch.cat([batch.image, drawn]), (3,) * 4, mode="reflect"), torch.cat([real, fake])
    moved = {(dx, dy): shown - wide[:, :, dy : dy + 64, dx : dx + 64] for dx in range(7) for dy in range(7)}
    (place,) = (place for place, light in moved.items() if float(light.std()) < 1e-5)
    assert place != (3, 3)
    assert 0.001 < float(moved[place].mean().abs()) < 0.2


def test_each_network_learns_by_its_own_losses_alone(make_joint: MakeJoint, batch: Batch) -> None:
    """Drawing teaches the discriminator nothing, and judging nothing the two that draw."""
    stage = make_joint(r1_every=1)
    step, touched = stage.optimizer_step, list[tuple[Any, set[str]]]()

    def gradients(network: nn.Module) -> dict[str, Tensor | None]:
        return {name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()}

    def note(names: Any, loss: Tensor) -> Tensor:
        before = {name: gradients(network) for name, network in stage.networks.items()}
        result = step(names, loss)
        touched.append((names, {name for name, known in before.items() if differ(known, stage.networks[name])}))
        return result

    def differ(known: dict[str, Tensor | None], network: nn.Module) -> bool:
        return any(
            (slope is None) != (known[name] is None) or (slope is not None and not torch.equal(slope, known[name]))  # type: ignore[arg-type]
            for name, slope in gradients(network).items()
        )

    stage.optimizer_step = note  # type: ignore[method-assign]
    for number in (0, 1):
        touched.clear()
        stage.step(batch, number)
        assert [names for names, _ in touched[:2]] == ["discriminator"] * 2
        assert [networks for _, networks in touched] == [{"discriminator"}] * 2 + [{"encoder", "generator"}]
        assert all(p.requires_grad for network in stage.networks.values() for p in network.parameters())


def test_who_sees_persons_and_ages_never_changes(
    make_joint: MakeJoint, make_batches: MakeBatches, facenet: DlibResNet, estimator: CompactAgeEstimator
) -> None:
    """They stay outside the checkpoint, too."""
    guides: list[nn.Module] = [facenet.train(), estimator.train()]
    before = [copy.deepcopy(witness.state_dict()) for witness in guides]
    stage, batches = make_joint(), make_batches()
    for number in range(2):
        stage.step(batches.next(), number)
    for witness, known in zip(guides, before, strict=True):
        assert not any(module.training for module in witness.modules())
        assert all(torch.equal(tensor, known[name]) for name, tensor in witness.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in witness.parameters())
    assert stage.weights().keys() == NETWORKS
    assert set(stage.networks) == set(stage.optimizers) == {"encoder", "generator", "discriminator"}


@pytest.mark.parametrize("alone", [0, 1000])
def test_faces_are_rebuilt_better_and_better(make_joint: MakeJoint, make_batches: MakeBatches, alone: int) -> None:
    stage, batches = make_joint(learning_rate=3e-3, alone=alone), make_batches(batch_size=12)
    pixel = [float(stage.step(batches.next(), number)["g/pixel"]) for number in range(40)]
    assert sum(pixel[-5:]) < 0.6 * sum(pixel[:5])


def test_latents_come_to_lie_as_the_prior_does(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    stage, batches = make_joint(learning_rate=3e-3, divergence_weight=10.0, alone=1000), make_batches(batch_size=12)
    divergence = [float(stage.step(batches.next(), number)["g/divergence"]) for number in range(40)]
    assert sum(divergence[-5:]) < 0.5 * sum(divergence[:5])


def test_mixed_precision_is_near_to_single(make_joint: MakeJoint, batch: Batch) -> None:
    first = {}
    for amp in (False, True):
        stage = make_joint(amp=amp)
        torch.manual_seed(3)
        first[amp] = stage.step(batch, 1)
        assert {p.dtype for network in stage.networks.values() for p in network.parameters()} == {torch.float32}
        assert {loss.dtype for loss in first[amp].values()} == {torch.float32}
    assert first[False].keys() == first[True].keys() == LOSSES
    for name in LOSSES:
        assert float(first[True][name]) == pytest.approx(float(first[False][name]), rel=0.1, abs=0.01)
        assert not torch.equal(first[True][name], first[False][name])


def test_one_output_has_no_wrong_groups(make_joint: MakeJoint, batch: Batch) -> None:
    stage = make_joint(condition="planes")
    before = copied(stage)
    assert stage.step(batch, 1).keys() == LOSSES - {"d/wrong_group"}
    assert changed(before, copied(stage)) == NETWORKS


def test_a_discriminator_of_age_groups_begins_as_an_estimator(
    tiny_shape: AgeCganShape, batch: Batch, facenet: DlibResNet
) -> None:
    shape = replace(tiny_shape, discriminator=DiscriminatorShape(condition="outputs", layout="ages"))
    torch.manual_seed(4)
    known = CompactAgeEstimator(CompactAgeEstimatorShape())
    for values in known.head[-1].parameters():
        nn.init.normal_(values, std=0.5)
    stage = JointStage(shape, JointSettings(), CPU, False, batch, facenet, known)
    with torch.no_grad():
        years, actual = known(batch.image), stage.discriminator(batch.image, conditions(batch.group))
    wanted = torch.stack([years[:, first : last + 1].mean(dim=1) for first, last in YEARS], dim=1)
    assert float(wanted.std(dim=1).min()) > 0.01
    torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-3)
    assert stage.step(batch, 1).keys() == LOSSES


# --- samples ---


def test_samples_show_real_faces_and_their_ages(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    """As the averaged networks draw them."""
    stage, batches = make_joint(learning_rate=0.01), make_batches()
    first = stage.samples()
    for number in range(2):
        stage.step(batches.next(), number)
    watched, samples = make_batches(9).next(), stage.samples()
    assert samples.shape == (6, 2 + 6, 3, 64, 64)
    assert torch.equal(samples, stage.samples())
    assert not torch.equal(samples, first)
    assert torch.equal(samples[:, 0], watched.image)
    encoder, generator = build_encoder(stage.shape).eval(), build_generator(stage.shape).eval()
    encoder.load_state_dict(stage.weights()["encoder_ema"])
    generator.load_state_dict(stage.weights()["generator_ema"])
    with torch.no_grad():
        latent = encoder(watched.image)
        own = generator(latent, conditions(watched.group))
        oldest = generator(latent, conditions(torch.full((6,), 5)))
    torch.testing.assert_close(samples[:, 1], own, atol=1e-5, rtol=0)
    torch.testing.assert_close(samples[:, 7], oldest, atol=1e-5, rtol=0)
    for row, group in enumerate(watched.group.tolist()):
        assert torch.allclose(samples[row, 1], samples[row, 2 + group], atol=1e-5)


def test_samples_are_few(make_joint: MakeJoint) -> None:
    assert make_joint(watched=12).samples().shape == (8, 2 + 6, 3, 64, 64)


# --- before and after other stages ---


def learnt(stage: Stage[Batch], batches: BalancedBatches, steps: int = 2) -> Weights:
    """The weights of ``stage`` after a few steps, when an average is no longer its network."""
    for number in range(1, steps + 1):
        stage.step(batches.next(), number)
    return copied(stage)


def test_a_joint_run_goes_on_from_another(make_joint: MakeJoint, make_batches: MakeBatches) -> None:
    """Its averages with the memory that they had."""
    batches = make_batches()
    weights, stage = learnt(make_joint(seed=1), batches), make_joint(seed=2)
    assert changed(weights, copied(stage)) == NETWORKS
    stage.load_pretrained(weights)
    assert changed(weights, copied(stage)) == set()
    stage.step(batches.next(), 1)
    actual, decay = stage.weights(), JointSettings().ema_decay
    for network in ("encoder", "generator"):
        for name, averaged in weights[f"{network}_ema"].items():
            if averaged.is_floating_point():
                expected = averaged * decay + actual[network][name] * (1 - decay)
                torch.testing.assert_close(actual[f"{network}_ema"][name], expected)


def test_a_joint_run_goes_on_from_an_adversarial_one(
    make_joint: MakeJoint, make_stage: MakeStage, make_batches: MakeBatches
) -> None:
    """With an encoder of its own, whose average has no past."""
    batches = make_batches()
    weights, stage = learnt(make_stage("adversarial", seed=1), batches), make_joint(seed=2)
    before = copied(stage)
    stage.load_pretrained(weights)
    assert weights.keys() == {"generator", "generator_ema", "discriminator"}
    assert changed(weights, copied(stage)) == set()
    assert changed(before, copied(stage)) == weights.keys()
    stage.step(batches.next(), 1)
    actual = stage.weights()
    assert all(torch.equal(tensor, actual["encoder_ema"][name]) for name, tensor in actual["encoder"].items())
    assert actual.keys() == NETWORKS


def test_a_joint_run_goes_on_from_a_latent_one(
    make_joint: MakeJoint, make_stage: MakeStage, make_batches: MakeBatches
) -> None:
    """Whose encoder it takes over, and trains: nothing is merely carried along."""
    batches, latent = make_batches(), make_stage("latent", seed=1)
    latent.load_pretrained(learnt(make_stage("adversarial", seed=2), batches))
    weights, stage = learnt(latent, batches), make_joint(seed=3)
    stage.load_pretrained(weights)
    assert weights.keys() == NETWORKS
    assert changed(weights, copied(stage)) == set()
    assert stage.state_dict()["carried"] == {}
    stage.step(batches.next(), 1)
    assert changed(weights, copied(stage)) == NETWORKS


def test_other_stages_go_on_from_a_joint_run(
    make_joint: MakeJoint, make_stage: MakeStage, make_batches: MakeBatches
) -> None:
    batches = make_batches()
    weights = learnt(make_joint(seed=1), batches)
    for kind, changing in (
        ("latent", {"encoder", "encoder_ema"}),
        ("adversarial", {"generator", "generator_ema", "discriminator"}),
    ):
        stage = make_stage(kind, seed=2)
        stage.load_pretrained(weights)
        assert changed(weights, copied(stage)) == set()
        stage.step(batches.next(), 1)
        assert changed(weights, copied(stage)) == changing
        if isinstance(stage, LatentStage):
            drawing = stage.networks["generator_ema"].state_dict()
            assert all(torch.equal(tensor, drawing[name]) for name, tensor in weights["generator_ema"].items())


def test_weights_that_do_not_fit(make_joint: MakeJoint) -> None:
    weights = copied(make_joint())
    for name in NETWORKS - {"encoder"}:
        with pytest.raises(CheckpointError, match=f"no '{name}'"):
            make_joint().load_pretrained({key: state for key, state in weights.items() if key != name})
    for name in ("encoder", "discriminator"):
        with pytest.raises(CheckpointError, match=f"'{name}' does not fit"):
            make_joint().load_pretrained(weights | {name: weights["generator"]})


def test_a_run_resumes_where_it_stopped(make_joint: MakeJoint, make_batches: MakeBatches, differing: Differing) -> None:
    batches, stage = make_batches(), make_joint(seed=1, alone=1)
    for number in range(2):
        stage.step(batches.next(), number)
    again = make_joint(seed=2, alone=1)
    again.load_state_dict(copy.deepcopy(stage.state_dict()))
    assert differing(stage.state_dict(), again.state_dict()) == []
    batch = batches.next()
    for item in (stage, again):
        torch.manual_seed(3)
        item.step(batch, 2)
    assert differing(stage.state_dict(), again.state_dict()) == []
    assert stage.state_dict()["optimizers"].keys() == {"encoder", "generator", "discriminator"}
