"""``dorian-train latent-optimisation``: faces in, latents out, part by part, and a run that goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch.nn import functional as F

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli import latent_optimisation as command
from dorian_training.cli.train import main
from dorian_training.data.archives import load_archives
from dorian_training.data.batches import as_images, groups_of
from dorian_training.data.crops import cut_crops
from dorian_training.losses.latent import LatentObjective, embedding_of
from dorian_training.methods.latent_optimisation import LatentSearchResult, SearchSettings, search_latents
from dorian_training.networks.age_cgan import AgeCganShape, build_encoder, build_generator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape

Optimise = Callable[..., Result]
Refused = Callable[..., bool]
Parts = dict[str, dict[str, np.ndarray]]
STEPS = 3
COMPACT = DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_CHUNK", 2)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    """Five faces to search in the training split and three in another, one without an age."""
    rows: list[dict[str, object]] = [{"age_low": age, "age_high": age} for age in (9, 24, 44, 54, 70)]
    rows += [{"split": "val"}, {"split": "val", "age_low": 3, "age_high": 3}, {"split": "val", "age_low": ""}]
    rows[-1]["age_high"] = ""
    return write_archives(tmp_path_factory.mktemp("faces"), rows)


@pytest.fixture(scope="module")
def checkpoint(tiny_shape: AgeCganShape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the latent stage leaves it: the averages are what counts."""
    path: Path = tmp_path_factory.mktemp("checkpoints") / "encoder"
    write_checkpoint(path, tiny_shape, 1)
    return path


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("checkpoints") / "facenet"
    torch.manual_seed(2)
    state = {name: 2 * tensor for name, tensor in DlibResNet(COMPACT).state_dict().items()}
    save_weights(path, {"facenet_ema": state}, {"shape": COMPACT.as_dict()})
    return path


def write_checkpoint(path: Path, shape: AgeCganShape, seed: int) -> None:
    torch.manual_seed(seed)
    built = {"encoder_ema": build_encoder(shape), "generator_ema": build_generator(shape)}
    weights = {name: {key: 2 * tensor for key, tensor in net.state_dict().items()} for name, net in built.items()}
    raw = {"generator": {key: tensor * 0 for key, tensor in weights["generator_ema"].items()}}
    save_weights(path, weights | raw, {"shape": shape.as_dict()})


@pytest.fixture
def optimise(faces: Path, checkpoint: Path, facenet: Path, tmp_path: Path) -> Optimise:
    """Runs the command on ``faces`` into the run folder called ``out``."""

    def optimise(out: str, *options: object, data: Path = faces, **paths: Path) -> Result:
        given = {"checkpoint": checkpoint, "facenet": facenet, "cache": tmp_path / "cache"} | paths
        message = [word for name, path in given.items() for word in (f"--{name}", path)]
        message += ["--data", data, "--out", tmp_path / out, "--device", "cpu", "--set", f"steps={STEPS}"]
        return CliRunner().invoke(main, ["latent-optimisation", *map(str, [*message, *options])])

    return optimise


def parts_of(folder: Path) -> Parts:
    actual = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            actual[path.name] = dict(stored)
    return actual


def same(one: Parts, other: Parts) -> bool:
    return one.keys() == other.keys() and all(
        part.keys() == other[name].keys() and all(np.array_equal(part[key], other[name][key]) for key in part)
        for name, part in one.items()
    )


def expected(faces: Path, checkpoint: Path, facenet: Path, shape: AgeCganShape) -> LatentSearchResult:
    """The search of the training faces, by hand."""
    weights, _ = load_weights(checkpoint)
    encoder, generator = build_encoder(shape).eval(), build_generator(shape)
    encoder.load_state_dict(weights["encoder_ema"])
    generator.load_state_dict(weights["generator_ema"])
    network = DlibResNet(COMPACT)
    network.load_state_dict(load_weights(facenet)[0]["facenet_ema"])
    objective = LatentObjective(generator, network).eval().requires_grad_(False)
    crops = cut_crops([record for record in load_archives(faces) if record.split == "train"], 64)
    image = as_images(torch.from_numpy(crops.pixels))
    condition = F.one_hot(torch.from_numpy(groups_of(crops, PAPER_GROUPS)), 6).float()
    with torch.no_grad():
        latent, embedding = encoder(image), embedding_of(network, image)
    return search_latents(objective, latent, condition, image, embedding, SearchSettings(steps=STEPS))


def test_the_latents_of_a_split(
    optimise: Optimise, tmp_path: Path, faces: Path, checkpoint: Path, facenet: Path, tiny_shape: AgeCganShape
) -> None:
    """From where the encoder says, at each face's own age group."""
    result = optimise("latents")
    assert result.exit_code == 0, result.output
    parts = parts_of(tmp_path / "latents")
    assert [len(part["names"]) for part in parts.values()] == [2, 2, 1]
    assert list(parts) == ["00000.npz", "00001.npz", "00002.npz"]
    wanted = expected(faces, checkpoint, facenet, tiny_shape)
    joined = {key: np.concatenate([part[key] for part in parts.values()]) for key in parts["00000.npz"]}
    assert joined["names"].tolist() == [f"{index}.png" for index in range(5)]
    assert joined["latents"] == pytest.approx(wanted.latents, abs=1e-3)
    assert joined["before"] == pytest.approx(wanted.before, abs=1e-4)
    assert joined["after"] == pytest.approx(wanted.after, abs=1e-3)
    weights = np.array(SearchSettings().weights)
    before, after = joined["before"] @ weights, joined["after"] @ weights
    assert (after <= before).all()
    assert after.mean() < before.mean()
    for name, first, last in zip(
        ("pixelwise", "identity", "prior"), joined["before"].mean(axis=0), joined["after"].mean(axis=0), strict=True
    ):
        assert f"{name}: {first:.4f} before, {last:.4f} after" in result.output
    assert {path.suffix for path in (tmp_path / "latents").iterdir()} == {".npz", ".json"}
    note = json.loads((tmp_path / "latents" / "search.json").read_text())
    assert note["settings"] == {"pixelwise_weight": 0, "identity_weight": 1, "prior_weight": 0.1, "steps": STEPS}
    assert note["faces"]["count"] == 5


