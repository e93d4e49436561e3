"""Age-cGAN's two stages: which networks they change, what their losses are, and that they learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.data.batches import BalancedBatches, Batch
from dorian_training.errors import CheckpointError
from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_norm_penalty
from dorian_training.methods.age_cgan import PAPER_ADVERSARIAL, AdversarialSettings, AdversarialStage, LatentStage
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import AgeCganShape
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side

MakeStage = Callable[..., Stage]
MakeBatches = Callable[..., BalancedBatches]
Weights = dict[str, dict[str, Tensor]]
ADVERSARIAL_LOSSES = {"d/real", "d/fake", "d/wrong_group", "g/adversarial"}
LATENT_LOSSES = {"e/pairs", "e/pixel", "e/feature", "e/norm"}
WITH_IDENTITY = LATENT_LOSSES | {"e/identity"}


def copied(stage: Stage) -> Weights:
    return {name: {key: tensor.clone() for key, tensor in state.items()} for name, state in stage.weights().items()}


def changed(before: Weights, after: Weights) -> dict[str, bool]:
    """By network, whether any of its tensors has changed."""
    return {
        name: any(not torch.equal(tensor, after[name][key]) for key, tensor in state.items())
        for name, state in before.items()
    }


@pytest.fixture
def latent_stage(make_stage: MakeStage) -> LatentStage:
    """A latent stage that begins with the weights of an adversarial one."""
    earlier, stage = make_stage("adversarial", seed=1), make_stage("latent", seed=2)
    stage.load_pretrained(copied(earlier))
    assert isinstance(stage, LatentStage)
    return stage


def test_an_adversarial_step_changes_both_networks(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    stage = make_stage("adversarial")
    before = copied(stage)
    losses = stage.step(make_batches().next(), 1)
    assert losses.keys() == ADVERSARIAL_LOSSES
    assert all(loss.shape == () and not loss.requires_grad and bool(loss.isfinite()) for loss in losses.values())
    assert changed(before, copied(stage)) == {"generator": True, "discriminator": True, "generator_ema": True}
    assert all(p.requires_grad for network in stage.networks.values() for p in network.parameters())


@pytest.mark.parametrize(("kind", "names"), [("adversarial", ADVERSARIAL_LOSSES), ("latent", WITH_IDENTITY)])
def test_mixed_precision_is_near_to_single(
    make_stage: MakeStage, make_batches: MakeBatches, facenet: DlibResNet, kind: str, names: set[str]
) -> None:
    first = {}
    for amp in (False, True):
        stage = make_stage(kind, amp=amp, facenet=facenet)
        torch.manual_seed(3)
        first[amp] = stage.step(make_batches().next(), 1)
        assert {tensor.dtype for tensor in stage.networks[next(iter(stage.optimizers))].parameters()} == {torch.float32}
    assert first[False].keys() == first[True].keys() == names
    for name in names:
        assert float(first[True][name]) == pytest.approx(float(first[False][name]), rel=0.1, abs=0.01)
        assert not torch.equal(first[True][name], first[False][name])


def test_r1_comes_every_so_many_steps(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    stage, batches = make_stage("adversarial", r1_every=3), make_batches()
    assert ["d/r1" in stage.step(batches.next(), number) for number in range(5)] == [True, False, False, True, False]


def test_terms_of_weight_zero_are_off(tiny_shape: AgeCganShape, make_batches: MakeBatches) -> None:
    assert (PAPER_ADVERSARIAL.r1_weight, PAPER_ADVERSARIAL.wrong_group_weight) == (0, 0)
    stage = AdversarialStage(tiny_shape, PAPER_ADVERSARIAL, torch.device("cpu"), amp=False)
    assert stage.step(make_batches().next(), 0).keys() == {"d/real", "d/fake", "g/adversarial"}


def test_one_output_has_no_wrong_groups(tiny_shape: AgeCganShape, make_batches: MakeBatches) -> None:
    values = tiny_shape.as_dict()
    values["discriminator"]["condition"] = "planes"
    shape = AgeCganShape.from_dict(values)
    stage = AdversarialStage(shape, AdversarialSettings(), torch.device("cpu"), amp=False)
    assert stage.step(make_batches().next(), 1).keys() == ADVERSARIAL_LOSSES - {"d/wrong_group"}


def test_the_discriminators_losses_are_of_the_batch_and_of_generated_faces(
    make_stage: MakeStage, make_batches: MakeBatches
) -> None:
    stage, batch = make_stage("adversarial", shift=0, brightness=0.0), make_batches().next()
    generator, discriminator = (copy.deepcopy(stage.networks[name]) for name in ("generator", "discriminator"))
    torch.manual_seed(5)
    losses = stage.step(batch, 1)
    torch.manual_seed(5)
    condition = F.one_hot(batch.group, 6).float()
    fake = generator(torch.randn(len(batch.group), 8), condition)
    rows = torch.arange(len(batch.group))
    real_logits, fake_logits = (discriminator(image, condition).detach() for image in (batch.image, fake))
    assert float(losses["d/real"]) == pytest.approx(float(F.softplus(-real_logits[rows, batch.group]).mean()), rel=1e-4)
    assert float(losses["d/fake"]) == pytest.approx(float(F.softplus(fake_logits[rows, batch.group]).mean()), rel=1e-4)
    wrong = [
        float(F.softplus(logit))
        for row, own in zip(real_logits, batch.group.tolist(), strict=True)
        for other, logit in enumerate(row)
        if abs(other - own) >= 2
    ]
    assert float(losses["d/wrong_group"]) == pytest.approx(sum(wrong) / len(wrong), rel=1e-4)


def test_the_discriminator_learns_which_groups_are_wrong(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    stage, batches = make_stage("adversarial", learning_rate=2e-3, brightness=0.02), make_batches(batch_size=12)
    wrong = [float(stage.step(batches.next(), number)["d/wrong_group"]) for number in range(60)]
    assert sum(wrong[:5]) / 5 > 0.5
    assert sum(wrong[-5:]) / 5 < 0.5 * sum(wrong[:5]) / 5


def test_samples_have_a_person_per_row_and_a_group_per_column(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    stage = make_stage("adversarial")
    first = stage.samples()
    assert first.shape == (8, 6, 3, 64, 64)
    assert torch.equal(first, stage.samples())
    assert torch.equal(first, make_stage("adversarial").samples())
    assert float((first[0, 0] - first[0, 5]).abs().max()) > 0
    stage.step(make_batches().next(), 1)
    assert not torch.equal(first, stage.samples())


def test_an_adversarial_run_goes_on_from_another(make_stage: MakeStage) -> None:
    earlier, stage = make_stage("adversarial", seed=1), make_stage("adversarial", seed=2)
    weights = copied(earlier)
    assert changed(weights, copied(stage)) == dict.fromkeys(weights, True)
    stage.load_pretrained(weights)
    assert changed(weights, copied(stage)) == dict.fromkeys(weights, False)


def test_a_latent_step_changes_the_encoder_alone(latent_stage: LatentStage, make_batches: MakeBatches) -> None:
    before, batches = copied(latent_stage), make_batches()
    assert before.keys() == {"generator", "generator_ema", "discriminator", "encoder", "encoder_ema"}
    for number in range(2):
        losses = latent_stage.step(batches.next(), number)
        assert losses.keys() == LATENT_LOSSES
        assert all(loss.shape == () and not loss.requires_grad for loss in losses.values())
    assert changed(before, copied(latent_stage)) == {
        "generator": False,
        "generator_ema": False,
        "discriminator": False,
        "encoder": True,
        "encoder_ema": True,
    }


def test_the_latent_stage_takes_the_averaged_generator_and_carries_the_raw_one(
    make_stage: MakeStage, make_batches: MakeBatches
) -> None:
    earlier, batches = make_stage("adversarial", seed=1), make_batches()
    for number in range(2):
        earlier.step(batches.next(), number)
    weights = copied(earlier)
    stage = make_stage("latent", seed=2)
    stage.load_pretrained(weights)
    result = copied(stage)
    assert changed(weights, result) == {"generator": False, "discriminator": False, "generator_ema": False}
    assert not torch.equal(result["generator"]["dense.0.weight"], result["generator_ema"]["dense.0.weight"])
    again = make_stage("latent", seed=3)
    again.load_pretrained(result)  # with its encoder
    assert changed(result, copied(again)) == dict.fromkeys(result, False)
    resumed = make_stage("latent", seed=4)
    resumed.load_state_dict(stage.state_dict())
    assert changed(result, copied(resumed)) == dict.fromkeys(result, False)


def test_an_average_that_is_carried_on_keeps_its_memory(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    earlier = make_stage("adversarial", seed=1)
    batches = make_batches()
    for number in range(1, 4):
        earlier.step(batches.next(), number)
    weights = copied(earlier)
    stage = make_stage("adversarial", seed=2)
    stage.load_pretrained(weights)
    stage.step(batches.next(), 1)
    result = stage.weights()
    decay = AdversarialSettings().ema_decay
    for name, averaged in weights["generator_ema"].items():
        if averaged.is_floating_point():
            expected = averaged * decay + result["generator"][name] * (1 - decay)
            torch.testing.assert_close(result["generator_ema"][name], expected)


def test_an_encoder_comes_through_an_adversarial_stage(make_stage: MakeStage, latent_stage: LatentStage) -> None:
    weights = copied(latent_stage)
    stage = make_stage("adversarial", seed=3)
    stage.load_pretrained(weights)
    result = copied(stage)
    assert result.keys() == weights.keys()
    assert changed(weights, result) == dict.fromkeys(weights, False)
    again = make_stage("adversarial", seed=4)
    again.load_state_dict(stage.state_dict())
    assert changed(weights, copied(again)) == dict.fromkeys(weights, False)


def test_the_encoders_losses_are_of_generated_pairs_and_of_real_faces(
    latent_stage: LatentStage, make_batches: MakeBatches
) -> None:
    batch = make_batches().next()
    networks = {name: copy.deepcopy(network) for name, network in latent_stage.networks.items()}
    torch.manual_seed(5)
    losses = latent_stage.step(batch, 0)
    torch.manual_seed(5)
    generator, discriminator, encoder = networks["generator_ema"], networks["discriminator"], networks["encoder"]
    condition = F.one_hot(batch.group, 6).float()
    latent = torch.randn(len(batch.group), 8)
    result = encoder(torch.cat([generator(latent, condition), batch.image]))
    of_generated, of_real = result[: len(latent)], result[len(latent) :]
    rebuilt = generator(of_real, condition)
    features = [discriminator.features(image, condition) for image in (rebuilt, batch.image)]  # type: ignore[operator]
    expected = {
        "e/pairs": (of_generated - latent).square().mean(),
        "e/pixel": charbonnier(rebuilt - batch.image),
        "e/feature": feature_distance(*features),
        "e/norm": latent_norm_penalty(of_real),
    }
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value.detach()), rel=1e-4)


def test_the_encoder_learns_to_undo_the_generator(make_stage: MakeStage, make_batches: MakeBatches) -> None:
    weights = copied(make_stage("adversarial", seed=1))
    for tensor in weights["generator_ema"].values():
        if tensor.ndim > 1:  # untrained, it would draw nearly the same picture for every latent
            tensor *= 2
    stage, batches = make_stage("latent", seed=2, learning_rate=3e-3), make_batches(batch_size=12)
    stage.load_pretrained(weights)
    pairs = [float(stage.step(batches.next(), number)["e/pairs"]) for number in range(60)]
    assert sum(pairs[-5:]) < 0.8 * sum(pairs[:5])


def test_latent_samples_show_real_faces_and_their_ages(latent_stage: LatentStage, make_batches: MakeBatches) -> None:
    watched = make_batches().next()
    samples = latent_stage.samples()
    assert samples.shape == (6, 2 + 6, 3, 64, 64)
    assert torch.equal(samples[:, 0], watched.image)
    for row, group in enumerate(watched.group.tolist()):
        assert torch.allclose(samples[row, 1], samples[row, 2 + group], atol=1e-5)


def test_weights_that_do_not_fit(make_stage: MakeStage) -> None:
    weights = copied(make_stage("adversarial"))
    for kind in ("adversarial", "latent"):
        with pytest.raises(CheckpointError, match="no 'discriminator'"):
            make_stage(kind).load_pretrained(
                {name: state for name, state in weights.items() if name != "discriminator"}
            )
        with pytest.raises(CheckpointError, match="'discriminator' does not fit"):
            make_stage(kind).load_pretrained(weights | {"discriminator": weights["generator"]})


# --- the person, in the latent stage ---


def of_a_trained(stage: Stage, make_stage: MakeStage) -> LatentStage:
    stage.load_pretrained(copied(make_stage("adversarial", seed=1)))
    assert isinstance(stage, LatentStage)
    return stage


class Wide(nn.Module):
    """A FaceNet of another side than the generator's."""

    size, embedding = 96, 48

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[1:] == (3, 96, 96)
        return F.normalize(F.avg_pool2d(image.float(), 24).flatten(1), dim=1)


