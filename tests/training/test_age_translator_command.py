"""``dorian-train age-translator``: runs on a few painted faces, and what is said when they cannot be."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from torch import Tensor, nn

from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli import age_translator as command
from dorian_training.cli.train import main
from dorian_training.methods.age_translator import AgeTranslatorSettings
from dorian_training.networks.age_discriminator import AgeDiscriminatorShape
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.age_translator import AgeTranslatorShape, TranslatorShape
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

Train = Callable[..., Result]
Refused = Callable[..., bool]
WriteArchives = Callable[..., Path]
FACENET = DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))
ESTIMATOR = CompactAgeEstimatorShape((4, 8), (2, 2), 0.1)
SMALL = TranslatorShape(size=64, widths=(4, 8, 8), middle=1, fine=4, style=8, waves=2)
SMALL_DISCRIMINATOR = AgeDiscriminatorShape(ESTIMATOR.widths, ESTIMATOR.strides)
AGES = (10, 25, 40, 55, 70)
NETWORKS = {"translator", "translator_ema", "discriminator"}


@dataclass(frozen=True)
class SmallAgeTranslator(AgeTranslatorShape):
    translator: TranslatorShape = SMALL
    discriminator: AgeDiscriminatorShape = SMALL_DISCRIMINATOR


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "AgeTranslatorShape", SmallAgeTranslator)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: WriteArchives) -> Path:
    """Six faces to learn from, one of whose age nobody knows, and three to watch, of which two are adults."""
    learnt = [{"age_low": 12 * i, "age_high": 12 * i + 9 * (i % 2)} for i in range(5)] + [
        {"age_low": "", "age_high": ""}
    ]
    watched = [{"split": "val", "age_low": age, "age_high": age} for age in (40, 8, 63)]
    return write_archives(tmp_path_factory.mktemp("faces"), [*learnt, *watched, {"split": "test"}])


def checkpoint(
    folder: Path,
    name: str,
    network: nn.Module,
    shape: DlibResNetShape | InceptionResNetShape | CompactAgeEstimatorShape,
) -> Path:
    """A checkpoint of ``network`` as the averaged one of a run; what was not averaged is broken."""
    averaged = network.state_dict()
    raw = {key: value * math.nan if value.is_floating_point() else value.clone() for key, value in averaged.items()}
    save_weights(folder / f"{name}.safetensors", {name: raw, f"{name}_ema": averaged}, {"shape": shape.as_dict()})
    return folder / f"{name}.safetensors"


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return checkpoint(tmp_path_factory.mktemp("facenet"), "facenet", DlibResNet(FACENET), FACENET)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return checkpoint(tmp_path_factory.mktemp("estimator"), "age_estimator", CompactAgeEstimator(ESTIMATOR), ESTIMATOR)


@pytest.fixture
def train(faces: Path, facenet: Path, tmp_path: Path) -> Train:
    """Trains on ``faces`` into the run folder called ``out``."""

    def train(out: str, *options: object, data: object = faces, facenet: object = facenet) -> Result:
        needed = ["--data", data, "--facenet", facenet, "--out", tmp_path / out, "--cache", tmp_path / "cache"]
        needed += ["--batch-size", 4, "--device", "cpu", "--no-amp", "--set", "resolution=64"]
        return CliRunner().invoke(main, ["age-translator", *map(str, [*needed, *options])])

    return train


def test_a_run_and_its_records(train: Train, estimator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    witnesses = ["--age-estimator", estimator, "--age-judge", estimator]
    result = train("run", *witnesses, "--steps", 2, "--seed", 5, "--set", "learning_rate=0.001")
    assert result.exit_code == 0, result.output
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["family"], config["stage"], config["seed"], config["batch_size"]) == (*["age_translator"] * 2, 5, 4)
    assert AgeTranslatorShape.from_dict(config["shape"]).as_dict() == SmallAgeTranslator().as_dict()
    assert (config["settings"]["learning_rate"], config["settings"]["ema_decay"]) == (
        0.001,
        AgeTranslatorSettings().ema_decay,
    )
    assert config["loop"]["steps"] == 2
    assert config["data"] == {"utkface": 5}
    weights, about = load_weights(tmp_path / "run")
    assert weights.keys() == NETWORKS
    assert all(bool(tensor.isfinite().all()) for state in weights.values() for tensor in state.values())
    assert about == {key: value for key, value in config.items() if key not in ("loop", "amp", "device")} | {"steps": 2}
    figures = {line.split()[2]: float(line.split()[3]) for line in caplog.messages if line.startswith("step 2: ")}
    assert figures.keys() == {f"age_{age}/{name}" for age in AGES for name in ("read", "error", "similarity")} | {
        "score"
    }
    best = load_weights(tmp_path / "run" / "best.safetensors")[1]
    assert (best["steps"], best["score"]) == (2, pytest.approx(figures["score"], abs=1e-4))
    assert all(map(math.isfinite, figures.values()))
    sheet = cv2.imread(str(tmp_path / "run" / "samples" / "0000002.jpg"))
    assert sheet.shape == (2 * 64, 6 * 64, 3)  # the two adults that are watched, as they are and at five ages


def test_without_a_judge_there_are_pictures_alone(
    train: Train, estimator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert train("run", "--steps", 1, "--age-estimator", estimator).exit_code == 0
    assert not [line for line in caplog.messages if line.startswith("step 1: ")]
    assert (tmp_path / "run" / "samples" / "0000001.jpg").is_file()


def test_the_same_folder_again_goes_on_as_it_began(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    assert train("run", "--steps", 1).exit_code == 0
    monkeypatch.setattr(command, "AgeTranslatorShape", AgeTranslatorShape)  # another release has larger networks
    assert train("run", "--steps", 3).exit_code == 0
    assert f"resumed {tmp_path / 'run'} at step 1" in caplog.text
    weights, about = load_weights(tmp_path / "run")
    assert (about["steps"], about["earlier"]) == (3, [])
    assert about["shape"]["translator"]["size"] == 64
    assert refused(train("run", "--steps", 2), "has done 3 steps already", "2 asked for")
    monkeypatch.setattr(command, "AgeTranslatorShape", SmallAgeTranslator)
    whole = train("whole", "--steps", 3)
    assert whole.exit_code == 0
    assert all(
        torch.equal(tensor, weights[name][key])
        for name, state in load_weights(tmp_path / "whole")[0].items()
        for key, tensor in state.items()
    )


def test_a_run_starts_from_another(train: Train, estimator: Path, tmp_path: Path) -> None:
    assert train("first", "--steps", 2).exit_code == 0
    before = load_weights(tmp_path / "first")[0]
    still = ("--set", "learning_rate=0", "--set", "discriminator_rate=0", "--set", "ema_decay=1", "--steps", 1)
    result = train("second", "--from", tmp_path / "first", "--seed", 3, "--age-estimator", estimator, *still)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "second")
    assert about["earlier"] == [{"stage": "age_translator", "steps": 2, "data": about["data"]}]
    assert weights.keys() == before.keys()
    for name, state in before.items():
        for key, tensor in state.items():  # an average of many steps takes in a little of every other
            torch.testing.assert_close(weights[name][key], tensor, rtol=0, atol=1e-5 if name == "translator_ema" else 0)


def test_folds_follow_the_lines_of_a_table_until_another_is_given(
    train: Train, tmp_path: Path, refused: Refused
) -> None:
    def table(name: str, **arrays: Tensor) -> Path:
        save_weights(tmp_path / name, {"skin_detail": {"ages": torch.zeros(2), **arrays}}, {})
        return tmp_path / name

    rows, columns = (
        table(
            name,
            line_direction=torch.tensor(double)[:, None, None].repeat(1, 4, 4),
            line_energy=torch.full((2, 4, 4), 100.0),
        )
        for name, double in (("rows", [-1.0, 0.0]), ("columns", [1.0, 0.0]))
    )
    drawn = list[list[float]]()
    for out, options in (
        ("none", ()),
        ("first", ("--skin-detail", rows)),
        ("next", ("--from", tmp_path / "first")),
        ("last", ("--from", tmp_path / "first", "--skin-detail", columns)),
    ):
        assert train(out, "--steps", 1, *options).exit_code == 0
        strokes = [load_weights(tmp_path / out)[0][name]["strokes"] for name in ("translator", "translator_ema")]
        torch.testing.assert_close(*strokes, rtol=0, atol=1e-6)
        drawn.append(strokes[0].amax(dim=(0, 2, 3)).round().tolist())  # by direction
    by_rows, by_columns = [1.0, *7 * [0.0], 1.0], [*4 * [0.0], 1.0, *3 * [0.0], 1.0]  # features keep their own
    assert drawn == [[*8 * [0.0], 1.0], by_rows, by_rows, by_columns]
    assert refused(train("run", "--skin-detail", table("lineless")), "lineless knows no lines; fit it again")


def test_what_a_run_cannot_start_from(train: Train, facenet: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "text").write_text("text")
    assert refused(train("run", "--from", tmp_path / "text"), "not a checkpoint that can be read")
    assert refused(train("run", "--from", facenet), "the checkpoint has no 'translator'; it has facenet, facenet_ema")
    assert not (tmp_path / "run").exists()


def test_rare_ages_are_met_almost_as_often(
    train: Train, tmp_path: Path, write_archives: WriteArchives, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, object]] = [{"age_low": 20 + i % 4, "age_high": 20 + i % 4} for i in range(20)]
    data = write_archives(tmp_path / "uneven", [*rows, {"age_low": 70, "age_high": 79}])
    given = list[Any]()
    monkeypatch.setattr(command, "run_stage", lambda stage, batches, *_: given.append(batches))
    assert train("run", data=data).exit_code == 0
    labels = torch.cat([given[0].next().label for _ in range(200)])
    assert set(map(tuple, labels.tolist())) == {(20, 20), (21, 21), (22, 22), (23, 23), (70, 79)}
    share = 1 / (1 + 20**0.1)  # 0.43 of the faces, not 0.05; of its eight years the other has twenty
    assert float((labels[:, 0] == 70).float().mean()) == pytest.approx(share, abs=0.06)


def test_one_set_alone_is_used(train: Train, tmp_path: Path, write_archives: WriteArchives, refused: Refused) -> None:
    rows: list[dict[str, object]] = [{"age_low": 20, "age_high": 20}] * 3
    rows += [{"archive": "fairface.zip", "age_low": 30, "age_high": 39}] * 2
    data = write_archives(tmp_path / "both", rows)
    assert train("run", "--steps", 1, "--only", "fairface", data=data).exit_code == 0
    assert load_weights(tmp_path / "run")[1]["data"] == {"fairface": 2}
    assert refused(train("none", "--only", "celeba", data=data), "no face of the training split has the label")


def test_views_are_near_to_the_photograph(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Any]()
    monkeypatch.setattr(command, "run_stage", lambda stage, batches, *_: given.append(batches))
    assert train("run").exit_code == 0
    image: Tensor = given[0].next().image
    assert image.shape == (4, 3, 64, 64)
    assert len(image.flatten(1).unique(dim=0)) == 4
    assert not (image.diff(dim=3) == 0).all(dim=1).flatten(1).float().mean() > 0.1  # nothing is erased


def test_a_published_facenet_takes_the_compact_ones_place(
    train: Train, estimator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    shape, sides = InceptionResNetShape(repeats=(1, 1, 1)), list[int]()
    facenet = checkpoint(tmp_path, "facenet", InceptionResNetV1(shape), shape)
    look = InceptionResNetV1.forward

    def note(network: InceptionResNetV1, image: Tensor) -> Tensor:
        sides.append(image.shape[2])
        return look(network, image)

    monkeypatch.setattr(InceptionResNetV1, "forward", note)
    result = train("run", "--steps", 1, "--age-judge", estimator, facenet=facenet)
    assert result.exit_code == 0, result.output
    assert set(sides) == {160}
    actual = [float(line.split()[3]) for line in caplog.messages if "/similarity" in line]
    assert len(actual) == len(AGES)
    assert all(-1 <= similarity <= 1.0001 for similarity in actual)


def test_a_facenet_is_needed(faces: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["age-translator", "--data", str(faces), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "Missing option '--facenet'" in result.output


@pytest.mark.parametrize("option", ["--facenet", "--age-estimator", "--age-judge", "--skin-detail"])
def test_witnesses_that_are_other_networks(
    train: Train, facenet: Path, estimator: Path, refused: Refused, option: str
) -> None:
    needed = {"--facenet": "facenet_ema", "--skin-detail": "skin_detail"}.get(option, "age_estimator_ema")
    given = estimator if option == "--facenet" else facenet
    assert refused(train("run", option, given), f"the checkpoint has no {needed!r}")


def test_faces_without_what_is_to_be_learnt(
    train: Train, tmp_path: Path, write_archives: WriteArchives, refused: Refused
) -> None:
    ageless = write_archives(tmp_path / "ageless", [{"age_low": "", "age_high": ""}, {"split": "val"}])
    assert refused(train("run", data=ageless), "no face of the training split has the label")
    assert refused(train("run", data=tmp_path / "absent"), "absent is not a folder")
    assert refused(train("run", "--set", "speed=3"), "--set speed=3", "with a name among learning_rate")


@pytest.mark.parametrize("watched", [[], [{"split": "val", "age_low": 8, "age_high": 8}]], ids=["nobody", "a child"])
def test_runs_without_adults_to_watch(
    train: Train, tmp_path: Path, estimator: Path, write_archives: WriteArchives, watched: list[dict[str, object]]
) -> None:
    data = write_archives(tmp_path / "unwatched", [{}, {"age_low": 50, "age_high": 50}, *watched])
    result = train("run", "--steps", 1, "--age-judge", estimator, data=data)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "run" / "samples").exists()


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["age-translator", "--help"])
    assert result.exit_code == 0
    options = ["data", "facenet", "age-estimator", "age-judge", "out", "from", "steps", "minutes", "batch-size"]
    options += ["seed", "device", "threads", "amp", "cache", "set"]
    assert [option for option in options if f"--{option}" not in result.output] == []
    assert "dorian-train age-translator --data faces/ --only fairface" in result.output
    assert "age-translator" in CliRunner().invoke(main, ["-h"]).output
