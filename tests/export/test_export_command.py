"""``dorian-export``: checkpoints and bundles from the command line, and bundles that survive what goes wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor

from dorian_bundle import Bundle, load
from dorian_export import command
from dorian_export.errors import ParityError
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights

Export = Callable[..., Result]
Refused = Callable[..., bool]
Weights = dict[str, dict[str, Tensor]]


def content(folder: Path) -> dict[str, str]:
    """Hashes of all files in a folder, by their paths."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def existing(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle where a new one is to go."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "existing"))


@pytest.fixture
def export_onto(export: Export, checkpoint: Path, faces: Path) -> Callable[..., Result]:
    """Exports the checkpoint to a folder."""

    def export_onto(folder: Path, *options: object, run: Path = checkpoint, data: Path = faces) -> Result:
        return export("onnx", run, "--out", folder, "--data", data, *options)

    return export_onto


def copy_of(bundle: Bundle) -> Callable[[Path], Any]:
    """Makes a bundle that was made before."""

    def build(folder: Path) -> Any:
        shutil.copytree(bundle.folder, folder, dirs_exist_ok=True)
        return bundle.manifest

    return build


def made_by(build: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``build`` stand in for the making of a bundle in a folder."""
    monkeypatch.setattr(command, "build_bundle", lambda checkpoint, folder, *_: build(folder))


def test_a_checkpoint_is_small_and_has_the_networks_of_every_stage(
    checkpoint: Path, runs: tuple[Path, Path], about: dict[str, Any]
) -> None:
    assert sorted(path.name for path in checkpoint.iterdir()) == ["curves.csv", WEIGHTS_FILE]
    packed, described = load_weights(checkpoint)
    whole, _ = load_weights(runs[1])
    assert packed.keys() == whole.keys() == {
        "discriminator", "encoder", "encoder_ema", "generator", "generator_ema",
    }  # fmt: skip
    for network, state in whole.items():
        for name, tensor in state.items():
            expected = tensor.half().float() if tensor.is_floating_point() else tensor
            assert torch.equal(packed[network][name], expected)
    assert described == json.loads(json.dumps(about))
    size, before = ((folder / WEIGHTS_FILE).stat().st_size for folder in (checkpoint, runs[1]))
    assert 0.45 < size / before < 0.6
    names = {line.split(",")[0] for line in (checkpoint / "curves.csv").read_text().splitlines()[1:]}
    assert names == {"d/real", "g/adversarial", "e/pairs"}


def test_a_checkpoint_says_what_it_holds(
    runs: tuple[Path, Path], export: Export, tmp_path: Path, refused: Refused
) -> None:
    result = export("checkpoint", runs[0], "--out", tmp_path / "new" / "folder")
    assert result.exit_code == 0
    assert "discriminator, generator, generator_ema; 0." in result.output
    assert refused(export("checkpoint", tmp_path, "--out", tmp_path / "none"), "not a checkpoint that can be read")
    assert not (tmp_path / "none").exists()


def test_an_export_says_how_far_every_graph_is_from_torch(
    existing: Path, export_onto: Export, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by(copy_of(bundle), monkeypatch)
    result = export_onto(existing)
    assert result.exit_code == 0
    differences = bundle.manifest.methods[0].provenance.metrics["onnx_difference"]
    assert result.stdout.splitlines() == [
        f"{existing / path}: differs from torch by at most {difference:.2g}" for path, difference in differences.items()
    ]


def test_a_new_bundle_replaces_the_old_one_whole(
    existing: Path, export_onto: Export, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (existing / "left over").touch()
    (existing / "README.md").write_text("old")
    (existing.parent / "existing.part").mkdir()  # of an export that was cut off
    (existing.parent / "existing.part" / "half").touch()
    made_by(copy_of(bundle), monkeypatch)
    assert export_onto(existing).exit_code == 0
    assert content(existing) == content(bundle.folder)
    assert [path.name for path in existing.parent.iterdir()] == ["existing"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ParityError("the graph differs"), MemoryError()])
def test_a_bundle_survives_an_export_that_fails(
    existing: Path, export_onto: Export, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(existing)

    def fail(folder: Path) -> None:
        (folder / "graphs").mkdir()
        (folder / "graphs" / "age_cgan_encoder.fp32.onnx").write_bytes(b"half of a graph")
        raise error

    made_by(fail, monkeypatch)
    assert export_onto(existing).exit_code == 1
    assert content(existing) == before
    load(existing)


def test_a_bundle_survives_one_that_does_not_pass_its_checks(
    existing: Path, export_onto: Export, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    before = content(existing)

    def without_card(folder: Path) -> None:
        copy_of(bundle)(folder)
        (folder / "README.md").unlink()

    made_by(without_card, monkeypatch)
    assert refused(export_onto(existing), "no model card")
    assert content(existing) == before


def test_a_folder_of_something_else_is_not_replaced(
    tmp_path: Path, export_onto: Export, faces: Path, refused: Refused
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert refused(export_onto(tmp_path), "something other than a bundle")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_cannot_be_exported(
    tmp_path: Path,
    runs: tuple[Path, Path],
    weights: Weights,
    about: dict[str, Any],
    export_onto: Export,
    write_archives: Callable[..., Path],
    refused: Refused,
) -> None:
    out = tmp_path / "out"
    assert refused(export_onto(out, run=runs[0]), "no 'encoder_ema'")
    save_weights(tmp_path / WEIGHTS_FILE, weights, {**about, "family": "cyclegan"})
    assert refused(export_onto(out, run=tmp_path), "of the family 'cyclegan', not age_cgan")
    few = write_archives(tmp_path / "few", [{"split": "val"}] * 5)
    assert refused(export_onto(out, data=few), "8 real faces are needed", "got 5")
    assert refused(export_onto(out, data=tmp_path / "absent"), "is not a folder")
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"), [("{half", "is not JSON"), ("[1, 2]", "is not what dorian-evaluate writes")]
)
def test_measurements_that_are_none(
    tmp_path: Path, export_onto: Export, text: str, words: str, refused: Refused
) -> None:
    (tmp_path / "ages.json").write_text(text)
    assert refused(export_onto(tmp_path / "out", "--metrics", tmp_path / "ages.json"), "ages.json", words)


def test_graphs_are_proven_on_faces_that_were_not_trained_on(
    tmp_path: Path,
    checkpoint: Path,
    export: Export,
    write_archives: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def note(checkpoint: Path, folder: Path, crops: Any, precisions: Any, *named: Any) -> None:
        seen.append((crops, precisions, named))
        raise ParityError("far enough")

    monkeypatch.setattr(command, "build_bundle", note)
    mixed = write_archives(tmp_path / "mixed", [{"split": s} for s in ("train", "val", "test") for _ in range(20)])
    trained = write_archives(tmp_path / "trained", [{}] * 17)
    for data in (mixed, trained):
        export("onnx", checkpoint, "--out", tmp_path / "out", "--data", data, "--precision", "fp16", "--name", "n")
    splits = [[record.split for record in crops.records] for crops, _, _ in seen]
    assert splits == [["val"] * 4 + ["test"] * 4, ["train"] * 8]  # from all over the set
    assert {crops.pixels.shape for crops, _, _ in seen} == {(8, 64, 64, 3)}
    assert all(len(np.unique(crops.pixels, axis=0)) == 8 for crops, _, _ in seen)
    assert seen[0][1:] == (("fp16",), ("n", "0.1.0", {}))


def test_check_names_a_sound_bundle(bundle: Bundle, export: Export) -> None:
    result = export("check", bundle.folder)
    assert (result.exit_code, result.output) == (0, f"small 3.2.1: age_cgan; sha256 {bundle.sha256}\n")


def test_check_says_what_is_wrong(existing: Path, export: Export, refused: Refused) -> None:
    (existing / "graphs" / "age_cgan_generator.fp16.onnx").unlink()
    assert refused(export("check", existing), "age_cgan_generator.fp16.onnx is missing")
    assert refused(export("check", existing.parent), "is no bundle")
    assert refused(export("check", existing / "absent"), "is no bundle")


def test_help_explains_every_command(export: Export) -> None:
    assert all(word in export("--help").output for word in ("checkpoint", "onnx", "check"))
    result = export("onnx", "-h")
    assert result.exit_code == 0
    assert all(f"--{name}" in result.output for name in ("out", "data", "precision", "name", "version", "metrics"))
    assert "dorian-export onnx models/checkpoints/age_cgan" in result.output
    assert "dorian-export checkpoint runs/gan runs/encoder" in export("checkpoint", "--help").output
