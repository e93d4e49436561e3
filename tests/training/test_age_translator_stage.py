"""The age translator's training: which networks a step changes and by which losses, what is watched, that runs resume."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import face_mask, part_mask
from dorian_bundle.mesh import mean_mesh
from dorian_training.checkpoint import load_resume, load_weights
from dorian_training.data.augmentation import Augmentation, centred
from dorian_training.data.batches import LabelledBatch, LabelledBatches, as_images
from dorian_training.data.crops import Crops
from dorian_training.distributed import DistributedContext
from dorian_training.errors import CheckpointError
from dorian_training.loop import LoopSettings, train
from dorian_training.losses.adversarial import fake_loss, real_loss
from dorian_training.losses.age_bins import age_logit, wrong_age_loss
from dorian_training.losses.reconstruction import charbonnier
from dorian_training.losses.translation import broad_imbalance, similarity_hinge
from dorian_training.methods.age_estimator import age_labels
from dorian_training.methods.age_translator import (
    AgeTranslatorSettings,
    AgeTranslatorStage,
    GuideNetworks,
    similarity_at_equal_age,
)
from dorian_training.methods.style_teacher import StyleTeacher
from dorian_training.networks.age_discriminator import AgeDiscriminatorShape
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape, expected_age
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape, TranslatorShape
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.shading import averaged, luma_of

MakeCrops = Callable[[Sequence[int | None], NDArray[np.uint8]], Crops]
MakeStage = Callable[..., AgeTranslatorStage]
Differing = Callable[[Any, Any], list[str]]
CPU = torch.device("cpu")
PLACE = DistributedContext(0, 1, CPU)
SIDE, WIDE = 64, 72
WIDTHS, STRIDES = (8, 8, 8), (2, 2, 2)
SHAPE = AgeTranslatorShape(
    TranslatorShape(size=SIDE, widths=(4, 8, 8), middle=1, fine=4, style=8, waves=2),
    AgeDiscriminatorShape(WIDTHS, STRIDES, fine=(4, 8)),
)
LOSSES = {
    "d/real",
    "d/fake",
    "d/wrong_age",
    "g/adversarial",
    "g/size",
    "g/outside",
    "g/iris",
    "g/identity",
    "g/cycle",
    "g/flip",
    "g/excess",
    "g/imbalance",
}
AGES = (5, 17, 18, 30, 44, 52, 70, 71, 90, 25, 33, 61)


@pytest.fixture(scope="module")
def people(make_crops: MakeCrops) -> Crops:
    """Twelve faces of noise, the older the brighter; eight of them are of an age that is watched."""
    noise = np.random.default_rng(0).integers(0, 70, (len(AGES), WIDE, WIDE, 3))
    return make_crops(AGES, (noise + 2 * np.asarray(AGES)[:, None, None, None]).astype(np.uint8))


@pytest.fixture(scope="module")
def make(people: Crops) -> MakeStage:
    """A stage of tiny networks, initialised from ``seed``, with changed settings.

    ``awake``: its head draws already. ``reads``: it has an age estimator and an age reader. ``judged``: another watches. ``facenet``: in place of a compact one. ``teacher`` and ``held``: of any kind.
    """

    def make(
        seed: int = 0,
        awake: bool = True,
        reads: bool = False,
        judged: bool = False,
        watched: Crops | None = None,
        amp: bool = False,
        shape: AgeTranslatorShape = SHAPE,
        facenet: FaceNet | None = None,
        teacher: nn.Module | None = None,
        held: nn.Module | None = None,
        **changes: float,
    ) -> AgeTranslatorStage:
        torch.manual_seed(seed)
        facenet = facenet or DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
        estimator = CompactAgeEstimator(CompactAgeEstimatorShape(WIDTHS, STRIDES)) if reads else None
        with torch.random.fork_rng():
            reader = CompactAgeEstimator(CompactAgeEstimatorShape(WIDTHS, STRIDES)) if reads else None
        judge = CompactAgeEstimator(CompactAgeEstimatorShape(WIDTHS, STRIDES)) if judged else None
        settings = AgeTranslatorSettings(**{"resolution": SIDE, **changes})  # type: ignore[arg-type]
        guides = GuideNetworks(
            facenet, estimator, reader, judge, cast(StyleTeacher, teacher), cast(AgeTranslator, held)
        )
        stage = AgeTranslatorStage(shape, settings, guides, CPU, amp, watched)
        if awake:
            for translator in (stage.translator, stage.average.module):
                nn.init.normal_(translator.head.weight, std=0.3)  # type: ignore[union-attr,arg-type]
        return stage

    return make


@pytest.fixture(scope="module")
def batches_of(people: Crops) -> Callable[..., LabelledBatches]:
    def batches(seed: int = 0, batch_size: int = 6) -> LabelledBatches:
        return LabelledBatches(people, age_labels(people), batch_size, seed, SIDE, Augmentation(coarse=0, erase=0))

    return batches


@pytest.fixture
def batch(batches_of: Callable[..., LabelledBatches]) -> LabelledBatch:
    return batches_of().next()


class Darkening(nn.Module):
    """A teacher that draws each year of difference as a shadow of a hundredth, on one side of a face."""

    def forward(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        delta = torch.zeros_like(image)
        delta[..., : SIDE // 2] = (source - target)[:, None, None, None] / 100
        return delta


def copied(stage: AgeTranslatorStage) -> dict[str, dict[str, Tensor]]:
    return {name: {key: value.clone() for key, value in state.items()} for name, state in stage.weights().items()}


def undescended(stage: AgeTranslatorStage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Tensor]]:
    """Lets ``stage`` learn nothing, and gives the losses that it would have gone down, by network, as they come."""
    losses: list[tuple[str, Tensor]] = []
    monkeypatch.setattr(stage, "optimizer_step", lambda name, loss: losses.append((name, loss)))
    return losses


def test_a_step_changes_both_networks_and_the_average(
    make: MakeStage, batches_of: Callable[..., LabelledBatches], differing: Differing
) -> None:
    stage, batches = make(awake=False), batches_of()
    for number in range(2):  # after the first step an average is its network, and only then does the head pass anything
        stage.step(batches.next(), number)
    before = copied(stage)
    losses = stage.step(batches.next(), 2)
    assert losses.keys() == LOSSES
    assert all(loss.shape == () and not loss.requires_grad and bool(loss.isfinite()) for loss in losses.values())
    assert before.keys() == {"translator", "translator_ema", "discriminator"}
    learnt = {f"/{name}/{key}" for name, state in before.items() for key in state if key != "strokes"}
    assert set(differing(before, stage.weights())) == learnt
    assert all(p.requires_grad for network in stage.networks.values() for p in network.parameters())


def test_losses_are_of_the_batch_and_of_what_is_drawn_of_it(
    make: MakeStage, batch: LabelledBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"size": 3.0, "identity": 5.0, "cycle": 7.0, "age": 11.0, "imbalance": 13.0}
    weights |= {"outside": 17.0, "iris": 19.0, "flip": 23.0, "excess": 29.0, "adversarial": 31.0, "teacher": 37.0}
    settings = {"r1_weight": 0.5, "r1_every": 4, "wrong_age_weight": 2.0, "identity_share": 0.5, "cycle_share": 0.3}
    settings |= {"flip_share": 0.5, "teacher_share": 0.7, "judged_blur": 5}
    settings |= {
        "shift": 0,
        "brightness": 0,
        "identity_margin": 1.0,
        "identity_long_margin": 0.8,
        **{f"{name}_weight": weight for name, weight in weights.items()},
    }
    stage = make(teacher=Darkening(), reads=True, **settings)
    steps = undescended(stage, monkeypatch)
    fed = list[tuple[Tensor, Tensor, Tensor]]()
    draw = stage.translator.unbounded
    with monkeypatch.context() as patch:
        patch.setattr(stage.translator, "unbounded", lambda *given: (fed.append(given), draw(*given))[1])
        torch.manual_seed(0)
        losses = {name: float(loss) for name, loss in stage.step(batch, 4).items()}
    assert losses.keys() == LOSSES | {"d/r1", "g/teacher", "g/age"}

    (image, source, target), (again, back_from, back_to), (mirrored, *mirrored_ages) = fed
    translator, discriminator, facenet = stage.translator, stage.discriminator, stage.guides.facenet
    mask = torch.from_numpy(face_mask(mean_mesh(DEFAULT_TEMPLATE.points(SIDE)), SIDE))
    delta = translator(image, source, target) * mask
    drawn = (image + delta).clamp(-1, 1)
    assert torch.equal(image, batch.image)
    assert float((drawn - image - delta).detach().abs().max()) > 1e-3  # some of it is clipped
    assert torch.equal(again, drawn[-2:])  # a share of 0.3 of six
    assert torch.equal(back_from, target[-2:])
    assert torch.equal(back_to, source[-2:])
    assert torch.equal(mirrored, image[:3].flip(3))
    assert torch.equal(torch.stack(mirrored_ages), torch.stack([source[:3], target[:3]]))
    whole = translator(image, source, target)
    flipped = translator(image[:3].flip(3), source[:3], target[:3]).flip(3)
    eyes = torch.from_numpy(part_mask(mean_mesh(DEFAULT_TEMPLATE.points(SIDE)), SIDE, "eyes"))
    cycle = drawn[-2:] + translator(drawn[-2:], target[-2:], source[-2:]) * mask - image[-2:]
    similarity = (facenet(image[:3]) * facenet(drawn[:3])).sum(dim=1)
    real, fake = discriminator(averaged(image, 5)), discriminator(averaged(drawn, 5))
    assert stage.guides.age_estimator is not None
    assert stage.guides.age_reader is not None
    read = expected_age(stage.guides.age_estimator(drawn))
    also_read = expected_age(stage.guides.age_reader(drawn[:3]))
    taught = slice(4)  # a share of 0.7 of six
    shown = luma_of(Darkening()(image[taught], source[taught], target[taught]))
    older = (target > source)[taught]
    missed = luma_of(whole[taught]) - translator.lit(translator.smooth(shown), image[taught], older)
    assert 0 < older.sum() < 4
    expected = {
        "d/real": real_loss(age_logit(real, source, 8.0)),
        "d/fake": fake_loss(age_logit(fake, target, 8.0)),
        "d/wrong_age": wrong_age_loss(real, batch.label[:, 0], batch.label[:, 1], 8.0, 12.0),
        "g/adversarial": real_loss(age_logit(fake, target, 8.0)),
        "g/size": charbonnier(delta),
        "g/outside": charbonnier(whole * (1 - mask)),
        "g/iris": charbonnier(delta * eyes) / eyes.mean(),
        "g/flip": charbonnier((flipped - whole[:3]) * mask),
        "g/identity": similarity_hinge(similarity, (target - source)[:3], 1.0, 0.8),
        "g/cycle": charbonnier(cycle),
        "g/excess": translator.excess(translator.unbounded(image, source, target), image),
        "g/teacher": charbonnier(missed * mask * older[:, None, None, None]),
        "g/age": (F.smooth_l1_loss(read, target, beta=5.0) + F.smooth_l1_loss(also_read, target[:3], beta=5.0)) / 20,
        "g/imbalance": broad_imbalance(delta),
    }
    given = averaged(image, 5).requires_grad_()
    (slope,) = torch.autograd.grad(age_logit(discriminator(given), source, 8.0).sum(), given)
    expected["d/r1"] = slope.square().sum(dim=(1, 2, 3)).mean()
    assert losses == pytest.approx({name: float(value.detach()) for name, value in expected.items()}, rel=1e-3)
    assert min(losses.values()) > 0

    judging = losses["d/real"] + losses["d/fake"] + 2 * losses["d/wrong_age"]
    drawing = sum(weight * losses[f"g/{name}"] for name, weight in weights.items())
    assert [name for name, _ in steps] == ["discriminator", "discriminator", "translator"]
    actual = [float(loss.detach()) for _, loss in steps]
    assert actual == pytest.approx([judging, 0.5 / 2 * 4 * losses["d/r1"], drawing], rel=1e-4)


@pytest.mark.parametrize(
    "term",
    ["adversarial", "size", "outside", "iris", "identity", "cycle", "flip", "excess", "age", "imbalance", "teacher"],
)
def test_every_term_pulls_at_the_translator(
    make: MakeStage, batch: LabelledBatch, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    names = ("size", "outside", "iris", "identity", "cycle", "flip", "excess", "age", "imbalance", "teacher")
    off = {f"{name}_weight": 0.0 for name in names}

    def slope(**weights: float) -> Tensor:
        stage = make(identity_margin=1.0, teacher=Darkening(), reads=True, **(off | weights))
        steps = undescended(stage, monkeypatch)
        torch.manual_seed(4)
        stage.step(batch, 1)
        return torch.autograd.grad(steps[-1][1], stage.translator.head.weight)[0]  # type: ignore[arg-type]

    assert (slope(**{f"{term}_weight": 1e5}) - slope()).abs().max() > 0.01


def test_both_are_shown_to_the_discriminator_with_one_change(
    make: MakeStage, batch: LabelledBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make(awake=False, shift=3, brightness=0.2, identity_weight=0, cycle_weight=0, flip_weight=0)
    undescended(stage, monkeypatch)
    shown = list[Tensor]()
    stage.discriminator.register_forward_hook(lambda module, given, logits: shown.append(given[0]))
    stage.step(batch, 1)
    both, drawn = shown
    assert torch.equal(both[:6], both[6:])  # an untrained translator draws what it is given
    assert torch.equal(both[6:], drawn)
    assert not torch.equal(both[:6], batch.image)


def test_drawing_teaches_the_discriminator_nothing(make: MakeStage, batch: LabelledBatch) -> None:
    stage = make()
    step, recorded = stage.optimizer_step, list[tuple[str, bool]]()

    def note(name: str, loss: Tensor) -> Tensor:
        before = [None if p.grad is None else p.grad.clone() for p in stage.discriminator.parameters()]
        result = step(name, loss)
        after = [p.grad for p in stage.discriminator.parameters()]
        recorded.append((name, all(b is not None and torch.equal(a, b) for a, b in zip(after, before, strict=True))))
        return result

    stage.optimizer_step = note  # type: ignore[assignment]
    stage.step(batch, 1)
    assert recorded == [("discriminator", False), ("translator", True)]


def test_a_facenet_of_another_side_holds_the_person(
    make: MakeStage, batch: LabelledBatch, people: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees faces at its own side, and what it says of them pulls at the translator."""

    class Wide(nn.Module):
        size, embedding = 96, 3 * 16

        def forward(self, image: Tensor) -> Tensor:
            assert image.shape[1:] == (3, 96, 96)
            return F.normalize(F.avg_pool2d(image, 24).flatten(1), dim=1)

    off = {f"{name}_weight": 0.0 for name in ("size", "outside", "iris", "cycle", "flip", "excess", "imbalance")}
    facenet = cast(FaceNet, Wide())
    slopes = list[Tensor]()
    for weight in (0.0, 1e4):
        stage = make(facenet=facenet, identity_weight=weight, identity_margin=1.0, **off)
        steps = undescended(stage, monkeypatch)
        torch.manual_seed(4)
        losses = stage.step(batch, 1)
        slopes.append(torch.autograd.grad(steps[-1][1], stage.translator.head.weight)[0])  # type: ignore[arg-type]
    assert losses["g/identity"] > 0
    assert (slopes[1] - slopes[0]).abs().max() > 0.01
    watching = make(facenet=facenet, judged=True, watched=people).measure()
    assert all(-1 <= watching[f"age_{age}/similarity"] <= 1 for age in (10, 25, 40, 55, 70))


