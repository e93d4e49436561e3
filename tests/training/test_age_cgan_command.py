"""``dorian-train``: runs of all stages on a few painted faces, and what it says when they cannot be done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from torch import Tensor
from torch.nn import functional as F

from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli import age_cgan as command
from dorian_training.cli.train import main
from dorian_training.methods.age_cgan import PAPER_ADVERSARIAL
from dorian_training.networks.age_cgan import PRESETS, AgeCganShape, DiscriminatorShape, build_discriminator
from dorian_training.networks.age_estimator import CompactAgeEstimator, CompactAgeEstimatorShape, load_age_estimator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.eigenfaces import EigenEncoder, Eigenfaces, EigenGenerator, fit_eigenfaces

Train = Callable[..., Result]
Refused = Callable[..., bool]
AGES = [9, 24, 34, 44, 54, 70] * 2


@pytest.fixture(autouse=True)
def _tiny_presets(monkeypatch: pytest.MonkeyPatch, tiny_shape: AgeCganShape) -> None:
    monkeypatch.setitem(PRESETS, "lean", tiny_shape)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    """Two faces of each group to train on, from two sets, and four to leave alone."""
    sets = ["utkface.zip", "fairface.zip"]
    rows: list[dict[str, object]] = [
        {"age_low": age, "age_high": age, "archive": sets[index % 2]} for index, age in enumerate(AGES)
    ]
    rows += [{"split": "val"}, {"split": "test"}, {"age_low": "", "age_high": ""}, {"split": "val", "age_low": ""}]
    return write_archives(tmp_path_factory.mktemp("faces"), rows)


@pytest.fixture
def train(faces: Path, tmp_path: Path) -> Train:
    """Runs the command on ``faces`` into the run folder called ``out``."""

    def train(out: str, *options: object, data: object = faces) -> Result:
        needed = ["--data", data, "--out", tmp_path / out, "--cache", tmp_path / "cache", "--batch-size", 4]
        return CliRunner().invoke(main, ["age-cgan", *map(str, [*needed, "--device", "cpu", *options])])

    return train


def test_both_stages_and_their_records(train: Train, tmp_path: Path, tiny_shape: AgeCganShape) -> None:
    changes = ("--set", "r1_every=2", "--set", "brightness=0.05")
    assert train("gan", "--steps", 2, "--seed", 5, *changes).exit_code == 0
    config = yaml.safe_load((tmp_path / "gan" / "config.yaml").read_text())
    assert AgeCganShape.from_dict(config["shape"]) == tiny_shape
    assert config["settings"]["learning_rate"] == 2e-4  # also what nobody changed is written down
    assert (config["settings"]["r1_every"], config["settings"]["brightness"]) == (2, 0.05)
    assert (config["stage"], config["preset"], config["seed"], config["amp"]) == ("adversarial", "lean", 5, True)
    assert (config["batch_size"], config["device"], config["loop"]["steps"]) == (4, "cpu", 2)
    assert config["data"] == {"fairface": 6, "utkface": 6}
    assert config["group_counts"] == [2] * 6
    weights, about = load_weights(tmp_path / "gan")
    assert weights.keys() == {"generator", "generator_ema", "discriminator"}
    assert about == {key: value for key, value in config.items() if key not in ("loop", "amp", "device")} | {"steps": 2}

    assert train("encoder", "--stage", "latent", "--from", tmp_path / "gan", "--steps", 1, "--no-amp").exit_code == 0
    weights, about = load_weights(tmp_path / "encoder")
    assert weights.keys() == {"generator", "generator_ema", "discriminator", "encoder", "encoder_ema"}
    assert (about["stage"], about["steps"]) == ("latent", 1)
    assert about["earlier"] == [{"stage": "adversarial", "steps": 2, "data": about["data"]}]
    for folder in ("gan", "encoder"):
        assert len(list((tmp_path / folder / "samples").iterdir())) == 1
        assert list((tmp_path / folder).glob("events.out.tfevents*")) != []


def test_the_same_folder_again_goes_on(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture, refused: Refused
) -> None:
    caplog.set_level(logging.INFO)
    assert train("gan", "--steps", 1).exit_code == 0
    assert train("gan", "--steps", 3).exit_code == 0
    assert f"resumed {tmp_path / 'gan'} at step 1" in caplog.text
    assert load_weights(tmp_path / "gan")[1]["steps"] == 3
    assert refused(train("gan", "--steps", 2), "has done 3 steps already", "2 asked for")
    latent = train("gan", "--stage", "latent", "--from", tmp_path / "gan", "--steps", 4)
    assert refused(latent, "holds a run of the adversarial stage")


def test_a_run_that_goes_on_keeps_its_shape_and_history(train: Train, tmp_path: Path) -> None:
    train("gan", "--steps", 2)
    latent = ("--stage", "latent")
    assert train("encoder", *latent, "--from", tmp_path / "gan", "--steps", 1).exit_code == 0
    raw = load_weights(tmp_path / "gan")[0]["generator"]
    assert train("encoder", *latent, "--preset", "paper", "--steps", 2).exit_code == 0
    weights, about = load_weights(tmp_path / "encoder")
    assert (about["preset"], about["steps"]) == ("lean", 2)
    assert about["earlier"] == [{"stage": "adversarial", "steps": 2, "data": about["data"]}]
    assert all(torch.equal(weights["generator"][name], tensor) for name, tensor in raw.items())
    other = train("encoder", *latent, "--from", tmp_path / "encoder", "--steps", 3)  # the folder comes first
    assert other.exit_code == 0
    assert load_weights(tmp_path / "encoder")[1]["earlier"] == about["earlier"]


def test_the_paper_preset_has_its_own_settings(
    train: Train, tmp_path: Path, tiny_shape: AgeCganShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "paper", tiny_shape)
    assert train("paper", "--preset", "paper", "--steps", 1).exit_code == 0
    assert train("more", "--from", tmp_path / "paper", "--steps", 1).exit_code == 0  # as the run that it starts from
    for folder in ("paper", "more"):
        config = yaml.safe_load((tmp_path / folder / "config.yaml").read_text())
        assert config["preset"] == "paper"
        assert config["settings"]["r1_weight"] == PAPER_ADVERSARIAL.r1_weight == 0.0
        assert config["settings"]["beta2"] == 0.999


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("speed=3", "with a name among learning_rate, beta1"),
        ("r1_every", "expected NAME=VALUE"),
        ("r1_every=often", "'often'"),
        ("r1_every=0.5", "'0.5'"),
        ("learning_rate=", "convert string to float"),
    ],
)
def test_settings_that_cannot_be_changed_so(train: Train, change: str, problem: str, refused: Refused) -> None:
    assert refused(train("run", "--steps", 1, "--set", change), f"--set {change}", problem)


def test_a_latent_stage_needs_a_generator(
    train: Train, tmp_path: Path, tiny_shape: AgeCganShape, refused: Refused
) -> None:
    assert refused(train("run", "--stage", "latent", "--steps", 1), "needs --from", "adversarial")
    assert not (tmp_path / "run").exists()
    save_weights(tmp_path / "weights", {"generator": {"weight": torch.zeros(1)}}, {"shape": tiny_shape.as_dict()})
    (tmp_path / "text").write_text("text")
    assert refused(train("run", "--stage", "latent", "--from", tmp_path / "weights"), "no 'generator_ema'")
    assert refused(train("run", "--stage", "latent", "--from", tmp_path / "text"), "not a checkpoint that can be read")


def test_data_that_is_not_there(
    train: Train, tmp_path: Path, write_archives: Callable[..., Path], refused: Refused
) -> None:
    assert refused(train("run", data=f"ffhq:{tmp_path}"), "unknown kind of data 'ffhq'", "utkface, fairface")
    assert refused(train("run", data=tmp_path / "absent"), "absent is not a folder")
    assert refused(train("run", data=tmp_path), "has no faces.csv")
    assert refused(train("run", data=f"utkface:{tmp_path}"), "no aligned crops of UTKFace")
    young = write_archives(tmp_path / "young", [{"age_low": 5, "age_high": 5}])
    assert refused(train("run", data=young), "no faces in age group 19-29")
    ancient = write_archives(tmp_path / "ancient", [{"age_low": 200, "age_high": 200}])
    assert refused(train("run", data=ancient), "age 200 is out of range")
    unlabelled = write_archives(tmp_path / "unlabelled", [{"split": "test"}])
    assert refused(train("run", data=unlabelled), "none of the faces")


# --- what a run begins with ---


@pytest.fixture
def ages(tiny_shape: AgeCganShape, monkeypatch: pytest.MonkeyPatch) -> AgeCganShape:
    """The lean preset with the discriminator that it really has; ``dcgan`` is tiny with another one."""
    shape = replace(tiny_shape, discriminator=DiscriminatorShape(condition="outputs", layout="ages"))
    monkeypatch.setitem(PRESETS, "lean", shape)
    monkeypatch.setitem(PRESETS, "dcgan", tiny_shape)
    return shape


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an age estimator; what counts is the average."""
    torch.manual_seed(3)
    network = CompactAgeEstimator(CompactAgeEstimatorShape())
    torch.nn.init.normal_(network.head[-1].weight, std=0.3)  # type: ignore[arg-type]
    averaged = network.state_dict()
    raw = {name: tensor * 0 for name, tensor in averaged.items()}
    path: Path = tmp_path_factory.mktemp("estimators") / "averaged"
    about = {"shape": CompactAgeEstimatorShape().as_dict()}
    save_weights(path, {"age_estimator": raw, "age_estimator_ema": averaged}, about)
    return path


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    shape = DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))
    path: Path = tmp_path_factory.mktemp("facenets") / "averaged"
    save_weights(path, {"facenet_ema": DlibResNet(shape).state_dict()}, {"shape": shape.as_dict()})
    return path


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


