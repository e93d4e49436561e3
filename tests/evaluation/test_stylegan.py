"""``dorian-evaluate stylegan`` on a painted AE-StyleGAN whose results follow from a few numbers, by judges of brightness and colour."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from dorian_bundle import load_bundle
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.masks import learned_mask
from dorian_bundle.style_levels import PRESETS
from dorian_evaluation.cli.evaluate import main
from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.judges import open_age_judge, open_identity_judge
from dorian_evaluation.stylegan.changes import DOMAINS
from dorian_evaluation.stylegan.mixing import MixingMeter
from dorian_evaluation.stylegan.networks import StyleFaces, StyleNetworks
from dorian_evaluation.stylegan.reconstruction import reconstruction_distance, reconstruction_metrics
from dorian_evaluation.stylegan.sizes import delta_sizes, real_difference
from dorian_training.data.records import FaceRecord
from tests.evaluation.grey_server import write_judges
from tests.evaluation.painted_bundle import save_pooling, write_bundle
from tests.evaluation.painted_style_bundle import FILTER, OLD, SIZE, STRENGTH, YEARS, YOUNG, write_style_bundle

GREY = 102  # levels of every face: 0.4 of the range
OWN = GREY / 255


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_style_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def networks(bundle: Path) -> StyleNetworks:
    loaded = load_bundle(bundle)
    (method,) = [method for method in loaded.manifest.methods if isinstance(method, AeStyleGanMethod)]
    return StyleNetworks(loaded, method)


def plain(colours: Any, side: int) -> NDArray[np.uint8]:
    """Return crops of one colour each."""
    return np.broadcast_to(np.asarray(colours, np.uint8)[:, None, None], (len(colours), side, side, 3)).copy()


def plain_faces(networks: StyleNetworks, age: int, count: int = 3) -> StyleFaces:
    records = [FaceRecord("set", Path(), str(index), "test", age, age, "Male") for index in range(count)]
    colours = [(GREY,) * 3] * count
    crops = plain(colours, SIZE)
    codes = networks.encode(crops)
    return StyleFaces(tuple(records), crops, plain(colours, 2 * SIZE), codes, networks.draw(codes))


@pytest.fixture(scope="module")
def measured(networks: StyleNetworks, judges: Path) -> dict[str, Any]:
    """What is measured of plain young and old faces."""
    people = KnownPeople(2, 4, 0.9, 0.95)
    meter = MixingMeter(networks, open_age_judge(judges), open_identity_judge(judges), people)
    return {
        domain.name: meter.measure_domain(plain_faces(networks, age), domain)
        for domain, age in zip(DOMAINS, (25, 65), strict=True)
    }


def test_presets_move_by_their_share_of_the_levels(measured: dict[str, Any]) -> None:
    five = np.mean(OLD + YOUNG)  # the library has no more than five
    lent = {"one": OLD[0], "five": five, "all": np.mean(OLD), "shift": OWN + (65 - 25) * YEARS}
    presets = measured["young"]["presets"]
    assert list(presets) == list(PRESETS)
    for name in ("top", "high", "mid", "alternating-1", "alternating-2", "alternating-3"):
        (levels,) = PRESETS[name]
        for lender, style in lent.items():
            expected = 255 * len(levels) / 12 * abs(style - OWN)
            assert presets[name][lender]["luma"] == pytest.approx(expected, abs=0.1), (name, lender)
            assert presets[name][lender]["chroma"] == pytest.approx(0, abs=0.01)
    three = 255 / 12 * (OLD[0] + OLD[1] + 2 * OLD[2] - 4 * OWN)  # a reference for each group
    assert presets["three-styles"]["one"]["luma"] == pytest.approx(three, abs=0.1)
    two = 255 * 4 / 12 * abs(five - OWN)
    assert presets["two-styles"]["five"]["luma"] == pytest.approx(two, abs=0.1)


def test_judged_years_are_what_is_added_under_the_mask(measured: dict[str, Any]) -> None:
    mask = learned_mask(DEFAULT_TEMPLATE, 2 * SIZE)[2:-2, 2:-2].mean()  # the part that the judge sees
    for name, lent in (("young", OLD[0]), ("old", YOUNG[0])):
        values = measured[name]["presets"]["mid"]["one"]
        added = 255 * 8 / 12 * (lent - OWN) * mask
        assert values["years"] == pytest.approx(added, abs=1.5)
        assert values["years_apart"] == pytest.approx(abs(values["years"]))
        assert (values["similarity"], values["accepted"]) == (pytest.approx(1, abs=1e-3), 1.0)  # grey stays grey
    assert measured["young"]["judged_before"] == pytest.approx(GREY, abs=0.1)


def test_changes_as_they_are_served(measured: dict[str, Any]) -> None:
    served = measured["young"]["served"]
    assert list(served) == ["years", "stylegan_old"]
    assert served["years"]["luma"] == pytest.approx(255 * 0.5 * STRENGTH * (65 - 25) * YEARS, abs=0.1)
    assert served["years"]["years"] > 0
    assert served["stylegan_old"]["luma"] == pytest.approx(255 * FILTER, abs=0.1)
    assert list(measured["old"]["served"]) == ["years"]  # there is no filter that makes faces young
    assert measured["old"]["served"]["years"]["years"] < 0


def test_a_swap_of_the_same_age(measured: dict[str, Any]) -> None:
    for name, lent in (("young", YOUNG[0]), ("old", OLD[0])):
        swap = measured[name]["same_age"]
        assert swap["luma"] == pytest.approx(255 * 0.5 * abs(lent - OWN), abs=0.1)
        assert swap["near"] == 0.0  # half of the levels of another grey


def test_sizes_of_deltas() -> None:
    delta = np.broadcast_to(np.array([10, 0, -10], np.float32) / 255, (2, SIZE, SIZE, 3))
    luma = 10 * (0.299 - 0.114)
    chroma = ((10 - luma) + luma + (10 + luma)) / 3
    assert delta_sizes(delta, DEFAULT_TEMPLATE) == pytest.approx(np.array([[luma, chroma]] * 2), abs=1e-3)


def test_real_faces_differ_by_what_their_likes_do() -> None:
    """Old faces are ten levels lighter than the young ones that are like them, of which there are two kinds."""
    dark, light = (60, 60, 60), (160, 160, 160)
    young = plain([dark, light] * 5, SIZE)
    old = plain([(70, 70, 70), (170, 170, 170)] * 2, SIZE)
    found = real_difference(young, old[:2], DEFAULT_TEMPLATE)
    assert (found["young"], found["old"], found["alike"]) == (10, 2, 2)
    # Of two old faces, one is of the other kind: its distance counts half.
    assert found["luma"] == pytest.approx((60 + 40) / 2, abs=0.1)
    assert found["floor"] == {"luma": 0.0, "chroma": 0.0}
    alike = real_difference(young, np.concatenate([old] * 2)[[0, 2, 4, 6, 1, 3, 5, 7]][:, :], DEFAULT_TEMPLATE)
    assert alike["alike"] == 4


def test_reconstructions_of_plain_faces_are_the_faces(networks: StyleNetworks, judges: Path) -> None:
    faces = plain_faces(networks, 30, 8)
    judge = open_identity_judge(judges)
    found = reconstruction_metrics(networks, faces, judge, KnownPeople(2, 4, 0.9, 0.95))
    assert found["photo"] == found["crop"] == {"similarity": 1.0, "accepted": 1.0}
    assert found["pixel_error"] == pytest.approx(0, abs=1e-4)
    assert reconstruction_metrics(networks, faces, judge, None)["crop"]["accepted"] is None


def test_the_distance_of_reconstructions_and_its_floor(networks: StyleNetworks) -> None:
    faces = plain_faces(networks, 30, 8)
    lighter = StyleFaces(faces.records, faces.crops, faces.views, faces.codes, faces.own + np.float32(10 / 255))

    def extract(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        return crops.mean(axis=(1, 2))

    assert reconstruction_distance(extract, faces, 0) == {"faces": 4, "dimensions": 3, "distance": 0.0, "floor": 0.0}
    assert reconstruction_distance(extract, lighter, 0)["distance"] == pytest.approx(3 * 10**2, rel=1e-3)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    alone: dict[str, object] = {"split": "test", "identity": ""}
    rows = [alone | {"age_low": age, "age_high": age} for age in (20, 22, 25, 28, 61, 65, 70, 75)]
    unknown = {"split": "test", "archive": "celeba.zip", "age_low": "", "age_high": ""}
    rows += [unknown | {"identity": name} for name in "aabbcc"]
    return write_archives(tmp_path_factory.mktemp("faces"), [*rows, {"split": "val", "identity": ""}])


@pytest.fixture
def evaluate(bundle: Path, judges: Path, faces: Path, tmp_path: Path) -> Callable[..., Result]:
    def evaluate(*options: object, folder: Path = bundle) -> Result:
        fixed = [folder, "--data", faces, "--judges", judges, "--cache", tmp_path / "cache"]
        return CliRunner().invoke(main, ["stylegan", *map(str, [*fixed, *options])])

    return evaluate


def test_the_command(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out, table, sheet, blind = (tmp_path / name for name in ("out.json", "out.md", "sheet.png", "blind.png"))
    files = ["--out", out, "--table", table, "--sheet", sheet, "--blind-sheet", blind]
    result = evaluate("--faces", 4, "--reconstructed", 8, *files)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())["ae_stylegan"]
    assert metrics["network"] == {"crop_size": SIZE, "levels": 12, "style": 1, "structure": 3}
    assert metrics["people"]["people"] == 3
    assert (metrics["reconstruction"]["faces"], metrics["frechet"]["faces"]) == (8, 4)
    assert metrics["frechet"]["features"] == "face-reidentification-retail-0095.xml"  # the folder has no other network
    assert metrics["mixing"]["young"]["faces"] == metrics["mixing"]["old"]["faces"] == 4
    assert metrics["milliseconds"]["sum"] > 0
    text = table.read_text()
    assert text in result.output
    assert text.count("| alternating-3 | five |") == 2
    assert "| in years, as served | – |" in text
    assert "\n\n\n" not in text
    assert cv2.imread(str(sheet)).shape[0] == 20 + 8 * 196
    key = json.loads((tmp_path / "blind-key.json").read_text())
    assert [len(row) for row in key] == [6, 2]
    kinds = [face["kind"] for row in key for face in row]
    assert sorted(kinds) == ["changed"] * 4 + ["real"] * 4
    assert len({face["file"] for row in key for face in row}) == 8


def test_the_feature_network_in_the_folder_of_judges(
    evaluate: Callable[..., Result], judges: Path, tmp_path: Path
) -> None:
    """It takes images of any size, and has 224 pixels of them."""
    network = save_pooling(judges / "mobilenetv2_imagenet_feat1280.onnx", "side")
    result = evaluate("--part", "reconstruction", "--reconstructed", 8, "--out", tmp_path / "out.json")
    network.unlink()
    assert result.exit_code == 0, result.output
    frechet = json.loads((tmp_path / "out.json").read_text())["ae_stylegan"]["frechet"]
    assert (frechet["features"], frechet["dimensions"]) == (network.name, 3)


def test_time_alone_needs_no_faces(evaluate: Callable[..., Result]) -> None:
    result = evaluate("--part", "time")
    assert result.exit_code == 0, result.output
    assert "One face on one core" in result.output
    assert "Reconstruction" not in result.output


def test_what_it_refuses(evaluate: Callable[..., Result], tmp_path: Path, refused: Callable[..., bool]) -> None:
    other = write_bundle(tmp_path / "bundle")
    assert refused(evaluate(folder=other), "no method of the family ae_stylegan")
    assert refused(evaluate("--method", "age_cgan"), "no method 'age_cgan'", "it has ae_stylegan")
    assert refused(evaluate("--part", "mixing", "--sheet", tmp_path / "sheet.text"), "end it in .png or .jpg")
