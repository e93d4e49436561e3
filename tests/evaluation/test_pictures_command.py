"""``dorian-evaluate spots``, ``spectrum``, ``children`` and ``sheet`` against a small server that draws grey images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result

from dorian_evaluation.cli.evaluate import main
from tests.evaluation.grey_server import GreyServer, serving, write_judges


@pytest.fixture
def server() -> Iterator[str]:
    with serving(GreyServer()) as address:
        yield address


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, write_archives: Callable[..., Path]) -> Path:
    """Young and old adults and children of the test split, and known people; one in another split."""
    alone: dict[str, object] = {"split": "test", "identity": ""}
    ages = (22, 25, 28, 62, 66, 70, 3, 4, 5, 7, 8, 9)
    rows = [alone | {"age_low": age, "age_high": age} for age in ages]
    unknown = {"split": "test", "archive": "celeba.zip", "age_low": "", "age_high": ""}
    rows += [unknown | {"identity": name} for name in "aabbcc"]
    return write_archives(tmp_path_factory.mktemp("faces"), [*rows, {"split": "val", "identity": ""}])


@pytest.fixture
def evaluate(server: str, faces: Path, tmp_path: Path) -> Callable[..., Result]:
    def evaluate(command: str, *options: object) -> Result:
        fixed = ["--server", server, "--data", faces]
        return CliRunner().invoke(main, [command, *map(str, [*fixed, *options])])

    return evaluate


def test_spots(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out, table = tmp_path / "spots.json", tmp_path / "spots.md"
    result = evaluate("spots", "--targets", "25 70", "--out", out, "--table", table)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())
    assert metrics["faces"] == {"asked": 6, "measured": 5, "left_out": {"NO_FACE": 1}}
    assert metrics["targets"].keys() == {"25", "70"}
    assert "| 70 |" in table.read_text()


def test_a_spectrum_of_grey_has_nothing(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "spectrum.json"
    result = evaluate("spectrum", "--cache", tmp_path / "cache", "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())
    assert metrics["faces"]["young"]["measured"] == 2
    assert all(band["aged"] == pytest.approx(-1, abs=0.01) for band in metrics["bands"].values())
    assert "| 12-24 |" in result.output


def test_children(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out, judges = tmp_path / "children.json", write_judges(tmp_path)
    result = evaluate("children", "--judges", judges, "--cache", tmp_path / "cache", "--targets", 40, "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())
    assert metrics["people"]["people"] == 3
    assert {name: group["faces"]["asked"] for name, group in metrics["groups"].items()} == {"3-5": 3, "6-12": 3}
    assert all(group["targets"]["40"]["judged"] == 40 for group in metrics["groups"].values())
    assert all(group["targets"]["40"]["eyes"] == 0 for group in metrics["groups"].values())  # all is grey


def test_sheets_have_pages(evaluate: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dorian_evaluation.cli.pictures._PAGE_ROWS", 8)
    result = evaluate("sheet", "--targets", "10 70", "--out", tmp_path / "sheet.jpg")
    assert result.exit_code == 0, result.output
    heights = [cv2.imread(str(tmp_path / name)).shape[0] for name in ("sheet.jpg", "sheet-2.jpg")]
    assert heights == [8 * 406 + 6, 3 * 406 + 6]  # of twelve faces, one has none for the server
    assert "left out: 1 NO_FACE" in result.output


def test_sets_and_splits_are_chosen(evaluate: Callable[..., Result], refused: Callable[..., bool]) -> None:
    assert refused(evaluate("spots", "--only", "fairface"), "no face of the test split is 18 to 70 years old")
    assert evaluate("spots", "--split", "train").exit_code == 2