STILL = ("--steps", 1, "--set", "learning_rate=0", "--no-amp")  # so that a run ends with what it began with


@pytest.mark.parametrize("start", ["afresh", "from another run", "in the joint stage"])
def test_a_discriminator_that_begins_as_an_age_estimator(
    train: Train, tmp_path: Path, ages: AgeCganShape, estimator: Path, facenet: Path, start: str
) -> None:
    before: tuple[object, ...] = ()
    if start == "from another run":
        assert train("gan", *STILL, "--preset", "dcgan").exit_code == 0
        before = ("--from", tmp_path / "gan", "--new-discriminator")
    elif start != "afresh":
        before = ("--stage", "joint", "--facenet", facenet)
    result = train("ages", *STILL, *before, "--age-estimator", estimator)
    assert result.exit_code == 0, result.output
    discriminator = build_discriminator(ages)
    discriminator.load_state_dict(load_weights(tmp_path / "ages")[0]["discriminator"])
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        years, found = load_age_estimator(estimator)(image), discriminator(image, torch.eye(6)[:2])
    assert found[:, 1].tolist() == pytest.approx(years[:, 19:30].mean(dim=1).tolist(), abs=1e-3)
    assert found[:, 5].tolist() == pytest.approx(years[:, 60:91].mean(dim=1).tolist(), abs=1e-3)


