"""``dorian-train cyclegan``: runs on a few painted faces of two domains, and what is said when they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import cv2
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli.train import main
from dorian_training.data.records import split_of
from dorian_training.errors import ConfigError
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.cyclegan import PRESETS, CycleGanShape
from tests.training.dataset_layouts import CELEBA_ALIGNED, paint

Train = Callable[..., Result]
Refused = Callable[..., bool]
WriteArchives = Callable[..., Path]
TINY = CycleGanShape(size=16, width=4, depth=1, outer=3, patches=(4, 8))
LARGER = CycleGanShape(size=16, width=8, depth=1, outer=3, patches=(4, 8))
REAL_PRESETS = dict(PRESETS)
NETWORKS = {"to_old", "to_young", "discriminator_old", "discriminator_young"}


@pytest.fixture(autouse=True)
def _tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "lean", TINY)
    monkeypatch.setitem(PRESETS, "resnet9", LARGER)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: WriteArchives) -> Path:
    """Five young and three old faces of two sets to train on, others that are neither, and two of each to watch."""
    sets = ["utkface.zip", "fairface.zip"]
    trained = [(8, 8), (20, 29), (25, 25), (30, 30), (3, 9), (50, 59), (66, 66), (70, 80), (30, 39), (40, 45)]
    watched = [(12, 12), (22, 22), (55, 55), (90, 90)]
    rows = [
        {"archive": sets[index % 2], "age_low": low, "age_high": high, "split": split}
        for split, ages in (("train", trained), ("val", watched))
        for index, (low, high) in enumerate(ages)
    ]
    rows += [{"age_low": "", "age_high": ""}, {"split": "test", "age_low": 60, "age_high": 60}]
    return write_archives(tmp_path_factory.mktemp("faces"), rows)


@pytest.fixture
def train(faces: Path, tmp_path: Path) -> Train:
    """Runs the command into the run folder called ``out``, on ``faces`` unless ``data`` says otherwise."""

    def train(out: str, *options: object, data: object = faces) -> Result:
        given = ["--data", data] if data else []
        needed = ["--out", tmp_path / out, "--cache", tmp_path / "cache", "--batch-size", 2, "--device", "cpu"]
        return CliRunner().invoke(main, ["cyclegan", *map(str, [*given, *needed, *options])])

    return train


def test_a_run_and_its_records(train: Train, tmp_path: Path) -> None:
    result = train("run", "--steps", 2, "--seed", 5, "--set", "cycle_weight=7", "--set", "pool=3")
    assert result.exit_code == 0, result.output
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["family"], config["stage"], config["seed"], config["batch_size"]) == ("cyclegan", "cyclegan", 5, 2)
    assert CycleGanShape.from_dict(config["shape"]) == TINY
    assert config["domains"] == {"by": "ages", "young_from": 0, "young_until": 30, "old_from": 50}
    assert sum(config["data"].values()) == 6  # as many young as there are old
    settings = config["settings"]
    assert (settings["cycle_weight"], settings["pool"], settings["learning_rate"]) == (7.0, 3, 2e-4)
    weights, about = load_weights(tmp_path / "run")
    assert weights.keys() == NETWORKS | {"to_old_ema", "to_young_ema"}
    assert about == {key: value for key, value in config.items() if key not in ("loop", "amp", "device")} | {"steps": 2}
    sheet = cv2.imread(str(tmp_path / "run" / "samples" / "0000002.jpg"))
    assert sheet is not None
    assert sheet.shape == (2 * 16, 6 * 16, 3)  # two pairs, there and back


@pytest.mark.parametrize(
    ("options", "count", "domains"),
    [
        (("--faces", 1), 2, {"by": "ages", "young_from": 0, "young_until": 30, "old_from": 50}),
        (
            ("--faces", 0, "--young-until", 8, "--old-from", 46),
            2,
            {"by": "ages", "young_from": 0, "young_until": 8, "old_from": 46},
        ),
        (("--young-from", 9), 4, {"by": "ages", "young_from": 9, "young_until": 30, "old_from": 50}),
    ],
)
def test_domains_are_chosen_by_options(
    train: Train,
    tmp_path: Path,
    write_archives: WriteArchives,
    options: tuple[object, ...],
    count: int,
    domains: dict[str, object],
) -> None:
    """No more than so many of each, or those whose label lies in other bounds, of which there is one young face."""
    ages = [(8, 8), (9, 9), (20, 29), (46, 46), (70, 80), (55, 55)]
    rows = [{"age_low": a, "age_high": b, "split": s} for s in ("train", "val") for a, b in ages]
    data = write_archives(tmp_path / "chosen", rows)
    assert train("run", "--steps", 1, *options, data=data).exit_code == 0
    about = load_weights(tmp_path / "run")[1]
    assert (sum(about["data"].values()), about["domains"]) == (count, domains)


def test_the_same_folder_again_goes_on_as_it_began(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert train("run", "--steps", 1).exit_code == 0
    monkeypatch.setitem(PRESETS, "lean", LARGER)  # another release has a larger network
    assert train("run", "--steps", 3).exit_code == 0
    assert f"resumed {tmp_path / 'run'} at step 1" in caplog.text
    about = load_weights(tmp_path / "run")[1]
    assert (about["steps"], about["earlier"]) == (3, [])
    assert CycleGanShape.from_dict(about["shape"]) == TINY
    assert refused(train("run", "--steps", 2), "has done 3 steps already", "2 asked for")


def test_an_interrupted_run_ends_as_one_that_was_not(train: Train, tmp_path: Path) -> None:
    """Also the pools of older images are there again. The rate is held, for it follows the share of the steps done."""
    common = ("--set", "pool=2", "--set", "decay_from=0.999", "--no-amp")
    assert train("whole", "--steps", 5, *common).exit_code == 0
    assert train("parts", "--steps", 3, *common).exit_code == 0
    assert train("parts", "--steps", 5, *common).exit_code == 0
    (whole, _), (parts, _) = (load_weights(tmp_path / name) for name in ("whole", "parts"))
    for network, state in whole.items():
        assert all(torch.equal(parts[network][name], tensor) for name, tensor in state.items())


def test_a_run_starts_from_another(train: Train, tmp_path: Path) -> None:
    """With its layout, whatever the preset, and its weights."""
    assert train("first", "--steps", 2, "--preset", "resnet9").exit_code == 0
    still = ("--set", "learning_rate=0", "--set", "ema_decay=1", "--steps", 1, "--seed", 3)
    assert train("second", "--from", tmp_path / "first", *still).exit_code == 0
    (before, first), (weights, about) = load_weights(tmp_path / "first"), load_weights(tmp_path / "second")
    assert CycleGanShape.from_dict(about["shape"]) == LARGER
    assert about["earlier"] == [{"stage": "cyclegan", "steps": 2, "data": first["data"]}]
    assert all(torch.equal(weights[net][key], tensor) for net in NETWORKS for key, tensor in before[net].items())


def test_discriminators_begin_as_an_age_estimator(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setitem(PRESETS, "lean", replace(TINY, size=64, patches=()))
    torch.manual_seed(0)
    estimator = CompactAgeEstimator(CompactAgeEstimatorShape())
    weights = {"age_estimator_ema": estimator.state_dict()}
    save_weights(tmp_path / "age.safetensors", weights, {"shape": CompactAgeEstimatorShape().as_dict()})
    still = ("--set", "learning_rate=0", "--steps", 1)
    assert train("run", "--age-estimator", tmp_path / "age.safetensors", *still).exit_code == 0
    first = estimator.features[0].weight
    for domain in ("old", "young"):
        actual = load_weights(tmp_path / "run")[0][f"discriminator_{domain}"]["coarse.0.weight"]
        assert torch.allclose(actual, first, rtol=1e-3, atol=1e-5)  # batch normalisation has nothing to fold yet
    message = "the checkpoint has no 'age_estimator_ema'"
    assert refused(train("other", "--age-estimator", tmp_path / "run", "--steps", 1), message)


def test_a_run_of_all_faces_of_both_domains(train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert train("run", "--steps", 1, "--unbalanced").exit_code == 0
    about = load_weights(tmp_path / "run")[1]
    assert (sum(about["data"].values()), about["balanced"]) == (8, False)
    assert "5 young and 3 old faces; an epoch is 3 steps" in caplog.text  # of batches of two


def test_a_run_at_another_size(train: Train, tmp_path: Path, refused: Refused) -> None:
    """The weights of a smaller size go on at a larger one, and the same command resumes them."""
    assert train("first", "--steps", 1).exit_code == 0
    for steps in (1, 2):
        assert train("second", "--from", tmp_path / "first", "--size", 32, "--steps", steps).exit_code == 0
    about = load_weights(tmp_path / "second")[1]
    assert CycleGanShape.from_dict(about["shape"]) == replace(TINY, size=32)
    sheet = cv2.imread(str(tmp_path / "second" / "samples" / "0000002.jpg"))
    assert sheet is not None
    assert sheet.shape == (2 * 32, 6 * 32, 3)
    assert refused(train("other", "--size", 30, "--steps", 1), "30 px", "multiple of 4")
    assert train("other", "--size", 260, "--steps", 1).exit_code == 2


@pytest.mark.parametrize(("preset", "size"), [("lean", 256), ("unet", 256), ("resnet9", 128)])
def test_sizes_that_the_published_layouts_take(preset: str, size: int) -> None:
    assert REAL_PRESETS[preset].at_size(size).size == size


@pytest.mark.parametrize(("preset", "size"), [("lean", 48), ("lean", 72), ("unet", 128), ("resnet9", 130)])
def test_sizes_that_they_do_not_take(preset: str, size: int) -> None:
    with pytest.raises(ConfigError, match=f"{size} px"):
        REAL_PRESETS[preset].at_size(size)


def test_what_a_run_cannot_start_from(train: Train, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "text").write_text("text")
    assert refused(train("run", "--from", tmp_path / "text"), "not a checkpoint that can be read")
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_start_from_networks_of_another_family(train: Train, tmp_path: Path, refused: Refused) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(other, {"facenet": {"weight": torch.zeros(1)}}, {"shape": {"stem": 4}})
    assert refused(train("run", "--from", other, "--steps", 1), "the checkpoint has no 'to_old'; it has facenet")


def test_a_run_without_faces_to_watch_draws_no_samples(
    train: Train, tmp_path: Path, write_archives: WriteArchives
) -> None:
    rows = [{"age_low": age, "age_high": age, "split": "train"} for age in (20, 25, 60, 70)]
    result = train("run", "--steps", 1, data=write_archives(tmp_path / "unwatched", rows))
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "run" / "samples").exists()


def test_a_folder_of_another_stage(train: Train, tmp_path: Path, faces: Path, refused: Refused) -> None:
    assert train("run", "--steps", 1).exit_code == 0
    message = ["age-estimator", "--data", faces, "--out", tmp_path / "run", "--device", "cpu"]
    result = CliRunner().invoke(main, list(map(str, message)))
    assert refused(result, "holds a run of the cyclegan stage; give the age_estimator stage another folder")


# --- other ways to tell young from old ---


@pytest.fixture
def folders(tmp_path: Path, write_archives: WriteArchives) -> tuple[Path, Path]:
    """Pictures of the young, some in a sub-folder, and fewer of the old; both with some that fall to validation."""
    archive = write_archives(tmp_path / "archive", [{}] * 2) / "utkface.zip"
    with ZipFile(archive) as pictures:
        picture = pictures.read("0.png")
    names = [f"{index}.png" for index in range(200)]
    chosen = {split: [name for name in names if split_of(name) == split] for split in ("train", "val")}
    nested = next(name for name in (f"more/{index}.png" for index in range(99)) if split_of(name) == "train")
    for domain, files in (
        ("young", [*chosen["train"][:4], nested, *chosen["val"][:2]]),
        ("old", [*chosen["train"][:3], *chosen["val"][:1]]),
    ):
        for name in files:
            (tmp_path / domain / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / domain / name).write_bytes(picture)
    return tmp_path / "young", tmp_path / "old"


def test_folders_of_pictures(train: Train, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    young, old = folders
    result = train("run", "--young", young, "--old", old, "--steps", 1, data=None)
    assert result.exit_code == 0, result.output
    about = load_weights(tmp_path / "run")[1]
    assert about["data"] == {"own pictures": 6}
    assert about["domains"] == {"by": "folder"}


def test_celebas_attribute(train: Train, tmp_path: Path) -> None:
    folder = tmp_path / "CelebA"
    rows = [("train", 1), ("train", 1), ("train", -1), ("val", 1), ("val", -1)]
    for index, _ in enumerate(rows):
        paint(folder / "img_align_celeba" / f"{index}.jpg", 178, 218, CELEBA_ALIGNED)
    tables = {
        "identity_CelebA.txt": [f"{index}.jpg {index}" for index in range(5)],
        "list_attr_celeba.txt": [
            "5",
            "Male Young",
            *(f"{index}.jpg 1 {young}" for index, (_, young) in enumerate(rows)),
        ],
        "list_eval_partition.txt": [f"{index}.jpg {int(split == 'val')}" for index, (split, _) in enumerate(rows)],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    assert train("run", "--domains", "attribute", "--steps", 1, data=f"celeba:{folder}").exit_code == 0
    about = load_weights(tmp_path / "run")[1]
    assert about["data"] == {"celeba": 2}
    assert about["domains"] == {"by": "attribute"}


def test_domains_that_cannot_be(train: Train, tmp_path: Path, folders: tuple[Path, Path], refused: Refused) -> None:
    young, old = folders
    both = "give both --young and --old, or else --data"
    assert refused(train("run", "--young", young, data=None), both)
    assert refused(train("run", "--old", old, data=None), both)
    assert refused(train("run", "--young", young, "--old", old), both)
    assert refused(train("run", data=None), "no faces are given; give --data, or both --young and --old")
    message = "the young end at 60 years, the old begin at 50; they must lie apart"
    assert refused(train("run", "--young-until", 60), message)
    assert refused(train("run", "--young-from", 31), "the young begin at 31 years and end at 30")
    assert refused(train("run", "--old-from", 110), "the domain of the old has no faces")
    assert refused(train("run", "--domains", "attribute"), "the domain of the young has no faces")
    assert refused(train("run", data=tmp_path / "absent"), "absent is not a folder")
    (tmp_path / "empty").mkdir()
    assert refused(train("run", "--young", tmp_path / "empty", "--old", old, data=None), "the young has no faces")
    result = train("run", "--young", tmp_path / "absent", "--old", old, data=None)
    assert result.exit_code == 2
    assert "Invalid value for '--young'" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [("speed=3", "with a name among learning_rate, beta1"), ("pool", "expected NAME=VALUE"), ("pool=many", "'many'")],
)
def test_settings_that_cannot_be_changed_so(train: Train, change: str, problem: str, refused: Refused) -> None:
    assert refused(train("run", "--steps", 1, "--set", change), f"--set {change}", problem)


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["cyclegan", "--help"])
    assert result.exit_code == 0
    options = [
        "data",
        "domains",
        "young-from",
        "young-until",
        "old-from",
        "young",
        "old",
        "faces",
        "preset",
        "age-estimator",
    ]
    options += ["out", "from", "steps", "minutes", "batch-size", "seed", "device", "threads", "amp", "cache", "set"]
    assert [option for option in options if f"--{option}" not in result.output] == []
    assert "dorian-train cyclegan --data faces/" in result.output
    assert "cyclegan" in CliRunner().invoke(main, ["-h"]).output
