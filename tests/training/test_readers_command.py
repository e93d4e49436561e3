"""``dorian-train`` for the networks that read faces: runs on a few painted faces, and what is said when they cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from dorian_bundle.mesh import mean_mesh
from dorian_training.checkpoint import load_weights
from dorian_training.cli import age_estimator, landmark_refiner
from dorian_training.cli.train import main
from dorian_training.data.archives import load_archives
from dorian_training.data.mesh import MESH_FILE
from dorian_training.networks.age_estimator import CompactAgeEstimatorShape
from dorian_training.networks.landmark_refiner import LandmarkRefinerShape

Train = Callable[..., Result]
Refused = Callable[..., bool]
WriteArchives = Callable[..., Path]
COMMANDS = ["age-estimator", "landmark-refiner"]


@dataclass(frozen=True)
class SmallAgeEstimator(CompactAgeEstimatorShape):
    widths: tuple[int, ...] = (4, 8)
    strides: tuple[int, ...] = (2, 2)


@dataclass(frozen=True)
class SmallLandmarkRefiner(LandmarkRefinerShape):
    fine: tuple[int, int] = (4, 8)
    middle: int = 8
    coarse: int = 8
    depth: int = 1


SHAPES: dict[str, Any] = {
    "age-estimator": SmallAgeEstimator,
    "landmark-refiner": SmallLandmarkRefiner,
}


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(age_estimator, "CompactAgeEstimatorShape", SmallAgeEstimator)
    monkeypatch.setattr(landmark_refiner, "LandmarkRefinerShape", SmallLandmarkRefiner)


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def with_mesh(folder: Path) -> Path:
    """Archives whose faces all have the mean face's points."""
    points = np.stack([mean_mesh(np.asarray(record.landmarks)) for record in load_archives(folder)])
    np.savez(folder / MESH_FILE, row=np.arange(len(points)), points=(points * 32).astype(np.int16))
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: WriteArchives) -> Path:
    """Four people of celeba.zip, whose ages nobody knows, and six faces of utkface.zip whom nobody knows; a few to watch."""
    known = [{"archive": "celeba.zip", "identity": str(8 + i // 3), "age_low": "", "age_high": ""} for i in range(12)]
    aged = [{"identity": "", "age_low": 10 * i, "age_high": 10 * i + 9 * (i % 2)} for i in range(6)]
    watched = [known[0] | {"split": "val", "identity": str(20 + i // 2)} for i in range(4)]
    watched += [{"split": "val", "identity": "", "age_low": 40, "age_high": 40}, {"split": "test"}]
    return with_mesh(write_archives(tmp_path_factory.mktemp("faces"), [*known, *aged, *watched]))


@pytest.fixture
def train(faces: Path, tmp_path: Path) -> Train:
    """Runs a command on ``faces`` into the run folder called ``out``."""

    def train(command: str, out: str, *options: object, data: object = faces) -> Result:
        needed = ["--data", data, "--out", tmp_path / out, "--cache", tmp_path / "cache", "--batch-size", 4]
        needed += ["--device", "cpu", *(("--layout", "compact") if command == "age-estimator" else ())]
        return CliRunner().invoke(main, [command, *map(str, [*needed, *options])])

    return train


def test_a_run_and_its_records(command: str, train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    result = train(command, "run", "--steps", 2, "--seed", 5, "--set", "learning_rate=0.001")
    assert result.exit_code == 0, result.output
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    family = command.replace("-", "_")
    assert (config["family"], config["stage"], config["seed"], config["batch_size"]) == (family, family, 5, 4)
    assert SHAPES[command].from_dict(config["shape"]) == SHAPES[command]()
    assert (config["settings"]["learning_rate"], config["settings"]["ema_decay"]) == (0.001, 0.999)
    assert config["loop"]["steps"] == 2
    sources = {"age-estimator": {"utkface": 6}}
    assert config["data"] == sources.get(command, {"celeba": 12, "utkface": 6})
    weights, about = load_weights(tmp_path / "run")
    assert weights.keys() == {family, f"{family}_ema"}
    assert about == {key: value for key, value in config.items() if key not in ("loop", "amp", "device")} | {"steps": 2}
    watched = {"age-estimator": ["error_in_years"], "landmark-refiner": ["landmark_error", "visibility_error"]}
    assert [line.split()[2] for line in caplog.messages if line.startswith("step 2: ")] == watched[command]
    assert not (tmp_path / "run" / "samples").exists()


def test_the_same_folder_again_goes_on_as_it_began(
    command: str,
    train: Train,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    assert train(command, "run", "--steps", 1).exit_code == 0
    monkeypatch.setattr(
        age_estimator, "CompactAgeEstimatorShape", CompactAgeEstimatorShape
    )  # another release has larger networks
    monkeypatch.setattr(landmark_refiner, "LandmarkRefinerShape", LandmarkRefinerShape)
    assert train(command, "run", "--steps", 3).exit_code == 0
    assert f"resumed {tmp_path / 'run'} at step 1" in caplog.text
    about = load_weights(tmp_path / "run")[1]
    assert (about["steps"], about["earlier"]) == (3, [])
    assert SHAPES[command].from_dict(about["shape"]) == SHAPES[command]()
    assert refused(train(command, "run", "--steps", 2), "has done 3 steps already", "2 asked for")
    other = COMMANDS[COMMANDS.index(command) - 1]
    words = f"holds a run of the {command.replace('-', '_')} stage; give the {other.replace('-', '_')} stage another"
    assert refused(train(other, "run", "--steps", 4), words)


def test_a_run_starts_from_another(command: str, train: Train, tmp_path: Path) -> None:
    assert train(command, "first", "--steps", 2).exit_code == 0
    before = load_weights(tmp_path / "first")[0]
    still = ("--set", "learning_rate=0", "--set", "ema_decay=1", "--steps", 1)
    assert train(command, "second", "--from", tmp_path / "first", "--seed", 3, *still).exit_code == 0
    weights, about = load_weights(tmp_path / "second")
    family = command.replace("-", "_")
    assert about["earlier"] == [{"stage": family, "steps": 2, "data": about["data"]}]
    learnt = [name for name in before[family] if name.endswith((".weight", ".bias"))]
    assert learnt
    assert all(torch.equal(weights[family][name], before[family][name]) for name in learnt)
    assert (
        train(command, "second", "--from", tmp_path / "second", "--steps", 2).exit_code == 0
    )  # the folder comes first
    assert load_weights(tmp_path / "second")[1]["earlier"] == about["earlier"]


def test_an_age_estimator_is_taught_by_another(train: Train, tmp_path: Path, refused: Refused) -> None:
    assert train("age-estimator", "teacher", "--steps", 2).exit_code == 0
    assert train("age-estimator", "student", "--teacher", tmp_path / "teacher", "--steps", 1).exit_code == 0
    about = load_weights(tmp_path / "student")[1]
    assert about["taught_by"] == [{"stage": "age_estimator", "steps": 2, "data": about["data"]}]
    assert about["earlier"] == []
    assert train("landmark-refiner", "other", "--steps", 1).exit_code == 0
    words = "the checkpoint has no 'age_estimator_ema'"
    assert refused(train("age-estimator", "run", "--teacher", tmp_path / "other", "--steps", 1), words)


def test_what_a_run_cannot_start_from(command: str, train: Train, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "text").write_text("text")
    assert refused(train(command, "run", "--from", tmp_path / "text"), "not a checkpoint that can be read")
    other = COMMANDS[COMMANDS.index(command) - 1]
    assert train(other, "other", "--steps", 1).exit_code == 0
    family = command.replace("-", "_")
    assert refused(train(command, "run", "--from", tmp_path / "other"), f"the checkpoint has no '{family}'; it has")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [("speed=3", "with a name among learning_rate, "), ("warm_up", "expected NAME=VALUE"), ("warm_up=soon", "'soon'")],
)  # fmt: skip
def test_settings_that_cannot_be_changed_so(
    command: str, train: Train, change: str, problem: str, refused: Refused
) -> None:
    assert refused(train(command, "run", "--steps", 1, "--set", change), f"--set {change}", problem)


def test_faces_without_what_is_to_be_learnt(
    train: Train, tmp_path: Path, write_archives: WriteArchives, refused: Refused
) -> None:
    ageless = write_archives(tmp_path / "ageless", [{"age_low": "", "age_high": ""}, {"split": "val"}])
    assert refused(train("age-estimator", "run", data=ageless), "no face of the training split has the label")
    for command in COMMANDS:
        assert refused(train(command, "run", data=tmp_path / "absent"), "absent is not a folder")


def test_runs_without_faces_to_watch(train: Train, tmp_path: Path, write_archives: WriteArchives) -> None:
    rows = [{"identity": str(index // 2), "age_low": 20, "age_high": 20} for index in range(6)]
    data = with_mesh(write_archives(tmp_path / "trained", rows))
    for command in ("age-estimator", "landmark-refiner"):
        assert train(command, command, "--steps", 1, data=data).exit_code == 0


def test_help_explains_every_option(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    options = [
        "data",
        "out",
        "from",
        "steps",
        "minutes",
        "batch-size",
        "seed",
        "device",
        "threads",
        "amp",
        "cache",
        "set",
    ]
    assert [option for option in options if f"--{option}" not in result.output] == []
    assert f"dorian-train {command} --data faces/" in result.output
    assert command in CliRunner().invoke(main, ["-h"]).output