@pytest.mark.parametrize("reads", [False, True])
def test_the_witnesses_never_change(make: MakeStage, batches_of: Callable[..., LabelledBatches], reads: bool) -> None:
    stage, batches = make(reads=reads, judged=reads), batches_of()
    guides = [stage.guides.facenet, *([stage.guides.age_estimator, stage.guides.age_judge] if reads else [])]
    before = [copy.deepcopy(witness.state_dict()) for witness in guides]  # type: ignore[union-attr]
    for number in range(2):
        stage.step(batches.next(), number)
    for witness, known in zip(guides, before, strict=True):
        assert witness is not None
        assert not witness.training  # its batch statistics would follow what it sees, otherwise
        assert all(torch.equal(tensor, known[name]) for name, tensor in witness.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in witness.parameters())
    assert "facenet" not in stage.weights()


def test_r1_comes_every_so_many_steps(make: MakeStage, batches_of: Callable[..., LabelledBatches]) -> None:
    stage, batches = make(r1_every=3), batches_of()
    assert ["d/r1" in stage.step(batches.next(), number) for number in range(5)] == [True, False, False, True, False]
    assert "d/r1" not in make(r1_weight=0).step(batches.next(), 0)


@pytest.mark.parametrize("term", ["identity", "cycle", "flip"])
def test_dear_terms_of_weight_zero_are_not_even_looked_at(make: MakeStage, batch: LabelledBatch, term: str) -> None:
    stage = make(**{f"{term}_weight": 0})
    calls = {"identity": 0, "translator": 0}

    def count(name: str) -> Callable[..., None]:
        return lambda *_: calls.update({name: calls[name] + 1})

    stage.guides.facenet.register_forward_hook(count("identity"))
    stage.translator.code.register_forward_hook(count("translator"))
    assert stage.step(batch, 1).keys() == LOSSES - {f"g/{term}"}
    assert calls == ({"identity": 0, "translator": 3} if term == "identity" else {"identity": 2, "translator": 2})


