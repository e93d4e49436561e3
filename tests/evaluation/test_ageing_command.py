"""``dorian-evaluate ageing`` against a small server that draws grey images, and a judge of their brightness."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dorian_client import Client
from dorian_evaluation.ageing.aged_face import age_face
from dorian_evaluation.ageing.targets import Target
from dorian_evaluation.cli.evaluate import main
from dorian_evaluation.server_calls import SkippedFace
from dorian_training.errors import DataError
from tests.evaluation.grey_server import GreyServer, serving, write_judges
from tests.evaluation.painted_bundle import POINTS


@pytest.fixture
def server() -> Iterator[str]:
    with serving(GreyServer()) as address:
        yield address


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    """Grown people, a child and known people in the test split, and someone in another."""
    alone: dict[str, object] = {"split": "test", "identity": ""}
    rows = [alone | {"age_low": age, "age_high": age, "gender": g} for age in (25, 45, 65) for g in ("Male", "Female")]
    rows += [alone | {"archive": "fairface.zip", "age_low": 30, "age_high": 39}, alone | {"age_low": 8, "age_high": 8}]
    unknown = {"split": "test", "archive": "celeba.zip", "age_low": "", "age_high": ""}
    rows += [unknown | {"identity": name} for name in "aabbcc"]
    return write_archives(tmp_path_factory.mktemp("faces"), [*rows, {"split": "val", "identity": ""}])


@pytest.fixture
def evaluate(server: str, judges: Path, faces: Path, tmp_path: Path) -> Callable[..., Result]:
    def evaluate(*options: object, at: str = server, data: Path = faces) -> Result:
        fixed = ["--server", at, "--data", data, "--judges", judges, "--cache", tmp_path / "cache"]
        return CliRunner().invoke(main, ["ageing", *map(str, [*fixed, *options])])

    return evaluate


def test_ages_and_filters(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    files = {name: tmp_path / f"ageing.{name}" for name in ("json", "md", "png", "jpg")}
    outputs = ["--out", files["json"], "--table", files["md"], "--chart", files["png"], "--sheet", files["jpg"]]
    both = ["--method", "ages", "--method", "filters", "--strength", 1, "--strength", 0.5]
    result = evaluate(*both, "--targets", "25, 45 60", *outputs)
    assert result.exit_code == 0, result.output
    metrics = json.loads(files["json"].read_text())
    assert list(metrics) == ["ages", "filters"]

    about = metrics["ages"]["ageing"]
    assert about["bundle"] == {"name": "grey", "version": "1"}
    assert (about["people"]["people"], about["people"]["faces"]) == (3, 6)
    assert list(about["strengths"]) == ["1", "0.5"]
    at_full_strength = about["strengths"]["1"]
    assert at_full_strength["faces"] == {"asked": 7, "measured": 6, "left_out": {"NO_FACE": 1}}
    assert [values["judged"] for values in at_full_strength["targets"].values()] == [25.0, 45.0, 60.0]
    assert at_full_strength["error"] == 0.0
    assert at_full_strength["targets"]["45"]["real_faces"] == 2  # the bracket's middle, 34.5, is too far
    assert "off" in at_full_strength["targets"]["25"]
    assert (
        len({values["similarity"] for values in at_full_strength["targets"].values()}) == 1
    )  # a grey has no colour, however bright
    assert at_full_strength["unchanged"] == {"faces": 6, "face": 1.0, "picture": round(70 * 70 / 80**2, 3)}
    assert sum(row["faces"] for row in at_full_strength["groups"]["decade"].values()) == 6
    assert sum(row["faces"] for row in at_full_strength["ethnicity_gender"].values()) == 6

    young = metrics["filters"]["ageing"]["strengths"]["0.5"]["targets"]["young"]
    assert (young["judged"], "error" in young) == (20.0, False)
    text = files["md"].read_text()
    assert text in result.output
    assert "| ages | 1 | 6 (left out: 1 NO_FACE) | 0.0 |" in text
    assert "| filters | 0.5 | 6 (left out: 1 NO_FACE) | – |" in text
    assert "| young | 20.0 | – |" in text
    assert cv2.imread(str(files["png"])) is not None
    sheet = cv2.imread(str(tmp_path / "ageing-filters-0.5.jpg"))
    assert sheet is not None
    assert sheet.shape[0] == 6 * (176 + 6) + 6


def test_the_default_method_and_one_set_on_the_sheet(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jpg"
    result = evaluate("--faces", 7, "--targets", 25, "--sheet", sheet, "--sheet-source", "utkface")
    assert result.exit_code == 0, result.output
    assert "| ages | 1 |" in result.output
    assert sheet.is_file()


def test_a_picture_that_cannot_be_read_is_counted(evaluate: Callable[..., Result], faces: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(faces, tmp_path / "faces"))
    with ZipFile(folder / "fairface.zip", "w") as archive:
        archive.writestr("6.png", "text")
    result = evaluate("--targets", 25, "--out", tmp_path / "ageing.json", data=folder)
    assert result.exit_code == 0, result.output
    counts = json.loads((tmp_path / "ageing.json").read_text())["ages"]["ageing"]["strengths"]["1"]["faces"]
    assert counts["asked"] == counts["measured"] + 2
    assert counts["left_out"] == {"NO_FACE": 1, "UNREADABLE": 1}


def test_what_it_refuses(
    evaluate: Callable[..., Result], tmp_path: Path, judges: Path, refused: Callable[..., bool]
) -> None:
    assert refused(evaluate("--method", "oil"), "no method 'oil'", "ages, filters, age_cgan")
    assert refused(evaluate("--sheet", tmp_path / "sheet.jpg", "--sheet-source", "imdb"), "--sheet-source imdb")
    assert refused(evaluate(at="127.0.0.1:1"), "the server at 127.0.0.1:1")
    assert refused(evaluate("--faces", 1), "aged none of 1 faces (NO_FACE)")
    assert evaluate("--targets", "young").exit_code == 2
    assert evaluate("--targets", " ").exit_code == 2


def test_faces_that_a_server_does_not_mean(server: str) -> None:
    photo = np.full((80, 80, 3), 90, dtype=np.uint8)
    with Client(server) as client:
        assert age_face(client, photo, POINTS, [Target("25", 25)], "ages", 1.0) == SkippedFace("NO_FACE")
        away = POINTS + 60
        assert age_face(client, photo + np.uint8(1), away, [Target("25", 25)], "ages", 1.0) == SkippedFace(
            "ANOTHER_FACE"
        )
        with pytest.raises(DataError, match="refused: TARGET_UNSUITABLE"):  # no picture is to blame
            age_face(client, photo + np.uint8(1), POINTS, [Target("25", 25)], "filters", 1.0)