def test_another_split_and_fewer_faces(optimise: Optimise, tmp_path: Path) -> None:
    """Those without an age are left out; some of many are chosen by the seed, and kept in order."""
    assert optimise("val", "--split", "val").exit_code == 0
    assert parts_of(tmp_path / "val")["00000.npz"]["names"].tolist() == ["5.png", "6.png"]
    selected = {}
    for seed in (0, 1, 2, 0):
        out = f"few {seed} {len(selected)}"
        assert optimise(out, "--faces", 3, "--seed", seed).exit_code == 0
        names = np.concatenate([part["names"] for part in parts_of(tmp_path / out).values()]).tolist()
        assert names == sorted(set(names))
        assert len(names) == 3
        assert selected.setdefault(seed, names) == names
    assert len({tuple(names) for names in selected.values()}) > 1
    assert optimise("many", "--faces", 99).exit_code == 0
    assert len(parts_of(tmp_path / "many")) == 3


def test_a_run_goes_on_where_it_stopped(optimise: Optimise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert optimise("whole").exit_code == 0
    calls: list[int] = []

    def stopping(objective: Any, start: torch.Tensor, *rest: Any) -> LatentSearchResult:
        calls.append(len(start))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return search_latents(objective, start, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(command, "search_latents", stopping)
        assert optimise("stopped").exit_code == 1
        first = parts_of(tmp_path / "stopped")
        assert list(first) == ["00000.npz"]
        again = optimise("stopped")
        assert again.exit_code == 0
        assert calls == [2, 2, 2, 1]  # the first part is not searched again
    whole, stopped = parts_of(tmp_path / "whole"), parts_of(tmp_path / "stopped")
    assert same(whole, stopped)
    assert np.array_equal(stopped["00000.npz"]["latents"], first["00000.npz"]["latents"])
    done = optimise("whole")
    assert done.exit_code == 0
    assert done.output.rpartition("pixelwise:")[2] == again.output.rpartition("pixelwise:")[2] != ""


def test_half_a_file_is_written_again(optimise: Optimise, tmp_path: Path) -> None:
    assert optimise("latents").exit_code == 0
    wanted = parts_of(tmp_path / "latents")
    whole = tmp_path / "latents" / "00001.npz"
    whole.rename(whole.with_name("00001.npz.part"))
    whole.with_name("00001.npz.part").write_bytes(b"half")
    assert optimise("latents").exit_code == 0
    assert same(wanted, parts_of(tmp_path / "latents"))
    assert not list((tmp_path / "latents").glob("*.part"))


def test_a_folder_of_another_search_is_left_alone(
    optimise: Optimise,
    tmp_path: Path,
    tiny_shape: AgeCganShape,
    write_archives: Callable[..., Path],
    refused: Refused,
) -> None:
    assert optimise("latents").exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "latents").iterdir()}
    other = tmp_path / "other"
    write_checkpoint(other, tiny_shape, 9)
    elsewhere = write_archives(tmp_path / "elsewhere", [{"archive": "fairface.zip"}] * 5)  # as many faces
    for options, paths in (
        (["--set", "identity_weight=2"], {}),
        (["--set", "steps=4"], {}),
        (["--split", "val"], {}),
        (["--faces", 4], {}),
        ([], {"data": elsewhere}),
        ([], {"checkpoint": other}),
    ):
        result = optimise("latents", *options, **paths)
        assert refused(result, "latents holds a search with other settings, faces or networks", "another folder")
    assert {path: path.read_bytes() for path in (tmp_path / "latents").iterdir()} == before
    assert optimise("latents", "--faces", 5).exit_code == 0  # which are all


def test_what_cannot_be_searched(
    optimise: Optimise, tmp_path: Path, facenet: Path, checkpoint: Path, tiny_shape: AgeCganShape, refused: Refused
) -> None:
    assert refused(optimise("run", "--split", "test"), "--data has no faces of known age in the test split")
    assert refused(optimise("run", data=tmp_path / "absent"), "absent is not a folder")
    assert refused(optimise("run", "--set", "speed=3"), "with a name among pixelwise_weight, identity_weight")
    assert refused(optimise("run", checkpoint=facenet), "no 'encoder_ema'; it has facenet_ema")
    assert refused(optimise("run", facenet=checkpoint), "no 'facenet_ema'")
    state = {"encoder_ema": build_encoder(tiny_shape).state_dict()}
    save_weights(tmp_path / "half", state, {"shape": tiny_shape.as_dict()})
    assert refused(optimise("run", checkpoint=tmp_path / "half"), "no 'generator_ema'; it has encoder_ema")
    assert not (tmp_path / "run").exists()


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["latent-optimisation", "--help"])
    assert result.exit_code == 0
    options = ("data", "checkpoint", "facenet", "split", "faces", "out", "seed", "device", "threads", "cache", "set")
    assert all(f"--{option} " in result.output for option in options)
    assert "dorian-train latent-optimisation --checkpoint runs/encoder" in result.output
    assert "latent-optimisation" in CliRunner().invoke(main, ["-h"]).output


@pytest.mark.parametrize("options", [["--split", "all"], ["--faces", "0"], ["--checkpoint", "absent"]])
def test_options_out_of_range_are_usage_errors(optimise: Optimise, options: list[str]) -> None:
    result = optimise("run", *options)
    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.output
