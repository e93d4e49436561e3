"""``dorian-evaluate age-cgan`` on a painted bundle and a small server of it, by judges of brightness and colour."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from dorian_bundle import load_bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.stored_files import sha256_of
from dorian_client import Client
from dorian_evaluation.age_cgan.reconstruction import measure_reconstructions, reconstruction_metrics
from dorian_evaluation.cli.evaluate import main
from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.judges import faceapi, open_identity_judge, reidentification
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError
from tests.evaluation.grey_server import GreyServer, serving, write_judges
from tests.evaluation.painted_bundle import GREYS, POINTS, save_pooling, write_bundle

ROOT = Path(__file__).parents[2]
JUDGES = ROOT.parent / "shared" / "judges"
LABELS = [group.label for group in PAPER_GROUPS]
MODES = ("initial", "pixelwise", "identity", "blended")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), searched=True)


@pytest.fixture
def server(bundle: Path) -> Iterator[str]:
    with serving(GreyServer(load_bundle(bundle).sha256)) as address:
        yield address


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    """Two faces of each age group and known people in the test split, and someone in another."""
    alone: dict[str, object] = {"split": "test", "identity": ""}
    ages = (8, 25, 35, 45, 55, 65)
    rows = [alone | {"age_low": age, "age_high": age, "gender": g} for age in ages for g in ("Male", "Female")]
    unknown = {"split": "test", "archive": "celeba.zip", "age_low": "", "age_high": ""}
    rows += [unknown | {"identity": name} for name in "aabbcc"]
    return write_archives(tmp_path_factory.mktemp("faces"), [*rows, {"split": "val", "identity": ""}])


@pytest.fixture
def evaluate(bundle: Path, server: str, judges: Path, faces: Path, tmp_path: Path) -> Callable[..., Result]:
    def evaluate(*options: object, at: str | None = server, folder: Path = bundle, by: Path = judges) -> Result:
        fixed = [folder, "--data", faces, "--judges", by, "--cache", tmp_path / "cache", "--generated", 60]
        return CliRunner().invoke(main, ["age-cgan", *map(str, [*fixed, *(["--server", at] if at else []), *options])])

    return evaluate


@pytest.fixture(scope="module")
def whole(
    bundle: Path, judges: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str, NDArray[np.uint8]]:
    """Return metrics, report and image of all parts, of five of the faces."""
    folder = tmp_path_factory.mktemp("whole")
    files = {name: folder / f"found.{name}" for name in ("json", "md", "png")}
    options: list[object] = [bundle, "--data", faces, "--judges", judges, "--cache", folder, "--generated", 60]
    options += ["--faces", 6, "--max-steps", 12, "--targets", "25 45"]
    options += ["--out", files["json"], "--table", files["md"], "--picture", files["png"]]
    with serving(GreyServer(load_bundle(bundle).sha256)) as address:
        result = CliRunner().invoke(main, ["age-cgan", "--server", address, *map(str, options)])
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(files["png"]))
    assert picture is not None
    text = files["md"].read_text()
    assert text in result.output
    return json.loads(files["json"].read_text()), text, np.asarray(picture[:, :, ::-1], dtype=np.uint8)


Whole = tuple[dict[str, Any], str, NDArray[np.uint8]]


def test_all_parts_are_metrics_of_age_cgan(whole: Whole) -> None:
    metrics, text, _ = whole
    assert list(metrics) == ["age_cgan"]
    assert list(metrics["age_cgan"]) == ["judged_age", "reconstruction", "ageing", "ageing_searched", "frechet"]
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(titles) == len(set(titles)) == 4


def test_generation(whole: Whole) -> None:
    metrics, text, _ = whole
    values = metrics["age_cgan"]["judged_age"]
    assert (values["faces_per_group"], values["real_per_group"]) == (10, 2)
    assert values["generated"] == pytest.approx(dict(zip(LABELS, GREYS, strict=True)), abs=0.02)
    # Real faces are noise, so bright that all look 60 or more.
    assert values["accuracy"] == {"generated": 0.8333, "real": 0.1667, "difference": 0.6667, "relative": -4.0}
    assert "| generated | 83.3 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 0.0 % | 100.0 % |" in text
    assert "| 50-59 | 0.0 % | 0.0 % | 0.0 % | 100.0 % | 0.0 % | 0.0 % |" in text
    assert "400.0 % (66.7 points) higher than on real ones" in text
    assert "61.0 years above the youngest" in text


def test_reconstruction(whole: Whole) -> None:
    metrics, text, _ = whole
    values = metrics["age_cgan"]["reconstruction"]
    assert values["bundle"] == {"name": "grey", "version": "1"}
    assert values["faces"] == {"asked": 6, "measured": 5, "left_out": {"NO_FACE": 1}}
    assert (values["people"]["people"], values["people"]["faces"]) == (3, 6)
    modes = values["modes"]
    assert list(modes) == list(MODES)
    assert [modes[mode]["steps"] for mode in MODES] == [0, 7, 11, 12]  # of 13, bounded by --max-steps
    assert [modes[mode]["pixel_error"] for mode in MODES] == [0, 0.07, 0.11, 0.12]
    assert modes["initial"]["accepted"] == modes["initial"]["to_crop"]["accepted"] == 0.0
    for mode in MODES[1:]:  # the crop itself
        assert modes[mode]["to_crop"] == {"similarity": 1.0, "accepted": 1.0}
        assert {name: modes[mode][name] for name in ("similarity", "accepted")} == values["crop"]
    groups = values["groups"]
    assert sum(row["faces"] for row in groups["decade"].values()) == 5
    assert set(groups["gender"]) == {"Male", "Female"}
    assert all(row["few"] for row in groups["gender"].values())
    assert groups["gender"]["Male"]["modes"]["initial"]["accepted"] == 0.0
    assert "5 (left out: 1 NO_FACE) of 6 faces" in text
    assert "| Male * |" in text


def test_ageing_by_budget(whole: Whole) -> None:
    metrics, text, _ = whole
    values = metrics["age_cgan"]
    assert list(values["ageing_searched"]) == ["fast", "full"]
    budgets = {"none": values["ageing"], **values["ageing_searched"]}
    for budget, added in (("none", 0), ("fast", 2), ("full", 3)):  # what the server adds where it searches
        at_full_strength = budgets[budget]["strengths"]["1"]
        assert list(at_full_strength["targets"]) == [*LABELS, "25", "45"]
        assert at_full_strength["error"] == added  # of the targets in years alone: centres of groups are rounded here
        assert [row["judged"] for row in at_full_strength["targets"].values()] == [
            level + added for level in (9, 24, 34, 44, 54, 70, 25, 45)
        ]
        assert at_full_strength["targets"]["30-39"]["error"] == abs(added - 0.5)
        assert at_full_strength["faces"]["measured"] == 5
        assert set(at_full_strength["groups"]) == {"decade", "gender", "ethnicity"}
    assert "| age_cgan | 1 | 5 (left out: 1 NO_FACE) | 0.0 |" in text
    assert "| age_cgan, full search | 1 | 5 (left out: 1 NO_FACE) | 3.0 |" in text


def test_the_distance_from_real_faces(whole: Whole) -> None:
    metrics, text, _ = whole
    values = metrics["age_cgan"]["frechet"]
    assert (values["features"], values["faces"], values["dimensions"]) == (reidentification.FILE_NAME, 6, 3)
    assert values["distance"] >= 0
    assert values["floor"] > 0
    assert f"`{reidentification.FILE_NAME}`, between 6 generated faces" in text


def test_the_picture_has_the_groups_drawn_from_the_latent_that_keeps_the_identity(whole: Whole) -> None:
    _, _, picture = whole
    step = 96 + 4
    assert picture.shape == (20 + 5 * step, 4 + (5 + 6) * step, 3)
    centres = picture[20 + 48 :: step, 4 + 48 :: step].astype(int)
    assert (centres[:, 1] == (255, 0, 0)).all()  # initial
    assert (centres[:, [2, 3, 4]] == centres[:, :1]).all()  # the crop, which "original" is, too
    steps = 11  # the latent's first number in the mode identity: so many levels redder, and less blue
    expected = np.asarray(GREYS)[:, None] + np.array([steps, 0, -steps])
    assert (centres[:, 5:] == expected.clip(0)).all()


def test_parts_that_need_no_server(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    network, out = save_pooling(tmp_path / "network.onnx"), tmp_path / "out.json"
    options = ["--part", "frechet", "--features", network, "--features-range", "0..255", "--out", out]
    result = evaluate(*options, "--features-sha256", sha256_of(network), at=None)
    assert result.exit_code == 0, result.output
    values = json.loads(out.read_text())["age_cgan"]
    assert list(values) == ["frechet"]
    assert values["frechet"]["features"] == "network.onnx"
    assert values["frechet"]["distance"] > 3 * values["frechet"]["floor"]  # dark greys and bright noise
    assert "fewer faces than features" not in result.output


def test_a_bundle_whose_latents_cannot_be_searched(
    evaluate: Callable[..., Result], tmp_path: Path, refused: Callable[..., bool]
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    message = ("latents of age_cgan", "cannot be searched", "--mode initial and --optimisation none")
    assert refused(evaluate(folder=folder), *message, "pixelwise, identity, blended, fast, full")
    assert refused(evaluate("--part", "ageing", folder=folder), *message)
    with serving(GreyServer(load_bundle(folder).sha256)) as address:
        least = ["--mode", "initial", "--optimisation", "none", "--faces", 6, "--picture", tmp_path / "picture.jpg"]
        result = evaluate(*least, "--out", tmp_path / "out.json", folder=folder, at=address)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "out.json").read_text())["age_cgan"]
    assert list(values["reconstruction"]["modes"]) == ["initial"]
    assert "ageing_searched" not in values
    assert cv2.imread(str(tmp_path / "picture.jpg")) is not None


def test_what_it_refuses(
    evaluate: Callable[..., Result], tmp_path: Path, judges: Path, refused: Callable[..., bool]
) -> None:
    for options in (["--part", "ageing"], []):
        result = evaluate(*options, at=None)
        assert result.exit_code == 2
        assert "need --server" in result.output
    result = evaluate("--part", "generation", "--picture", tmp_path / "picture.png")
    assert result.exit_code == 2
    assert "--part reconstruction" in result.output
    assert "must end in .png" in evaluate("--picture", tmp_path / "picture.text").output
    assert refused(evaluate(at="127.0.0.1:1"), "the server at 127.0.0.1:1")
    with serving(GreyServer("another")) as address:
        assert refused(evaluate(at=address), "has another bundle loaded, grey 1", "--bundle")
    assert refused(evaluate(by=tmp_path), faceapi.FILE_NAME, "cannot be opened as a judge of age")
    assert refused(evaluate("--part", "frechet", by=tmp_path, at=None), reidentification.FILE_NAME, "is not there")
    (tmp_path / faceapi.FILE_NAME).write_bytes((judges / faceapi.FILE_NAME).read_bytes())
    assert refused(
        evaluate("--part", "ageing", by=tmp_path), reidentification.FILE_NAME, "cannot be opened as a recogniser"
    )
    assert refused(evaluate("--faces", 1, "--part", "reconstruction"), "reconstructed none of 1 faces (NO_FACE)")


class Painter:
    """A judge that keeps what it is shown, and embeds the mean colour."""

    crop_size = reidentification.CROP_SIZE
    template = reidentification.TEMPLATE

    def __init__(self) -> None:
        self.seen: list[NDArray[np.uint8]] = []

    def embeddings(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen += list(views)
        colours = views.mean(axis=(1, 2))
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., FaceRecord]:
    def photo(name: str, pixels: NDArray[np.uint8], off: float = 0.0, **about: Any) -> FaceRecord:
        cv2.imwrite(str(tmp_path / name), pixels[:, :, ::-1])
        points = tuple((float(x), float(y)) for x, y in POINTS + off)
        return FaceRecord("set", tmp_path, name, "test", 30, 30, landmarks=points, **about)

    return photo


def plain(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((80, 80, 3), colour, dtype=np.uint8)


def test_similarities_of_plain_faces(server: str, judges: Path, photo: Callable[..., FaceRecord]) -> None:
    """Of faces in one colour the similarity to a red one is the cosine of the angle between the colours."""
    colours = [(200, 150, 100), (240, 10, 20), (30, 200, 100)]
    records = [photo("nobody.png", plain((1, 1, 1)))]
    records += [photo(f"{index}.png", plain(colour), gender="Male") for index, colour in enumerate(colours)]
    records += [photo("elsewhere.png", plain((9, 9, 9)), off=60)]
    with Client(server) as client:
        assert client.detect(plain((1, 1, 1))).faces == ()  # the first picture, in which the server sees nobody
        judge = open_identity_judge(judges)
        modes = ("initial", "identity")
        measurements = measure_reconstructions(client, judge, records, "age_cgan", DEFAULT_TEMPLATE, modes, shown=2)
        with pytest.raises(DataError, match="METHOD_UNSUITABLE"):  # no picture is to blame
            measure_reconstructions(client, judge, records[1:], "ages", DEFAULT_TEMPLATE, modes)
    assert (measurements.records, sorted(measurements.skipped)) == (records[1:4], ["ANOTHER_FACE", "NO_FACE"])
    red = [colour[0] / float(np.linalg.norm(colour)) for colour in colours]
    assert np.allclose(measurements.similarity, [[cosine, 1] for cosine in red], atol=1e-4)
    assert np.allclose(measurements.similarity_to_crop, measurements.similarity, atol=1e-4)
    assert np.allclose(measurements.crop_similarity, 1, atol=1e-4)
    assert [face.crop[0, 0].tolist() for face in measurements.shown] == [list(colour) for colour in colours[:2]]
    assert [face.latents[:, 0].tolist() for face in measurements.shown] == [[0, 11]] * 2

    metrics = reconstruction_metrics(measurements, modes, KnownPeople(2, 4, 0.9, 0.95))
    accepted = round(sum(cosine >= 0.9 for cosine in red) / 3, 4)
    assert metrics["modes"]["initial"]["accepted"] == accepted == 0.3333
    assert metrics["modes"]["initial"]["similarity"] == pytest.approx(np.mean(red), abs=1e-4)
    assert metrics["groups"]["gender"]["Male"]["modes"]["identity"] == {"similarity": 1.0, "accepted": 1.0}
    assert reconstruction_metrics(measurements, modes, None)["modes"]["identity"]["accepted"] is None


def test_the_judge_sees_photo_and_crop_alike(server: str, photo: Callable[..., FaceRecord]) -> None:
    """Where the data set has the landmarks, though the server's crop follows landmarks of its own."""
    coarse = np.random.default_rng(1).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (80, 80), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    judge = Painter()
    with Client(server) as client:
        client.detect(plain((1, 1, 1)))
        records = [photo("face.png", smooth, off=4)]
        measure_reconstructions(client, judge, records, "age_cgan", DEFAULT_TEMPLATE, ("identity",))
    of_photo, of_crop, drawing = (view.astype(int)[30:-10, 10:-10] for view in judge.seen)
    assert np.abs(of_photo - of_crop).mean() < 3
    assert (of_crop == drawing).all()
    assert np.abs(of_photo - np.roll(of_crop, 6, axis=1)).mean() > 9  # what two pixels of the crop would do


def test_the_embedded_bundle_by_the_real_judge(reference_data: Path, tmp_path: Path) -> None:
    if not (JUDGES / faceapi.FILE_NAME).is_file():
        pytest.skip("the judges (../shared/judges) are not here")
    out = tmp_path / "out.json"
    options = ["--data", reference_data, "--judges", JUDGES, "--part", "generation", "--generated", 120]
    result = CliRunner().invoke(
        main, ["age-cgan", *map(str, [ROOT / "models" / "default", *options, "--cache", tmp_path, "--out", out])]
    )
    assert result.exit_code == 0, result.output
    values = json.loads(out.read_text())["age_cgan"]["judged_age"]
    assert values["judge_error_on_real"] < 8
    assert values["accuracy"]["real"] > 0.4
    assert values["accuracy"]["generated"] > 0.35
    assert values["span"] > 40
