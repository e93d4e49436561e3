"""``dorian-evaluate attributes`` and ``cross-age`` on small folders in the layouts of CelebA and CACD."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dorian_evaluation.cli.evaluate import main
from dorian_evaluation.faces.attributes import correlate_attributes
from dorian_evaluation.faces.cross_age import cross_age_metrics
from dorian_evaluation.faces.identities import EmbeddedFaces
from dorian_training.data.celeba import load_attributes
from dorian_training.data.records import split_of
from dorian_training.errors import DataError
from tests.evaluation.grey_server import write_judges
from tests.evaluation.painted_bundle import write_bundle
from tests.training.dataset_layouts import cacd, cells, in_box, paint

NAMES = ("Young", "Attractive", "Gray_Hair", "Chubby", "Male")


def write_celeba(folder: Path) -> Path:
    """Write 16 faces: half are young; of the young 6 are attractive, of the others 2; gray is who is not young; Chubby is
    independent of it, and all are male."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (young, chubby) in enumerate(product((1, -1), (1, -1) * 4)):
        attractive = 1 if index % 8 < (6 if young == 1 else 2) else -1
        rows.append(f"{index + 1:06d}.jpg {young} {attractive} {-young} {chubby} 1")
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), " ".join(NAMES), *rows]) + "\n")
    return folder


def run(command: str, *options: object) -> Result:
    return CliRunner().invoke(main, [command, *map(str, options)])


def test_correlations_are_pearsons() -> None:
    values = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (200, 6))
    assert np.allclose(correlate_attributes(values), np.corrcoef(values.T))
    with pytest.raises(DataError, match="two faces or more"):
        correlate_attributes(values[:1])


def test_attributes_of_a_small_folder(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "CelebA")
    names, values = load_attributes(folder)
    assert (names, values.shape) == (NAMES, (16, 5))
    out, table, chart = (tmp_path / name for name in ("out.json", "out.md", "chart.png"))
    result = run("attributes", folder, "--out", out, "--table", table, "--chart", chart)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())["attributes"]
    # Of two attributes that half of the faces have, the correlation is the share that agrees less the share that does not.
    assert metrics["row"] == {"Attractive": 0.5, "Chubby": 0.0, "Gray_Hair": -1.0, "Male": None}
    assert list(metrics["row"]) == ["Attractive", "Chubby", "Gray_Hair", "Male"]
    assert metrics["matrix"]["Gray_Hair"]["Attractive"] == -0.5
    assert metrics["share"]["Male"] == 1.0
    text = table.read_text()
    assert text in result.output
    assert "| Attractive | 50.0 % | +0.50 | +0.39 |" in text
    assert "| Male | 100.0 % | – | – |" in text
    assert cv2.imread(str(chart)).shape == (900, 1600, 3)
    other = run("attributes", folder, "--attribute", "Gray_Hair")
    assert "| Young | 50.0 % | -1.00 |\n" in other.output
    assert "the report" not in other.output


def test_attributes_in_the_folders_they_are_published_in(tmp_path: Path) -> None:
    write_celeba(tmp_path / "Anno")
    assert load_attributes(tmp_path)[0] == NAMES


def test_attributes_it_refuses(tmp_path: Path, refused: Callable[..., bool]) -> None:
    assert refused(run("attributes", tmp_path), "list_attr_celeba.txt")
    folder = write_celeba(tmp_path / "CelebA")
    assert refused(run("attributes", folder, "--attribute", "Old"), "no attribute 'Old'", "Young, Attractive")
    assert refused(run("attributes", folder, "--chart", tmp_path / "chart.text"), "cannot be drawn")
    with (folder / "list_attr_celeba.txt").open("a") as file:
        file.write("000017.jpg 1 0 1 1 1\n")
    assert refused(run("attributes", folder), "000017.jpg", "1 or -1")
    (folder / "list_attr_celeba.txt").write_text("0\n\n")
    assert refused(run("attributes", folder), "names no attributes")


def test_photos_of_one_person_by_the_years_between_them() -> None:
    angles = np.radians([0, 10, 60, 90, 270])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    faces = EmbeddedFaces(vectors, np.array([0, 0, 0, 1, 1]))
    found = cross_age_metrics(faces, np.array([20.0, 22, 50, 30, 34]))
    assert list(found["spans"]) == ["0-2", "3-5", "21-120"]
    assert found["spans"]["0-2"]["similarity"] == pytest.approx(np.cos(np.radians(10)), abs=1e-4)
    assert found["spans"]["3-5"] == {"pairs": 1, "similarity": -1.0, "accepted": 0.0}
    assert found["spans"]["21-120"]["pairs"] == 2
    assert found["spans"]["21-120"]["similarity"] == pytest.approx(np.cos(np.radians([60, 50])).mean(), abs=1e-4)
    assert found["different"]["pairs"] == 6
    assert found["threshold"] == pytest.approx(np.cos(np.radians(30)), abs=1e-4)  # of the most alike different people


def test_cross_age_pairs_of_cacd(tmp_path: Path, refused: Callable[..., bool]) -> None:
    tested = [number for number in range(1, 400) if split_of(str(number)) == "test"][:2]
    people = [(20, tested[0]), (28, tested[0]), (40, tested[1]), (41, tested[1]), (62, tested[1])]
    names = [f"{age}_Some_One_{index:04d}.jpg" for index, (age, _) in enumerate(people)]
    for name in names:
        paint(tmp_path / "CACD" / "CACD2000" / name, 250, 250, in_box((51, 65, 148, 148)))
    cacd(
        tmp_path / "CACD",
        age=np.asarray([age for age, _ in people], np.uint8)[:, None],
        identity=np.asarray([identity for _, identity in people], np.uint16)[:, None],
        name=cells(names).T,
    )
    bundle, judges = write_bundle(tmp_path / "bundle"), tmp_path / "judges"
    judges.mkdir()
    write_judges(judges)
    fixed = [bundle, "--data", f"cacd:{tmp_path / 'CACD'}", "--judges", judges, "--cache", tmp_path / "cache"]
    out = tmp_path / "out.json"
    result = run("cross-age", *fixed, "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads(out.read_text())["cross_age"]
    assert (metrics["people"], metrics["faces"]) == (2, 5)
    for values in metrics["recognisers"].values():
        assert {span: found["pairs"] for span, found in values["spans"].items()} == {
            "0-2": 1,
            "6-10": 1,
            "21-120": 2,
        }
        assert values["different"]["pairs"] == 6
    assert "| judge | 21-120 | 2 |" in result.output
    assert refused(run("cross-age", *fixed, "--split", "val"), "no face of the val split")
