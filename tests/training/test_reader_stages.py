"""Training of the networks that read faces: that they learn, what they are watched by, and that runs resume exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.mesh import LEFT_IRIS, POINTS, RIGHT_IRIS, alignment_landmarks, mean_mesh
from dorian_training.checkpoint import load_resume, load_weights
from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import LabelledBatches
from dorian_training.data.crops import Crops
from dorian_training.data.landmark_batches import LandmarkBatches, Wrongness
from dorian_training.data.sampling import flattening_weights
from dorian_training.distributed import DistributedContext
from dorian_training.errors import CheckpointError
from dorian_training.loop import LoopSettings, train
from dorian_training.methods.age_estimator import (
    AgeEstimatorSettings,
    AgeEstimatorStage,
    age_labels,
    narrowed_labels,
    read_ages,
)
from dorian_training.methods.landmark_refiner import LandmarkRefinerSettings, LandmarkRefinerStage
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_estimator import CompactAgeEstimatorShape
from dorian_training.networks.landmark_refiner import SIZE, LandmarkRefinerShape

MakeCrops = Callable[..., Crops]
Differing = Callable[[Any, Any], list[str]]
CPU = torch.device("cpu")
PLACE = DistributedContext(0, 1, CPU)
PEOPLE, EACH, SIDE = 4, 6, 72
KINDS = ["age_estimator", "landmark_refiner"]
LOSSES = {
    "age_estimator": {"likelihood", "years_outside", "people"},
    "landmark_refiner": {"landmarks", "visibility"},
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def people(make_crops: MakeCrops) -> Crops:
    """Faces of four people with a colour each, the brighter the older."""
    random = np.random.default_rng(0)
    colours = random.integers(-60, 60, (PEOPLE, 1, 1, 1, 3)) + 40 * np.arange(PEOPLE)[:, None, None, None, None] + 60
    noise = random.integers(-30, 30, (PEOPLE, EACH, SIDE, SIDE, 3))
    pixels = np.clip(colours + noise, 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    crops = make_crops([20 * (1 + index // EACH) for index in range(len(pixels))], pixels)
    named = [replace(record, identity=str(8 + index // EACH)) for index, record in enumerate(crops.records)]
    return Crops(crops.pixels, tuple(named))


@pytest.fixture(scope="module")
def marked(make_crops: MakeCrops) -> tuple[Crops, Tensor]:
    """Black crops with spots of five colours on a face's eyes, nose and mouth, and where its points are, in fractions of the side."""
    random, count, side = np.random.default_rng(0), 12, 144
    pixels = np.zeros((count, side, side, 3), np.uint8)
    moved = np.asarray(DEFAULT_TEMPLATE.zoomed(0.5).landmarks) + random.uniform(-0.08, 0.08, (count, 1, 2))
    places = np.stack([mean_mesh(landmarks) for landmarks in moved])
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    for image, points in zip(pixels, alignment_landmarks(places), strict=True):
        for (x, y), colour in zip(points * side, colours, strict=True):
            image[round(y) - 3 : round(y) + 3, round(x) - 3 : round(x) + 3] = colour
    return make_crops([30] * count, pixels), torch.from_numpy(places)


@pytest.fixture(scope="module")
def make(people: Crops) -> Callable[..., Stage[Any]]:
    """A stage of small networks, initialised from ``seed``, with changed settings."""

    def make(kind: str, seed: int = 0, amp: bool = False, watched: Any = None, **changes: float) -> Stage[Any]:
        torch.manual_seed(seed)
        if kind == "age_estimator":
            return AgeEstimatorStage(
                CompactAgeEstimatorShape((4, 8), (2, 2), 0.1),
                AgeEstimatorSettings(**changes),
                CPU,
                amp,
                watched,
                kinds=2,
            )
        refiner = LandmarkRefinerShape((4, 8), 8, 8, 1)
        return LandmarkRefinerStage(refiner, LandmarkRefinerSettings(**changes), CPU, amp, watched)

    return make


@pytest.fixture(scope="module")
def batches_of(people: Crops, marked: tuple[Crops, Tensor]) -> Callable[..., Any]:
    """What a stage learns from."""

    def batches(kind: str, seed: int = 0) -> Any:
        if kind == "age_estimator":
            labels = torch.cat([age_labels(people), torch.arange(len(people))[:, None] % 2], dim=1)
            return LabelledBatches(people, labels, 12, seed, 64, Augmentation(light=0), flattening_weights(people))
        crops, places = marked
        return LandmarkBatches(crops, places, 12, seed, SIZE, Wrongness())

    return batches


def total(losses: dict[str, Tensor]) -> float:
    return float(torch.stack(list(losses.values())).sum())


def copied(stage: Stage[Any]) -> dict[str, dict[str, Tensor]]:
    return {name: {key: value.clone() for key, value in state.items()} for name, state in stage.weights().items()}