def test_a_new_discriminator_in_place_of_the_trained_one(
    train: Train, tmp_path: Path, ages: AgeCganShape, tiny_shape: AgeCganShape
) -> None:
    """The generator goes on from where it was; a run that is resumed keeps what it has."""
    assert train("gan", "--preset", "dcgan", "--steps", 3).exit_code == 0
    assert train("new", *STILL, "--from", tmp_path / "gan", "--new-discriminator").exit_code == 0
    (before, _), (found, about) = (load_weights(tmp_path / name) for name in ("gan", "new"))
    assert (about["preset"], AgeCganShape.from_dict(about["shape"])) == ("lean", ages)
    assert about["earlier"] == [{"stage": "adversarial", "steps": 3, "data": about["data"]}]
    learned = {name: tensor for name, tensor in before["generator"].items() if "running" not in name}
    learned = {name: tensor for name, tensor in learned.items() if "tracked" not in name}
    assert same(learned, {name: found["generator"][name] for name in learned})
    assert found["discriminator"].keys() == build_discriminator(ages).state_dict().keys()

    resumed = train("new", "--steps", 2, "--preset", "dcgan", "--new-discriminator", "--from", tmp_path / "gan")
    assert resumed.exit_code == 0, resumed.output
    again, about = load_weights(tmp_path / "new")
    assert (about["preset"], about["steps"]) == ("lean", 2)
    assert again["discriminator"].keys() == found["discriminator"].keys()

    kept = train("kept", *STILL, "--from", tmp_path / "gan")  # without the option, the trained one
    assert kept.exit_code == 0
    weights, about = load_weights(tmp_path / "kept")
    assert (about["preset"], AgeCganShape.from_dict(about["shape"])) == ("dcgan", tiny_shape)
    assert same(weights["discriminator"], before["discriminator"])


