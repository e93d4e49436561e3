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

from dorian_bundle import Bundle, load_bundle
from dorian_export import cli
from dorian_export.bundle_building import BundleInfo
from dorian_export.errors import ParityError
from dorian_export.faces import Faces
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.data.crops import Crops, cut_crops, with_margin
from dorian_training.data.records import FaceRecord
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

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


def differences_of(bundle: Bundle) -> dict[str, float]:
    """How far each graph's file is from torch."""
    readers = bundle.manifest.readers
    parts = (
        *bundle.manifest.methods,
        readers.detector,
        readers.landmark_refiner,
        readers.age_estimator,
        readers.facenet,
    )
    return {path: off for part in parts for path, off in part.provenance.metrics["onnx_difference"].items()}


def copy_of(bundle: Bundle) -> Callable[[Path], Any]:
    """Makes a bundle that was made before."""

    def build(folder: Path) -> Any:
        shutil.copytree(bundle.folder, folder, dirs_exist_ok=True)
        return bundle.manifest, differences_of(bundle)

    return build


def made_by(build: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``build`` stand in for the making of a bundle in a folder."""
    monkeypatch.setattr(cli, "build_bundle", lambda checkpoints, folder, *_: build(folder))


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
    stages = [{**about["earlier"][0], "data": about["data"]}]  # as its run says
    assert described == json.loads(json.dumps(about | {"earlier": stages}))
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
    files = [file.path for graph in bundle.manifest.graphs.values() for file in graph.files]
    assert len(files) == 10
    assert result.stdout.splitlines() == [
        f"{existing / path}: differs from its network by at most {differences_of(bundle)[path]:.2g}" for path in files
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
    load_bundle(existing)


def test_a_bundle_survives_one_that_does_not_pass_its_checks(
    existing: Path, export_onto: Export, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    before = content(existing)

    def without_card(folder: Path) -> Any:
        made = copy_of(bundle)(folder)
        (folder / "README.md").unlink()
        return made

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
    assert refused(export_onto(out, age_cgan=runs[0], age_translator=None), "no 'encoder_ema'")
    nothing = export_onto(out, age_cgan=None, age_translator=None, cyclegan=None)
    assert refused(
        nothing,
        "needs a method; give at least one of age_translator, age_cgan, cyclegan, ae_stylegan and age_translator_research",
    )
    save_weights(tmp_path / WEIGHTS_FILE, weights, {**about, "family": "cyclegan"})
    assert refused(export_onto(out, age_cgan=tmp_path, age_translator=None), "of the family 'cyclegan', not age_cgan")
    few = write_archives(tmp_path / "few", [{"split": "val"}] * 5)
    assert refused(export_onto(out, data=few), "8 real faces are needed", "got 5")
    assert refused(export_onto(out, data=tmp_path / "absent"), "is not a folder")
    for nobody in ({"split": "val", "identity": ""}, {"split": "test"}, {}):
        data = write_archives(tmp_path / "nobody", [nobody] * 9)
        words = "FaceNet's thresholds need faces with identities in a validation split; --data has none"
        assert refused(export_onto(out, data=data), words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{half", "is not JSON"),
        ("[1, 2]", "is not what dorian-evaluate writes"),
        ('{"age_cgan": [1, 2]}', "measurements by the part that they are of"),
    ],
)
def test_measurements_that_are_none(
    tmp_path: Path, export_onto: Export, text: str, words: str, refused: Refused
) -> None:
    (tmp_path / "ages.json").write_text(text)
    assert refused(export_onto(tmp_path / "out", "--metrics", tmp_path / "ages.json"), "ages.json", words)


@pytest.mark.parametrize("part", ["detector", "landmark-refiner", "age-estimator", "facenet"])
def test_every_network_that_sees_faces_has_to_be_given(
    tmp_path: Path, checkpoints: dict[str, Path], export: Export, faces: Path, part: str
) -> None:
    given = {name.replace("_", "-"): path for name, path in checkpoints.items()}
    words = [word for name, path in given.items() if name != part for word in (f"--{name}", path)]
    result = export("onnx", *words, "--out", tmp_path / "out", "--data", faces)
    assert result.exit_code == 2
    assert f"Missing option '--{part}'" in result.output
    absent = export("onnx", *words, f"--{part}", tmp_path / "absent", "--out", tmp_path / "out", "--data", faces)
    assert absent.exit_code == 2
    assert f"Invalid value for '--{part}'" in absent.output


def test_measurements_of_several_files_are_joined_part_by_part(
    tmp_path: Path, checkpoints: dict[str, Path], export_onto: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def note(*given: Any) -> None:
        seen.extend(given)
        raise ParityError("far enough")

    files = [
        {"facenet": {"accuracy": 0.5, "people": 9}, "age_cgan": {"judged_age": 1}},
        {"facenet": {"accuracy": 0.75}, "detector": {"recall": 1}},
    ]
    for index, content in enumerate(files):
        (tmp_path / f"{index}.json").write_text(json.dumps(content))
    monkeypatch.setattr(cli, "build_bundle", note)
    export_onto(tmp_path / "out", "--metrics", tmp_path / "0.json", "--metrics", tmp_path / "1.json")
    assert seen[0] == checkpoints
    assert seen[-1].metrics == {
        "facenet": {"accuracy": 0.75, "people": 9},
        "age_cgan": {"judged_age": 1},
        "detector": {"recall": 1},
    }


@pytest.fixture
def given(export_onto: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, ...]]:
    """Exports, and gives back the faces and the naming that the bundle would have been made with."""
    noted: list[Any] = []

    def note(checkpoints: Any, folder: Path, *rest: Any) -> None:
        noted.append(rest)
        raise ParityError("far enough")

    monkeypatch.setattr(cli, "build_bundle", note)

    def given(data: Path, *options: object) -> tuple[Any, ...]:
        export_onto(tmp_path / "out", *options, data=data)
        actual: tuple[Any, ...] = noted.pop()
        return actual

    return given


def test_faces_for_graphs_and_calibration_are_those_to_watch(
    tmp_path: Path, given: Callable[..., tuple[Any, ...]], write_archives: Callable[..., Path]
) -> None:
    """Those of known age, as large as the largest network's; where there are none, those that were trained on."""
    mixed = write_archives(tmp_path / "mixed", [{"split": s} for s in ("train", "val", "test") for _ in range(20)])
    ageless = {"split": "val", "age_low": "", "age_high": ""}
    trained = write_archives(tmp_path / "trained", [{}] * 16 + [ageless, ageless | {"identity": ""}])
    (first, *options), (second, *_) = (given(data, "--name", "n") for data in (mixed, trained))
    assert options == [BundleInfo("n", "0.1.0", {})]
    splits = [[record.split for record in faces.crops.records] for faces in (first, second)]
    assert splits == [["val"] * 20, ["train"] * 16]
    watched = [[(record.split, record.identity) for record in faces.people.records] for faces in (first, second)]
    assert watched == [[("val", f"person {index}") for index in range(20, 40)], [("val", "person 16")]]
    side, template = with_margin(64)
    for faces in (first, second):
        assert faces.crops.size == 96
        assert np.array_equal(faces.crops.pixels, cut_crops(faces.crops.records, 96).pixels)
        assert np.array_equal(faces.people.pixels, cut_crops(faces.people.records, side, template=template).pixels)


def test_people_are_cut_as_large_as_their_facenet_takes_them(
    tmp_path: Path, export_onto: Export, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = InceptionResNetShape(repeats=(1, 1, 1), embedding=16)
    about = {"family": "facenet", "shape": shape.as_dict()}
    (tmp_path / "facenet").mkdir()
    state = InceptionResNetV1(shape).state_dict()
    save_weights(tmp_path / "facenet" / WEIGHTS_FILE, {"facenet_ema": state}, about)
    given = list[Faces]()

    def note(checkpoints: Any, folder: Path, faces: Faces, *_: Any) -> None:
        given.append(faces)
        raise ParityError("far enough")

    monkeypatch.setattr(cli, "build_bundle", note)
    export_onto(tmp_path / "out", data=faces, facenet=tmp_path / "facenet")
    side, template = with_margin(160)
    people = given[0].people
    assert given[0].crops.size == 96
    assert np.array_equal(people.pixels, cut_crops(people.records, side, template=template).pixels)


def test_pictures_are_as_large_as_a_network_takes_them(seen: Faces) -> None:
    assert seen.resized(96) is seen.crops.pixels
    halved = seen.resized(48)
    assert (halved.shape, halved.dtype) == ((10, 48, 48, 3), np.uint8)
    blocks = seen.crops.pixels.reshape(10, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - blocks).max() <= 1


@pytest.mark.parametrize("count", [600, 601, 1199, 1999])
def test_no_more_than_600_faces_from_all_over_the_set(
    tmp_path: Path, given: Callable[..., tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """An export need not look at every face of a large set."""
    records = [
        FaceRecord("mine", tmp_path, str(index), "val", age_low=30, age_high=30, identity="ada" if not index else "")
        for index in range(count)
    ]

    def cut(selected: Any, size: int, **_: Any) -> Crops:
        return Crops(np.zeros((len(selected), 1, 1, 3), np.uint8), tuple(selected))

    monkeypatch.setattr(cli, "load_sources", lambda _: records)
    monkeypatch.setattr(cli, "cut_crops", cut)
    selected = [int(record.name) for record in given(tmp_path)[0].crops.records]
    assert len(selected) == len(set(selected)) == 600
    assert selected[0] == 0
    assert selected[-1] == count - 1
    assert max(np.diff(selected)) <= -(-count // 600)


def test_check_names_a_sound_bundle(bundle: Bundle, export: Export) -> None:
    result = export("check", bundle.folder)
    assert (result.exit_code, result.output) == (
        0,
        f"small 3.2.1: age_translator, age_cgan, cyclegan; sha256 {bundle.sha256}\n",
    )


def test_check_says_what_is_wrong(existing: Path, export: Export, refused: Refused) -> None:
    (existing / "graphs" / "age_cgan_generator.fp16.onnx").unlink()
    assert refused(export("check", existing), "age_cgan_generator.fp16.onnx is missing")
    assert refused(export("check", existing.parent), "is no bundle")
    assert refused(export("check", existing / "absent"), "is no bundle")


def test_help_explains_every_command(export: Export) -> None:
    assert all(word in export("--help").output for word in ("checkpoint", "onnx", "check"))
    result = export("onnx", "-h")
    assert result.exit_code == 0
    parts = (
        "age-translator",
        "calibrator",
        "age-cgan",
        "cyclegan",
        "detector",
        "landmark-refiner",
        "age-estimator",
        "facenet",
    )
    options = (*parts, "out", "data", "name", "version", "metrics")
    assert all(f"--{name}" in result.output for name in options)
    assert "dorian-export onnx --age-translator models/checkpoints/age_translator" in result.output
    assert "dorian-export checkpoint runs/gan runs/encoder" in export("checkpoint", "--help").output