def test_a_step_changes_every_network_and_its_average(
    kind: str, make: Callable[..., Stage[Any]], batches_of: Callable[..., Any], differing: Differing
) -> None:
    stage, batches = make(kind), batches_of(kind)
    stage.step(batches.next(), 0)  # after the first, an average is its network
    before = copied(stage)
    losses = stage.step(batches.next(), 1)
    assert losses.keys() == LOSSES[kind]
    assert all(loss.shape == () and not loss.requires_grad for loss in losses.values())
    assert {path.split("/")[1] for path in differing(before, stage.weights())} == stage.weights().keys()
    assert stage.weights().keys() == {kind, f"{kind}_ema"}


@pytest.mark.parametrize("amp", [False, True])
def test_a_few_steps_lower_the_loss(
    kind: str, amp: bool, make: Callable[..., Stage[Any]], batches_of: Callable[..., Any]
) -> None:
    stage, batches = make(kind, amp=amp, learning_rate=0.01), batches_of(kind)
    losses = [total(stage.step(batches.next(), number)) for number in range(40)]
    assert all(map(math.isfinite, losses))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_run_resumes_exactly(
    kind: str,
    tmp_path: Path,
    make: Callable[..., Stage[Any]],
    batches_of: Callable[..., Any],
    differing: Differing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = {"stage": kind}

    def run(stage: Stage[Any], folder: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        train(stage, batches_of(kind, seed), LoopSettings(4, save_every=2), tmp_path / folder, PLACE, about)

    run(make(kind), "whole")
    stage = make(kind)
    step = stage.step

    def cut_off(batch: Any, number: int) -> dict[str, Tensor]:
        if number == 3:
            raise KeyboardInterrupt
        return step(batch, number)

    monkeypatch.setattr(stage, "step", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(stage, "parts")
    run(make(kind, seed=9), "parts", seed=9)  # all of another seed: what goes on can only come from the folder
    assert differing(load_resume(tmp_path / "whole"), load_resume(tmp_path / "parts")) == []
    assert differing(load_weights(tmp_path / "whole"), load_weights(tmp_path / "parts")) == []


def test_a_run_goes_on_from_another(kind: str, make: Callable[..., Stage[Any]], differing: Differing) -> None:
    earlier, stage = make(kind, seed=1), make(kind, seed=2)
    weights = copied(earlier)
    assert differing(weights, stage.weights()) != []
    stage.load_pretrained(weights)
    assert differing(weights, stage.weights()) == []
    assert int(stage.averages[kind].n_averaged) > 10_000  # with the long memory of one that has seen many steps
    with pytest.raises(CheckpointError, match=f"no '{kind}_ema'"):
        stage.load_pretrained({name: state for name, state in weights.items() if name != f"{kind}_ema"})
    with pytest.raises(CheckpointError, match=f"no '{kind}'"):
        stage.load_pretrained({})


def test_the_rate_follows_the_run(kind: str, make: Callable[..., Stage[Any]]) -> None:
    stage = make(kind, learning_rate=0.4, warm_up=0.2)
    rates = []
    for done in (0, 0.1, 0.2, 0.6):
        stage.schedule(done)
        rates.append({group["lr"] for optimizer in stage.optimizers.values() for group in optimizer.param_groups})
    assert rates[0] == {0}
    assert [rate.pop() for rate in rates[1:]] == pytest.approx([0.2, 0.4, 0.2])


def test_only_matrices_and_kernels_decay(kind: str, make: Callable[..., Stage[Any]]) -> None:
    stage = make(kind, weight_decay=0.07)
    for name, optimizer in stage.optimizers.items():
        decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        for parameter in stage.networks[name].parameters():
            assert decay[id(parameter)] == (0.07 if parameter.ndim > 1 else 0)


# --- the age estimator ---


def test_errors_in_years_are_of_exact_ages_and_of_brackets_apart(
    make: Callable[..., Stage[Any]], people: Crops
) -> None:
    records = list(people.records[:4])
    records[1] = replace(records[1], age_low=10, age_high=19)
    watched = Crops(people.pixels[:4], tuple(records))
    stage = make("age_estimator", watched=watched)
    ages = read_ages(stage.averages["age_estimator"], watched, 64, CPU)
    assert ages.shape == (4,)
    outside = max(10 - ages[1], ages[1] - 19, 0)
    assert stage.measure() == {
        "error_in_years": pytest.approx(np.abs(ages[[0, 2, 3]] - 20).mean(), abs=1e-4),
        "years_outside_brackets": pytest.approx(outside, abs=1e-4),
    }


def test_brackets_alone_have_no_error_in_years(make: Callable[..., Stage[Any]], people: Crops) -> None:
    brackets = Crops(people.pixels[:2], tuple(replace(r, age_low=10, age_high=19) for r in people.records[:2]))
    assert make("age_estimator", watched=brackets).measure().keys() == {"years_outside_brackets"}
    assert make("age_estimator").measure() == {}


def test_ages_are_learnt(make: Callable[..., Stage[Any]], batches_of: Callable[..., Any], people: Crops) -> None:
    stage, batches = make("age_estimator", watched=people, learning_rate=0.02), batches_of("age_estimator")
    before = stage.measure()["error_in_years"]
    for number in range(60):
        stage.step(batches.next(), number)
    assert stage.measure()["error_in_years"] < 0.6 * before


def test_people_are_read_as_old_as_others_of_their_decade(make: Callable[..., Stage[Any]], people: Crops) -> None:
    """Dark faces are mostly young, bright ones mostly old, and nothing else tells their ages: each kind is read as old as it mostly is."""
    count = 12
    order = np.arange(count) % 6
    crops = Crops(np.concatenate([people.pixels[order], people.pixels[order + 18]]), people.records)
    kind = torch.arange(2 * count) // count
    rare = torch.arange(2 * count) % count < 2
    age = torch.where((kind == 0) ^ rare, 20, 60)

    def gap(weight: float) -> float:
        stage = make("age_estimator", learning_rate=0.02, people_weight=weight)
        batches = LabelledBatches(crops, torch.stack([age, age, kind], dim=1), 12, 0, 64, Augmentation(light=0))
        for number in range(80):
            stage.step(batches.next(), number)
        read = read_ages(stage.averages["age_estimator"], crops, 64, CPU)
        return float(read[count:].mean() - read[:count].mean())

    assert gap(0.0) > 15
    assert gap(0.05) < 0.5 * gap(0.0)


def test_labels_are_brackets_of_whole_years(make_crops: MakeCrops) -> None:
    crops = make_crops([30, 0], np.zeros((2, 8, 8, 3), np.uint8))
    crops = Crops(crops.pixels, (replace(crops.records[0], age_high=39), crops.records[1]))
    assert age_labels(crops).tolist() == [[30, 39], [0, 0]]


def test_a_teacher_narrows_brackets_to_what_it_reads_within_them() -> None:
    labels = torch.tensor([[10, 19], [10, 19], [10, 19], [70, 120], [0, 2], [33, 33]])
    read = torch.tensor([14.4, 3.0, 40.0, 81.7, 1.0, 50.0])
    narrowed = [[12, 16], [10, 14], [15, 19], [80, 84], [0, 2], [33, 33]]
    assert narrowed_labels(labels, read).tolist() == narrowed


# --- the landmark refiner ---


def test_errors_are_of_what_can_be_seen_in_distances_between_the_eyes(
    make: Callable[..., Stage[Any]], batches_of: Callable[..., Any]
) -> None:
    watched = batches_of("landmark_refiner").next()
    watched.visible[:3] = 0.2
    stage = make("landmark_refiner", watched=watched)
    points, logits = stage.averages["landmark_refiner"](watched.image)
    seen = (watched.visible > 0.5).numpy()
    off, true = (points - watched.landmarks).numpy()[seen], watched.landmarks.numpy()[seen]
    eyes = np.linalg.norm(true[:, RIGHT_IRIS] - true[:, LEFT_IRIS], axis=1)
    assert stage.measure() == {
        "landmark_error": pytest.approx(float((np.linalg.norm(off, axis=2).mean(axis=1) / eyes).mean()), rel=1e-4),
        "visibility_error": pytest.approx(float((logits.sigmoid() - watched.visible).abs().mean()), rel=1e-4),
    }
    watched.visible[:] = 0
    assert stage.measure().keys() == {"visibility_error"}
    assert make("landmark_refiner").measure() == {}


def test_landmark_losses_are_of_what_can_be_seen_in_hundredths_of_the_view(
    make: Callable[..., Stage[Any]], batches_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, batch = make("landmark_refiner", visibility_weight=2.0), batches_of("landmark_refiner").next()
    batch.visible[:] = 0
    batch.visible[:2] = torch.tensor([0.75, 0.25])
    off = torch.zeros_like(batch.landmarks)
    off[0, 0, 0], off[1, 2, 1], off[5] = 0.03, -0.004, 1.0  # the last one's face cannot be seen
    logits = torch.zeros(len(off))
    stage.refiner.forward = lambda image: (batch.landmarks + off, logits)  # type: ignore[attr-defined]
    recorded = list[float]()
    monkeypatch.setattr(stage, "optimizer_step", lambda name, loss: recorded.append(float(loss)))
    losses = stage.step(batch, 0)
    expected = (0.75 * (3 - 0.25) + 0.25 * 0.4**2 / (2 * 0.5)) / (2 * POINTS)
    assert float(losses["landmarks"]) == pytest.approx(expected, rel=1e-3)
    assert float(losses["visibility"]) == pytest.approx(math.log(2), rel=1e-5)
    assert recorded == [pytest.approx(expected + 2 * math.log(2), rel=1e-3)]