def test_a_new_discriminator_of_the_layout_that_there_was(train: Train, tmp_path: Path) -> None:
    assert train("gan", "--steps", 3).exit_code == 0
    assert train("new", *STILL, "--from", tmp_path / "gan", "--new-discriminator", "--seed", 8).exit_code == 0
    before, found = (load_weights(tmp_path / name)[0]["discriminator"] for name in ("gan", "new"))
    assert before.keys() == found.keys()
    assert not same(before, found)


def test_a_facenet_holds_the_person_in_the_latent_stage(train: Train, tmp_path: Path, facenet: Path) -> None:
    assert train("gan", "--steps", 1).exit_code == 0
    latent = ("--stage", "latent", "--from", tmp_path / "gan", "--facenet", facenet, "--steps", 2, "--no-amp")
    encoders = {}
    for weight, pairs in ((0, 0), (5, 0), (0, 2), (5, 2)):
        out = f"weight {weight} pairs {pairs}"
        result = train(out, *latent, "--set", f"identity_weight={weight}", "--set", f"pairs_alone={pairs}")
        assert result.exit_code == 0, result.output
        weights, about = load_weights(tmp_path / out)
        assert weights.keys() == {"generator", "generator_ema", "discriminator", "encoder", "encoder_ema"}
        assert (about["settings"]["identity_weight"], about["settings"]["pairs_alone"]) == (weight, pairs)
        encoders[weight, pairs] = weights["encoder"]
    assert not same(encoders[0, 0], encoders[5, 0])
    assert same(encoders[0, 2], encoders[5, 2])  # as nothing but pairs counts
    assert not same(encoders[0, 2], encoders[0, 0])


def test_networks_that_do_not_suit(
    train: Train, tmp_path: Path, ages: AgeCganShape, estimator: Path, facenet: Path, refused: Refused
) -> None:
    assert refused(train("run", *STILL, "--age-estimator", facenet), "no 'age_estimator_ema'")
    small = CompactAgeEstimatorShape(widths=(4, 8), strides=(2, 2))
    state = CompactAgeEstimator(small).state_dict()
    save_weights(tmp_path / "small", {"age_estimator_ema": state}, {"shape": small.as_dict()})
    assert refused(train("run", *STILL, "--age-estimator", tmp_path / "small"), "another layout than the discriminator")
    assert train("gan", *STILL).exit_code == 0
    latent = train("run", "--stage", "latent", "--from", tmp_path / "gan", "--facenet", estimator)
    assert refused(latent, "no 'facenet_ema'")


# --- the joint stage ---


@dataclass(frozen=True)
class Fits:
    """What was fitted, in the order in which it was asked for: the faces, and what was found."""

    faces: list[Tensor] = field(default_factory=list)
    found: list[Eigenfaces] = field(default_factory=list)


@pytest.fixture
def fits(tiny_shape: AgeCganShape, monkeypatch: pytest.MonkeyPatch) -> Fits:
    """Of a lean preset whose networks begin as eigenfaces, as they really do."""
    encoder, generator = replace(tiny_shape.encoder, eigenfaces=8), replace(tiny_shape.generator, eigenfaces=8)
    monkeypatch.setitem(PRESETS, "lean", replace(tiny_shape, encoder=encoder, generator=generator))
    fits = Fits()

    def noted(images: Tensor, latent: int, side: int) -> Eigenfaces:
        assert (latent, side) == (8, 8)
        fits.faces.append(images)
        fits.found.append(fit_eigenfaces(images, latent, side))
        return fits.found[-1]

    monkeypatch.setattr(command, "fit_eigenfaces", noted)
    return fits