@pytest.mark.parametrize("wide", [False, True])
def test_the_identity_term_is_how_far_apart_the_people_are(
    make_stage: MakeStage, make_batches: MakeBatches, facenet: DlibResNet, wide: bool
) -> None:
    judge = cast(FaceNet, Wide()) if wide else facenet
    stage, batch = of_a_trained(make_stage("latent", facenet=judge), make_stage), make_batches().next()
    encoder = copy.deepcopy(stage.encoder)
    torch.manual_seed(5)
    losses = stage.step(batch, 0)
    torch.manual_seed(5)
    condition = F.one_hot(batch.group, 6).float()
    with torch.no_grad():
        joined = torch.cat([stage.generator(torch.randn(len(batch.group), 8), condition), batch.image])
        rebuilt = stage.generator(encoder(joined)[len(batch.group) :], condition)
        recorded = [at_side(image, judge.size) for image in (rebuilt, batch.image)]
        people = [judge(image) for image in recorded]
    wanted = 1 - F.cosine_similarity(*people).mean()
    assert float(losses["e/identity"]) == pytest.approx(float(wanted), rel=1e-3)
    assert float(wanted) > 1e-3


def test_the_identity_term_pulls_at_the_encoder_by_its_weight(
    make_stage: MakeStage, make_batches: MakeBatches, facenet: DlibResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, total, losses = make_batches().next(), {}, {}
    for weight in (0.0, 1.0, 3.0):
        stage = of_a_trained(make_stage("latent", facenet=facenet, identity_weight=weight), make_stage)
        given: list[Tensor] = []
        monkeypatch.setattr(stage, "optimizer_step", lambda _, loss, given=given: given.append(loss))
        torch.manual_seed(5)
        losses[weight] = stage.step(batch, 0)
        total[weight] = given[0].detach()
    assert losses[0.0].keys() == LATENT_LOSSES  # nor is it reckoned
    for weight in (1.0, 3.0):
        identity = float(losses[weight]["e/identity"])
        assert identity == pytest.approx(float(losses[1.0]["e/identity"]), rel=1e-5)
        assert float(total[weight] - total[0.0]) == pytest.approx(weight * identity, rel=0.01)


def test_the_person_is_learned_to_be_kept(
    make_stage: MakeStage, make_batches: MakeBatches, facenet: DlibResNet
) -> None:
    """By the encoder; the FaceNet stays as it is, and outside the checkpoint."""
    before = {name: tensor.clone() for name, tensor in facenet.state_dict().items()}
    weights = copied(make_stage("adversarial", seed=1))
    for tensor in weights["generator_ema"].values():
        if tensor.ndim > 1:  # untrained, it would draw nearly the same picture for every latent
            tensor *= 2
    stage = make_stage("latent", facenet=facenet.train(), learning_rate=3e-3, identity_weight=30.0)
    stage.load_pretrained(weights)
    batch = make_batches().next()
    result = [float(stage.step(batch, number)["e/identity"]) for number in range(20)]
    assert min(result[-3:]) < 0.9 * result[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in facenet.state_dict().items())
    assert not any(parameter.requires_grad for parameter in facenet.parameters())
    assert not any("facenet" in name for name in (*stage.weights(), *stage.networks, *stage.optimizers))


def test_pairs_alone_at_first(make_stage: MakeStage, make_batches: MakeBatches, facenet: DlibResNet) -> None:
    """As in the paper: real faces have no part in it, then all terms count."""
    stage = of_a_trained(make_stage("latent", facenet=facenet, pairs_alone=2), make_stage)
    batches = make_batches()
    unseen = [Batch(batch.image * torch.nan, batch.group) for batch in (batches.next(), batches.next())]
    before = copied(stage)
    encoder = copy.deepcopy(stage.encoder)
    torch.manual_seed(5)
    losses = stage.step(unseen[0], 0)
    torch.manual_seed(5)
    latent = torch.randn(len(unseen[0].group), 8)
    with torch.no_grad():
        result = encoder(stage.generator(latent, F.one_hot(unseen[0].group, 6).float()))
    assert losses.keys() == {"e/pairs"}
    assert not losses["e/pairs"].requires_grad
    assert float(losses["e/pairs"]) == pytest.approx(float((result - latent).square().mean()), rel=1e-4)
    assert stage.step(unseen[1], 1).keys() == {"e/pairs"}
    after = copied(stage)
    assert changed(before, after) == {name: name.startswith("encoder") for name in before}
    assert all(bool(tensor.isfinite().all()) for state in after.values() for tensor in state.values())
    assert stage.step(batches.next(), 2).keys() == WITH_IDENTITY
    assert not torch.equal(copied(stage)["encoder_ema"]["blocks.0.0.weight"], after["encoder_ema"]["blocks.0.0.weight"])
