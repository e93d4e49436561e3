"""The training loop: resumes bit by bit, stops when it should, and what it leaves in the run folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from dorian_training.checkpoint import RESUME_FILE, WEIGHTS_FILE, load_resume, load_weights
from dorian_training.data.batches import BalancedBatches, Batch
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.loop import LoopSettings, train, write_grid
from dorian_training.methods.stage import Stage

MakeStage = Callable[..., Stage]
MakeBatches = Callable[..., BalancedBatches]
Differing = Callable[[Any, Any], list[str]]
PLACE = DistributedContext(0, 1, torch.device("cpu"))
ABOUT = {"family": "age_cgan", "seed": 7}


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


@pytest.fixture(params=["adversarial", "latent"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(make_stage: MakeStage, make_batches: MakeBatches) -> Callable[..., Stage]:
    """Trains a stage, made anew from ``seed``, in a folder; returns it."""

    def run(
        kind: str, folder: Path, steps: int, seed: int = 0, fresh: bool = True, amp: bool = False, **often: Any
    ) -> Stage:
        changes = {"r1_every": 3} if kind == "adversarial" else {}
        stage = make_stage(kind, seed, amp=amp, **changes)
        if kind == "latent" and fresh:
            stage.load_pretrained(make_stage("adversarial", seed=50).weights())
        torch.manual_seed(seed)
        done = train(stage, make_batches(seed), LoopSettings(steps, **often), folder, PLACE, ABOUT)
        assert done == steps
        return stage

    return run


@pytest.mark.parametrize("amp", [False, True])
def test_a_run_resumes_exactly(
    kind: str, amp: bool, tmp_path: Path, run: Callable[..., Stage], differing: Differing
) -> None:
    run(kind, tmp_path / "whole", 4, amp=amp, log_every=1)
    run(kind, tmp_path / "parts", 2, amp=amp, log_every=1)
    halfway = load_resume(tmp_path / "parts")
    # All of another seed: what goes on can only come from the folder.
    run(kind, tmp_path / "parts", 4, amp=amp, log_every=1, seed=9, fresh=False)
    whole, parts = load_resume(tmp_path / "whole"), load_resume(tmp_path / "parts")
    assert whole is not None
    assert whole["step"] == 4
    assert differing(whole, parts) == []
    assert {path.split("/")[1] for path in differing(whole, halfway)} == {"step", "stage", "batches", "random"}
    assert differing(load_weights(tmp_path / "whole"), load_weights(tmp_path / "parts")) == []
    assert scalars(tmp_path / "whole") == scalars(tmp_path / "parts")
    values = scalars(tmp_path / "whole")
    assert all(list(steps) == [1, 2, 3, 4] for name, steps in values.items() if name != "d/r1")
    if kind == "adversarial":
        assert list(values["d/r1"]) == [1, 4]  # after the steps numbered 0 and 3


def test_another_seed_is_another_run(
    kind: str, tmp_path: Path, run: Callable[..., Stage], differing: Differing
) -> None:
    run(kind, tmp_path / "a", 1)
    run(kind, tmp_path / "b", 1, seed=1)
    assert differing(load_resume(tmp_path / "a"), load_resume(tmp_path / "b")) != []


def test_what_a_run_leaves_behind(kind: str, tmp_path: Path, run: Callable[..., Stage], differing: Differing) -> None:
    stage = run(kind, tmp_path / "new" / "run", 5, log_every=2, sample_every=3)
    folder = tmp_path / "new" / "run"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("events.out.tfevents"))
    assert names == [WEIGHTS_FILE, RESUME_FILE, "samples"]
    rows, columns = (8, 6) if kind == "adversarial" else (6, 8)
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["0000003.jpg", "0000005.jpg"]
    picture = cv2.imread(str(folder / "samples" / "0000005.jpg"))
    assert picture is not None
    assert picture.shape == (rows * 64, columns * 64, 3)
    values = scalars(folder)
    assert values.keys() >= (
        {"d/real", "d/fake", "d/wrong_group", "g/adversarial"} if kind == "adversarial" else {"e/pairs"}
    )
    assert all(list(steps) == [2, 4, 5] for name, steps in values.items() if name != "d/r1")
    assert all(math.isfinite(value) for steps in values.values() for value in steps.values())
    weights, about = load_weights(folder)
    assert about == {**ABOUT, "steps": 5}
    assert differing(weights, stage.weights()) == []


def test_saved_every_so_many_steps(
    tmp_path: Path, make_stage: MakeStage, make_batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage("adversarial")
    step = stage.step

    def interrupted(batch: Any, number: int) -> dict[str, Tensor]:
        if number == 5:
            raise KeyboardInterrupt
        return step(batch, number)

    monkeypatch.setattr(stage, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(stage, make_batches(), LoopSettings(8, save_every=2), tmp_path, PLACE, ABOUT)
    state = load_resume(tmp_path)
    assert state is not None
    assert state["step"] == 4
    assert load_weights(tmp_path)[1]["steps"] == 4


def test_fewer_steps_than_are_done(tmp_path: Path, run: Callable[..., Stage], differing: Differing) -> None:
    run("adversarial", tmp_path, 3)
    before = (tmp_path / RESUME_FILE).read_bytes()
    with pytest.raises(ConfigError, match="has done 3 steps already, more than the 2 asked for"):
        run("adversarial", tmp_path, 2)
    assert (tmp_path / RESUME_FILE).read_bytes() == before
    run("adversarial", tmp_path, 3)  # as many as are done: nothing to do
    assert differing(load_resume(tmp_path), torch.load(tmp_path / RESUME_FILE, weights_only=True)) == []


def test_a_folder_that_holds_another_stage(tmp_path: Path, run: Callable[..., Stage]) -> None:
    run("adversarial", tmp_path, 1)
    with pytest.raises(ConfigError, match="a run of another stage or of other networks"):
        run("latent", tmp_path, 2)


def test_time_is_up(
    tmp_path: Path, make_stage: MakeStage, make_batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, clock = make_stage("adversarial"), [1000.0]
    step = stage.step

    def slow(batch: Any, number: int) -> dict[str, Tensor]:
        clock[0] += 25.0
        return step(batch, number)

    monkeypatch.setattr(stage, "step", slow)
    monkeypatch.setattr("dorian_training.loop.time", SimpleNamespace(monotonic=lambda: clock[0]))
    settings = LoopSettings(steps=9, minutes=1.0)
    assert train(stage, make_batches(), settings, tmp_path, PLACE, ABOUT) == 3  # begun at 0, 25 and 50 seconds
    state = load_resume(tmp_path)
    assert state is not None
    assert state["step"] == 3
    assert load_weights(tmp_path)[1]["steps"] == 3
    assert train(stage, make_batches(), LoopSettings(steps=9), tmp_path, PLACE, ABOUT) == 9


class Watched(Stage[Batch]):
    """Learns nothing, and tells what the loop asks of it. Fails to measure after ``fails`` steps."""

    name = "watched"

    def __init__(self, fails: int = 0) -> None:
        super().__init__(torch.device("cpu"))
        self.steps, self.fails, self.done = 0, fails, list[float]()

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        self.steps = number + 1
        return {"loss": torch.tensor(1.0)}

    def schedule(self, done: float) -> None:
        self.done.append(done)

    def measure(self) -> dict[str, float]:
        if self.steps == self.fails:
            raise KeyboardInterrupt
        return {"watched/error": 1 / self.steps}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        raise NotImplementedError


def test_what_is_measured_is_kept_as_often_as_samples(
    tmp_path: Path, make_batches: MakeBatches, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train(Watched(), make_batches(), LoopSettings(5, log_every=4, sample_every=2), tmp_path, PLACE, ABOUT)
    values = scalars(tmp_path)
    assert list(values["loss"]) == [4, 5]
    assert values["watched/error"] == pytest.approx({2: 1 / 2, 4: 1 / 4, 5: 1 / 5})
    assert [line for line in caplog.messages if "watched/error" in line] == [
        "step 2: watched/error 0.5000",
        "step 4: watched/error 0.2500",
        "step 5: watched/error 0.2000",
    ]
    assert not (tmp_path / "samples").exists()  # a stage that draws nothing


def test_a_stage_hears_how_much_of_the_run_is_done(tmp_path: Path, make_batches: MakeBatches) -> None:
    stage = Watched()
    train(stage, make_batches(), LoopSettings(4), tmp_path, PLACE, ABOUT)
    train(stage, make_batches(), LoopSettings(5), tmp_path, PLACE, ABOUT)
    assert stage.done == [0, 0.25, 0.5, 0.75, 0.8]


def test_what_was_learnt_is_saved_before_it_is_looked_at(tmp_path: Path, make_batches: MakeBatches) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Watched(fails=4), make_batches(), LoopSettings(8, save_every=2, sample_every=2), tmp_path, PLACE, ABOUT)
    state = load_resume(tmp_path)
    assert state is not None
    assert state["step"] == 4


def test_a_grid_lays_rows_and_columns_out_in_rgb(tmp_path: Path) -> None:
    colours = torch.tensor([[[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]], [[0.0, 0, 0], [3, 3, 3], [-1, -1, -1]]])
    write_grid(tmp_path / "new" / "grid.jpg", colours[:, :, :, None, None].expand(2, 3, 3, 16, 16))
    picture = cv2.imread(str(tmp_path / "new" / "grid.jpg"))
    assert picture is not None
    assert picture.shape == (32, 48, 3)
    middles = picture[8::16, 8::16, ::-1].astype(int)
    expected = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[128, 128, 128], [255, 255, 255], [0, 0, 0]]]
    assert np.abs(middles - expected).max() <= 4