@pytest.fixture
def together(facenet: Path, estimator: Path) -> tuple[object, ...]:
    return "--stage", "joint", "--facenet", facenet, "--age-estimator", estimator


def linear(network: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the linear part of ``network``."""
    return {name.removeprefix("eigenfaces."): value for name, value in network.items() if "eigenfaces." in name}


def test_a_joint_run_and_its_records(
    train: Train, tmp_path: Path, tiny_shape: AgeCganShape, together: tuple[object, ...]
) -> None:
    result = train("joint", *together, "--steps", 3, "--set", "alone=1", "--set", "pixel_weight=7.5")
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "joint")
    assert weights.keys() == {"encoder", "encoder_ema", "generator", "generator_ema", "discriminator"}
    assert all(bool(tensor.isfinite().all()) for state in weights.values() for tensor in state.values())
    assert (about["stage"], about["steps"], about["earlier"]) == ("joint", 3, [])
    assert (about["settings"]["alone"], about["settings"]["pixel_weight"]) == (1, 7.5)
    assert AgeCganShape.from_dict(about["shape"]) == tiny_shape
    config = yaml.safe_load((tmp_path / "joint" / "config.yaml").read_text())
    assert about == {key: value for key, value in config.items() if key not in ("loop", "amp", "device")} | {"steps": 3}
    assert len(list((tmp_path / "joint" / "samples").iterdir())) == 1


@pytest.mark.parametrize("given", ["nothing", "facenet", "age-estimator"])
def test_a_joint_stage_needs_who_sees_persons_and_ages(
    train: Train, tmp_path: Path, facenet: Path, estimator: Path, refused: Refused, given: str
) -> None:
    known = {"nothing": (), "facenet": ("--facenet", facenet), "age-estimator": ("--age-estimator", estimator)}
    result = train("run", "--stage", "joint", "--steps", 1, *known[given])
    assert refused(
        result,
        "the joint stage needs --facenet and --age-estimator: checkpoints of the networks that preserve identity",
    )
    assert not (tmp_path / "run").exists()


def test_a_joint_run_begins_as_the_eigenfaces_of_its_faces(
    train: Train, tmp_path: Path, fits: Fits, together: tuple[object, ...]
) -> None:
    """Nothing else is heard at the start, and the averages know them too."""
    result = train("joint", *STILL, *together, "--seed", 3)
    assert result.exit_code == 0, result.output
    weights = load_weights(tmp_path / "joint")[0]
    images = fits.faces[0]
    assert images.shape == (len(AGES), 3, 64, 64)  # those of the training split, of a known age
    assert -1 <= float(images.min()) < -0.9 < 0.9 < float(images.max()) <= 1
    for found in fits.found:
        for name, expected in (("encoder", found.encoder), ("generator", found.generator)):
            assert same(linear(weights[name]), expected)
            assert same(linear(weights[f"{name}_ema"]), expected)
            assert all(bool(tensor.any()) for tensor in expected.values())
    for name, head in (("encoder", "head.4"), ("generator", "stages.12.1")):  # the last layer that learns
        assert not any(weights[name][f"{head}.{part}"].any() for part in ("weight", "bias"))
    encoder, generator = EigenEncoder(8, 8), EigenGenerator(8, 8, 8)
    encoder.load_state_dict(linear(weights["encoder"]))
    generator.load_state_dict(linear(weights["generator"]))
    faces = F.avg_pool2d(images, 8)
    missed = torch.tanh(generator(encoder(images))) / 0.97 - faces
    assert float(missed.std()) < 0.8 * float((faces - faces.mean(dim=0)).std())  # eight numbers for twelve faces


def test_a_joint_run_that_goes_on_is_not_fitted_anew(
    train: Train, tmp_path: Path, fits: Fits, together: tuple[object, ...]
) -> None:
    """Nor is one that begins with the encoder and the generator of another; nor a latent stage after it."""
    latent = ("--stage", "latent", "--steps", 1)
    assert train("joint", *together, "--steps", 2).exit_code == 0
    before = load_weights(tmp_path / "joint")[0]
    fits.faces.clear()
    assert train("joint", *together, "--steps", 3).exit_code == 0
    assert train("more", *together, "--steps", 1, "--from", tmp_path / "joint").exit_code == 0
    assert train("encoder", *latent, "--from", tmp_path / "joint").exit_code == 0
    assert fits.faces == []
    histories = {"joint": [], "more": [("joint", 3)], "encoder": [("joint", 3)]}
    for folder, history in histories.items():
        weights, about = load_weights(tmp_path / folder)
        assert weights.keys() == before.keys()
        for name in ("encoder", "generator"):
            assert same(linear(weights[name]), linear(before[name]))
        assert not same(weights["encoder"], before["encoder"])
        assert [(item["stage"], item["steps"]) for item in about["earlier"]] == history
    joint, encoder = (load_weights(tmp_path / folder)[0] for folder in ("joint", "encoder"))
    assert all(same(joint[name], encoder[name]) for name in ("generator", "generator_ema", "discriminator"))


def test_an_encoder_that_comes_later_begins_as_the_eigenfaces_of_the_generator(
    train: Train, tmp_path: Path, fits: Fits, together: tuple[object, ...]
) -> None:
    assert train("gan", *STILL).exit_code == 0
    assert len(fits.faces) == 1  # for the generator alone
    generator = linear(load_weights(tmp_path / "gan")[0]["generator"])
    assert same(generator, fits.found[0].generator)
    latent = ("--stage", "latent")
    for folder, stage in (("joint", together), ("encoder", latent)):
        assert train(folder, *stage, *STILL, "--from", tmp_path / "gan").exit_code == 0
        weights = load_weights(tmp_path / folder)[0]
        assert same(linear(weights["generator"]), generator)
        assert same(linear(weights["encoder"]), fits.found[0].encoder)
    assert len(fits.faces) == 3


def test_eigenfaces_are_of_so_many_faces_at_most(
    train: Train, fits: Fits, together: tuple[object, ...], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spread over all there are; too few are refused."""
    assert train("all", *STILL).exit_code == 0
    monkeypatch.setattr(command, "_MAX_EIGENFACE_CROPS", 7)
    assert train("some", *STILL).exit_code == 0
    assert torch.equal(fits.faces[1], fits.faces[0][::2])
    monkeypatch.setattr(command, "_MAX_EIGENFACE_CROPS", 4)
    message = "4 faces do not differ in 8 ways; latents of this size need more faces"
    assert refused(train("few", *together, *STILL), message)


def test_a_preset_without_eigenfaces_is_not_fitted(
    train: Train, fits: Fits, tiny_shape: AgeCganShape, monkeypatch: pytest.MonkeyPatch, together: tuple[object, ...]
) -> None:
    monkeypatch.setitem(PRESETS, "dcgan", tiny_shape)
    assert train("joint", *together, *STILL, "--preset", "dcgan").exit_code == 0
    assert fits.faces == []


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["age-cgan", "--help"], terminal_width=100)
    assert result.exit_code == 0
    options = [
        "stage",
        "preset",
        "age-estimator",
        "new-discriminator",
        "facenet",
        "data",
        "out",
        "from",
        "steps",
        "minutes",
        "batch-size",
        "seed",
        "device",
        "amp",
        "set",
    ]
    assert all(f"--{option}" in result.output for option in options)
    assert "dorian-train age-cgan --data faces/ --age-estimator" in result.output
    assert all(kind in result.output for kind in ("archives", "imdb-wiki", "cacd"))
    assert "age-cgan" in CliRunner().invoke(main, ["-h"]).output


@pytest.mark.parametrize(
    "options", [["--steps", "0"], ["--preset", "large"], ["--batch-size", "1"], ["--from", "absent"]]
)
def test_options_out_of_range_are_usage_errors(train: Train, options: list[str]) -> None:
    result = train("run", *options)
    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.output
