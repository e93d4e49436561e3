"""``dorian-train ae-stylegan``, ``cycle-stylegan`` and ``search``: runs on a few painted faces, and what is said when they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from torch import nn

from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli import search as search_command
from dorian_training.cli.train import main
from dorian_training.networks.ae_stylegan import PRESETS
from dorian_training.networks.age_estimator import DlibAgeEstimator, DlibAgeEstimatorShape
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.shape import NetworkShape
from tests.small_styles import LEAN
from tests.training.test_ae_stylegan_stage import PAPER

Refused = Callable[..., bool]
WriteArchives = Callable[..., Path]
Train = Callable[..., Result]
FACENET = DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "lean", LEAN)
    monkeypatch.setitem(PRESETS, "paper", PAPER)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: WriteArchives) -> Path:
    """Twelve faces to train on and six to watch, young and old."""
    ages = (8, 20, 25, 30, 16, 28, 55, 60, 66, 70, 75, 81)
    rows = [{"age_low": age, "age_high": age, "split": "train"} for age in ages]
    rows += [{"age_low": age, "age_high": age, "split": "val"} for age in (12, 22, 27, 55, 68, 80)]
    return write_archives(tmp_path_factory.mktemp("faces"), rows)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of a small FaceNet and of an age estimator of dlib's layout."""
    torch.manual_seed(0)
    folder, shape = tmp_path_factory.mktemp("networks"), DlibAgeEstimatorShape()
    made: dict[str, tuple[nn.Module, NetworkShape]] = {
        "facenet": (DlibResNet(FACENET), FACENET),
        "age_estimator": (DlibAgeEstimator(shape), shape),
    }
    paths = {}
    for name, (network, of) in made.items():
        paths[name] = folder / f"{name}.safetensors"
        save_weights(paths[name], {f"{name}_ema": network.state_dict()}, {"shape": of.as_dict()})
    return paths


@pytest.fixture
def train(faces: Path, networks: dict[str, Path], tmp_path: Path) -> Train:
    def train(command: str, out: str, *options: object, reads: bool = True) -> Result:
        given = ["--data", faces, "--out", tmp_path / out, "--cache", tmp_path / "cache", "--device", "cpu"]
        given += ["--no-amp", "--batch-size", 4, "--facenet", networks["facenet"]]
        given += ["--age-estimator", networks["age_estimator"]] if reads else []
        return CliRunner().invoke(main, [command, *map(str, [*given, *options])])

    return train


def test_a_lean_run_resumes_and_its_filters_follow(train: Train, tmp_path: Path) -> None:
    settings = ("--set", "discriminator_alone=1", "--set", "guided=2")
    assert train("ae-stylegan", "run", "--steps", 1, *settings).exit_code == 0
    result = train("ae-stylegan", "run", "--steps", 3, *settings)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "run")
    assert set(weights) == {
        "encoder",
        "encoder_ema",
        "generator",
        "generator_ema",
        "discriminator",
        "pyramid",
        "age_means",
    }
    assert (about["family"], about["preset"], about["steps"]) == ("ae_stylegan", "lean", 3)
    assert about["data"] == {"utkface": 12}
    assert weights["age_means"]["features"].shape == (91, LEAN.style)
    assert cv2.imread(str(tmp_path / "run/samples/0000003.jpg")).shape == (6 * 96, 7 * 96, 3)
    result = train(
        "cycle-stylegan", "filters", "--stylegan", tmp_path / "run", "--steps", 2, "--set", "measure_every=1"
    )
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "filters")
    assert {f"{part}_{domain}_ema" for part in ("encoder", "generator") for domain in ("old", "young")} <= set(weights)
    assert about["family"] == "cycle_stylegan"
    assert [(stage["stage"], set(stage)) for stage in about["earlier"]] == [("ae_stylegan", {"stage", "steps", "data"})]
    assert about["domains"] == {"by": "ages", "young_from": 0, "young_until": 30, "old_from": 50}
    assert sorted(path.name for path in (tmp_path / "filters/samples").iterdir()) == ["0000001.jpg", "0000002.jpg"]


def test_the_papers_preset_needs_no_estimator(train: Train, tmp_path: Path) -> None:
    result = train("ae-stylegan", "run", "--preset", "paper", "--steps", 1, "--set", "guided=2", reads=False)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "run")
    assert {"mapping", "mapping_ema"} <= set(weights)
    assert "pyramid" not in weights
    assert about["settings"]["r1_weight"] == 0.2048  # the report's


def test_the_lean_preset_without_an_estimator_is_refused(
    train: Train, networks: dict[str, Path], refused: Refused
) -> None:
    assert refused(train("ae-stylegan", "run", "--steps", 1, reads=False), "the lean preset needs --age-estimator")
    other = ("--age-estimator", networks["facenet"])
    assert refused(train("ae-stylegan", "run", "--steps", 1, *other), "the checkpoint has no 'age_estimator_ema'")
    assert refused(train("search", "run"), "the search needs --from")


def test_a_search_compares_values_from_one_checkpoint_and_goes_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_command, "VALUES", {"encoder_steps": (1, 2), "r1_weight": (0.1,)})
    settings = ("--set", "guided=2")
    assert train("ae-stylegan", "run", "--steps", 1, *settings).exit_code == 0
    options = ("--from", tmp_path / "run", "--images", 8, "--measure-every", 4, *settings)
    result = train("search", "found", *options, "--setting", "encoder_steps")
    assert result.exit_code == 0, result.output
    path = tmp_path / "found/search.json"
    results = json.loads(path.read_text())
    assert list(results) == ["encoder_steps"]
    assert list(results["encoder_steps"]) == ["1", "2"]
    for points in results["encoder_steps"].values():
        assert [point[0] for point in points] == [0, 4, 8]
        assert points[0] == results["encoder_steps"]["1"][0]  # all begin alike
    assert cv2.imread(str(tmp_path / "found/encoder_steps.png")) is not None
    results["encoder_steps"]["1"][0][1] = 7.0  # marks what is there already
    path.write_text(json.dumps(results))
    assert train("search", "found", *options).exit_code == 0
    again = json.loads(path.read_text())
    assert again["encoder_steps"]["1"][0][1] == 7.0
    assert list(again) == ["encoder_steps", "r1_weight"]


def test_a_dry_run_shows_the_settings_of_the_preset(train: Train) -> None:
    for preset, rate in (("lean", 4e-4), ("paper", 2e-3)):
        result = train("ae-stylegan", "run", "--preset", preset, "--dry-run")
        assert result.exit_code == 0, result.output
        assert yaml.safe_load(result.output)["settings"]["learning_rate"] == rate
