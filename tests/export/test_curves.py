"""Learning curves: from TensorBoard events, thinned, kept as CSV, drawn."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import pytest
from torch.utils.tensorboard import SummaryWriter

from dorian_export.curves import CURVES_FILE, Curves, draw_curves, read_curves, write_curves


def log(folder: Path, name: str, values: list[float], every: int = 10) -> None:
    with SummaryWriter(folder) as writer:
        for index, value in enumerate(values, start=1):
            writer.add_scalar(name, value, index * every)


def test_short_curves_are_read_as_they_are(tmp_path: Path) -> None:
    log(tmp_path, "d/real", [0.5, 0.25, 1.5])
    log(tmp_path, "e/pairs", [2.0])
    assert read_curves(tmp_path) == {"d/real": [(10, 0.5), (20, 0.25), (30, 1.5)], "e/pairs": [(10, 2.0)]}


def test_long_curves_are_thinned_by_averaging(tmp_path: Path) -> None:
    values = [float(math.sin(index) + index / 50) for index in range(450)]
    log(tmp_path, "g/adversarial", values)
    points = read_curves(tmp_path)["g/adversarial"]
    assert [step for step, _ in points] == list(range(30, 4501, 30))  # of 200 at most: three by three
    for index in (0, 70, 149):
        assert points[index][1] == pytest.approx(sum(values[3 * index : 3 * index + 3]) / 3, rel=1e-5)


@pytest.mark.parametrize(("count", "left", "last"), [(200, 200, 1), (201, 101, 1), (400, 200, 2)])
def test_at_most_200_points_and_none_lost(tmp_path: Path, count: int, left: int, last: int) -> None:
    values = [float(index % 7) for index in range(count)]
    log(tmp_path, "d/fake", values, every=1)
    points = read_curves(tmp_path)["d/fake"]
    assert len(points) == left
    assert points[-1] == (count, pytest.approx(sum(values[-last:]) / last))


def test_a_table_goes_there_and_back(tmp_path: Path) -> None:
    curves: Curves = {"d/real": [(1, 0.5), (20, 1.25e-7)], 'odd, "name"': [(3, -2.0), (2, 1e9)]}
    write_curves(tmp_path / CURVES_FILE, curves)
    assert read_curves(tmp_path) == curves
    assert (tmp_path / CURVES_FILE).read_text().splitlines()[:2] == ["name,step,value", "d/real,1,0.5"]


def test_values_are_rounded_to_five_figures(tmp_path: Path) -> None:
    write_curves(tmp_path / CURVES_FILE, {"d/real": [(1, 1 / 3), (2, 123456.7)]})
    assert read_curves(tmp_path)["d/real"] == [(1, 0.33333), (2, 123460.0)]


def test_a_table_comes_before_events(tmp_path: Path) -> None:
    log(tmp_path, "d/real", [0.5])
    write_curves(tmp_path / CURVES_FILE, {"d/real": [(1, 9.0)]})
    assert read_curves(tmp_path) == {"d/real": [(1, 9.0)]}


def test_a_folder_without_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}
    write_curves(tmp_path / CURVES_FILE, {})
    assert read_curves(tmp_path) == {}


def test_a_panel_for_each_network(tmp_path: Path) -> None:
    widths = []
    for names in (["d/real"], ["d/real", "d/fake"], ["d/real", "g/adversarial", "e/pairs"]):
        draw_curves(tmp_path / "curves.png", {name: [(1, 0.5), (2, 0.25), (3, 1.0)] for name in names})
        picture = cv2.imread(str(tmp_path / "curves.png"))
        assert picture is not None
        assert picture.shape[0] == 300
        assert picture.std() > 5
        widths.append(picture.shape[1])
    assert widths == [400, 400, 1200]