def test_a_dear_term_looks_at_one_face_at_least(make: MakeStage, batch: LabelledBatch) -> None:
    stage, looked_at = make(identity_share=0.01, cycle_share=0.01, flip_share=0.01), list[int]()
    for network in (stage.guides.facenet, stage.translator.code):
        network.register_forward_hook(lambda module, given, actual: looked_at.append(len(actual)))
    stage.step(batch, 1)
    assert looked_at == [6, 1, 1, 1, 1]  # all are drawn; one before, one after, one back, one in a mirror


def ages_of(
    make: MakeStage, labels: Sequence[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, **changes: float
) -> tuple[Tensor, Tensor]:
    """The source and target ages that a step gives faces of these labels."""
    stage = make(identity_weight=0, cycle_weight=0, **changes)
    undescended(stage, monkeypatch)
    fed = list[tuple[Tensor, Tensor]]()
    stage.translator.code.register_forward_hook(lambda module, given, style: fed.append(given))
    stage.step(LabelledBatch(torch.zeros(len(labels), 3, SIDE, SIDE), torch.tensor(labels)), 1)
    source, target = fed[0]
    return source, target


def test_sources_lie_anywhere_within_their_years(make: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = ages_of(make, [(20, 29)] * 40 + [(43, 43)] * 40, monkeypatch)
    bracket, exact = source[:40], source[40:]
    assert 20 <= bracket.min() < 21.5
    assert 28.5 < bracket.max() < 30
    assert 43 <= exact.min() < 43.2
    assert 43.8 < exact.max() < 44


def test_targets_are_other_faces_ages(make: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = ages_of(make, [(age, age) for age in range(1, 81)], monkeypatch, target_spread=0)
    assert torch.equal(source.sort().values, target.sort().values)
    assert (source == target).sum() < 10
    assert abs(float(torch.corrcoef(torch.stack([source, target]))[0, 1])) < 0.4


def test_faces_get_older_as_the_held_translator_draws_them(
    make: MakeStage, batches_of: Callable[..., LabelledBatches], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what estimators read of them does not count; of those that get younger it does."""
    off = dict.fromkeys(("size", "outside", "iris", "identity", "cycle", "flip", "excess", "imbalance"), 0.0)
    weights = {f"{name}_weight": 0.0 for name in off} | {"adversarial_weight": 0.0}
    batch = batches_of(batch_size=6).next()
    for age, counts in ((95.0, "held"), (0.5, "age")):
        stage = make(reads=True, held=Darkening(), **weights)
        monkeypatch.setattr(stage, "_targets", lambda source, age=age: torch.full_like(source, age))
        losses = {name: float(loss) for name, loss in stage.step(batch, 1).items()}
        assert (losses["g/held"] > 1e-4, losses["g/age"] > 1e-4) == (counts == "held", counts == "age")
    stage = make(held=None, **weights)
    stage.guides = replace(stage.guides, held=stage.translator)
    assert float(stage.step(batch, 1)["g/held"]) == pytest.approx(0, abs=1e-6)


def test_a_share_of_targets_is_drawn_from_children(make: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    _, target = ages_of(make, [(40, 40)] * 400, monkeypatch, target_spread=0, child_targets=0.3)
    child = target < 20
    assert 0.2 < child.float().mean() < 0.4
    assert target[child].min() >= 3
    assert target[child].max() <= 14
    assert target[child].std() > 2
    assert ((target[~child] >= 40) & (target[~child] < 41)).all()


def test_targets_are_shaken_and_stay_within_what_is_drawn(make: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    _, target = ages_of(make, [(40, 40)] * 100, monkeypatch, target_spread=4)
    assert 3 < target.std() < 5
    assert abs(float(target.mean()) - 40.5) < 1.5
    _, target = ages_of(make, [(0, 0)] * 20 + [(89, 89)] * 20, monkeypatch, target_spread=4)
    assert (float(target.min()), float(target.max())) == (0.5, 90.0)


@pytest.mark.parametrize("amp", [False, True])
def test_the_discriminator_learns_which_ages_are_wrong(
    make: MakeStage, batches_of: Callable[..., LabelledBatches], amp: bool
) -> None:
    stage, batches = (
        make(amp=amp, learning_rate=3e-3, discriminator_rate=3e-3, brightness=0.02, identity_weight=0, cycle_weight=0),
        batches_of(),
    )
    wrong = [float(stage.step(batches.next(), number)["d/wrong_age"]) for number in range(40)]
    assert sum(wrong[-5:]) < 0.6 * sum(wrong[:5])
    assert {p.dtype for network in stage.networks.values() for p in network.parameters()} == {torch.float32}


def test_mixed_precision_is_near_to_single(make: MakeStage, batch: LabelledBatch) -> None:
    first = {}
    for amp in (False, True):
        stage = make(amp=amp, identity_margin=1.0)
        torch.manual_seed(3)
        first[amp] = stage.step(batch, 0)
    assert first[False].keys() == first[True].keys() == LOSSES | {"d/r1"}
    for name, loss in first[False].items():
        assert float(first[True][name]) == pytest.approx(float(loss), rel=0.15, abs=0.01)
    assert not torch.equal(first[True]["d/fake"], first[False]["d/fake"])


def test_what_is_learnt_at_a_lower_resolution(make: MakeStage, people: Crops, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make(resolution=32, watched=people)
    recorded = list[tuple[int, ...]]()
    for network in (stage.translator.down[0], stage.discriminator):
        network.register_forward_hook(lambda module, given, actual: recorded.append(tuple(given[0].shape[2:])))
    image = torch.rand(4, 3, SIDE, SIDE)
    stage.step(LabelledBatch(image, torch.tensor([(20, 29)] * 4)), 1)
    assert set(recorded) == {(32, 32)}
    samples = stage.samples()
    assert samples is not None
    assert samples.shape == (8, 6, 3, 32, 32)


def test_a_run_resumes_exactly(
    make: MakeStage,
    batches_of: Callable[..., LabelledBatches],
    tmp_path: Path,
    differing: Differing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facenet = make().guides.facenet

    def stage_of(seed: int) -> AgeTranslatorStage:
        stage = make(seed=seed, r1_every=2)
        stage.guides = GuideNetworks(facenet)  # in no run's folder
        return stage

    def run(stage: AgeTranslatorStage, folder: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        settings = LoopSettings(4, save_every=2)
        train(stage, batches_of(seed), settings, tmp_path / folder, PLACE, {"stage": stage.name})

    run(stage_of(0), "whole")
    stage = stage_of(0)
    step = stage.step

    def cut_off(batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        if number == 3:
            raise KeyboardInterrupt
        return step(batch, number)

    monkeypatch.setattr(stage, "step", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(stage, "parts")
    run(stage_of(9), "parts", seed=9)  # all of another seed: what goes on can only come from the folder
    assert differing(load_resume(tmp_path / "whole"), load_resume(tmp_path / "parts")) == []
    assert differing(load_weights(tmp_path / "whole"), load_weights(tmp_path / "parts")) == []


def test_a_run_goes_on_from_another(make: MakeStage, differing: Differing) -> None:
    earlier, stage = make(seed=1), make(seed=2, reads=True)
    nn.init.normal_(earlier.average.module.head.weight, std=0.1)  # type: ignore[union-attr,arg-type]
    weights = copied(earlier)
    assert differing(weights["translator"], weights["translator_ema"]) != []
    stage.load_pretrained(weights)
    assert differing(weights, stage.weights()) == []
    assert int(stage.average.n_averaged) > 10_000  # with the long memory of one that has seen many steps
    for name in weights:
        with pytest.raises(CheckpointError, match=f"no '{name}'"):
            make().load_pretrained({other: state for other, state in weights.items() if other != name})
    with pytest.raises(CheckpointError, match="'discriminator' does not fit"):
        make().load_pretrained(weights | {"discriminator": weights["translator"]})


def test_the_discriminator_begins_as_the_age_estimator(make: MakeStage, batch: LabelledBatch) -> None:
    stage = make(reads=True)  # whose estimator comes as it was built, not yet frozen
    estimator = stage.guides.age_estimator
    assert estimator is not None
    with torch.no_grad():
        actual, known = stage.discriminator(batch.image), estimator(batch.image)
    shape = SHAPE.discriminator
    means = torch.stack([known[:, 8 * span : 8 * span + 8].mean(dim=1) for span in range(shape.bins)], dim=1)
    torch.testing.assert_close(actual, means, rtol=1e-3, atol=1e-4)


# --- what is watched ---


def adults_in(crops: Crops) -> tuple[Tensor, Tensor]:
    """The crops' centres and the ages of those who are 18 to 70."""
    ages = np.asarray([record.age for record in crops.records], dtype=np.float32)
    adults = np.flatnonzero((ages >= 18) & (ages <= 70))
    return centred(as_images(torch.from_numpy(crops.pixels[adults])), SIDE), torch.from_numpy(ages[adults])


def rows_of(samples: Tensor | None, images: Tensor) -> list[int]:
    """Which of ``images`` the rows of ``samples`` begin with."""
    assert samples is not None
    same = (samples[:, None, 0] == images).flatten(2).all(dim=2)
    assert (same.sum(dim=1) == 1).all()
    return same.int().argmax(dim=1).tolist()


def test_samples_show_watched_adults_at_five_ages(make: MakeStage, people: Crops) -> None:
    stage = make(watched=people)
    images, source = adults_in(people)
    samples = stage.samples()
    rows = rows_of(samples, images)
    assert samples is not None
    assert sorted(rows) == list(range(8))
    assert samples.shape == (8, 6, 3, SIDE, SIDE)
    mask = torch.from_numpy(face_mask(mean_mesh(DEFAULT_TEMPLATE.points(SIDE)), SIDE))
    for column, age in enumerate((10.0, 25.0, 40.0, 55.0, 70.0), start=1):
        delta = stage.average(images, source, torch.full_like(source, age)) * mask
        torch.testing.assert_close(samples[:, column], (images + delta).clamp(-1, 1)[rows])
    nn.init.zeros_(stage.translator.head.weight)  # type: ignore[union-attr,arg-type]
    assert torch.equal(samples, stage.samples())  # type: ignore[arg-type] # the average draws
    assert make().samples() is None


def test_samples_are_ten_of_all_who_are_watched_and_the_same_each_time(make: MakeStage, people: Crops) -> None:
    many = Crops(np.concatenate([people.pixels, 255 - people.pixels]), people.records * 2)
    stage, images = make(watched=many), adults_in(many)[0]
    rows = rows_of(stage.samples(), images)
    assert len(images) == 16
    assert len(set(rows)) == len(rows) == 10
    assert set(rows) != set(range(10))  # of several sets, one after the other, not the first alone
    assert rows_of(stage.samples(), images) == rows


def test_watched_faces_are_read_at_five_ages(make: MakeStage, people: Crops) -> None:
    stage = make(judged=True, watched=people)
    samples = stage.samples()
    assert samples is not None
    actual, expected = stage.measure(), dict[str, float]()
    facenet, judge = stage.guides.facenet, stage.guides.age_judge
    assert judge is not None
    with torch.no_grad():
        before = facenet(samples[:, 0])
        for column, age in enumerate((10, 25, 40, 55, 70), start=1):
            read = expected_age(judge(samples[:, column]))
            expected[f"age_{age}/read"] = float(read.mean())
            expected[f"age_{age}/error"] = float((read - age).abs().mean())
            expected[f"age_{age}/similarity"] = float((before * facenet(samples[:, column])).sum(dim=1).mean())
    assert {name: value for name, value in actual.items() if name != "score"} == pytest.approx(expected, rel=1e-3)
    assert actual == stage.measure()


def test_before_training_everybody_stays_who_they_are(make: MakeStage, people: Crops) -> None:
    actual = make(judged=True, watched=people, awake=False).measure()
    assert [actual[f"age_{age}/similarity"] for age in (10, 25, 40, 55, 70)] == pytest.approx([1] * 5, abs=1e-5)
    assert len({round(actual[f"age_{age}/read"], 3) for age in (10, 25, 40, 55, 70)}) == 1


def test_without_faces_or_a_judge_nothing_is_measured(make: MakeStage, people: Crops) -> None:
    assert make(watched=people).measure() == {}
    assert make(judged=True).measure() == {}


# --- scores ---


def test_a_score_is_the_similarity_at_equal_estimated_ages() -> None:
    reads, alike = [15.0, 75.0], [0.9, 0.3]  # in between a hundredth less for each year
    expected = sum(0.9 - 0.01 * (age - 15) for age in (25, 40, 55, 65)) / 4
    assert similarity_at_equal_age(reads, alike) == pytest.approx(expected)
    assert similarity_at_equal_age(reads[::-1], alike[::-1]) == pytest.approx(expected)


def test_a_translator_that_does_nothing_has_no_high_score() -> None:
    still, real = similarity_at_equal_age([40.0, 40.0], [1.0, 1.0]), similarity_at_equal_age([20.0, 70.0], [0.75, 0.55])
    assert still == pytest.approx(1 - 0.03 * (15 + 0 + 15 + 25) / 4)
    assert still < real
