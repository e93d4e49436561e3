"""What the bench of ways to serve makes of its figures: percentiles, medians, tables."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.serving.figures import median_window, percentile
from bench.serving.pictures import difference
from bench.serving.report import best, share, tables
from bench.serving.results import LIMIT, NETWORKS, Result, Run, Window, read_run, write_run


def window(rate: float, p50: float = 0.1) -> Window:
    return Window(
        requests=100, rate=rate, p50=p50, p99=0.2, cpu=0.05, client_cpu=0.0, memory=5e8, refusals=0, others=0.02
    )


@pytest.fixture
def run() -> Run:
    """The limit set up in two ways, a peer at half its rate, the networks alone, and one that failed."""
    results = [
        Result(LIMIT, "slow", {1: window(6.0), 8: window(20.0)}),
        Result(LIMIT, "fast", {1: window(10.0), 8: window(12.0)}),
        Result("peer 1.0", "1 process", {1: window(5.0), 8: window(10.0)}, (1, 12)),
        Result(NETWORKS, "alone", {1: window(25.0, p50=0.04)}),
        Result("broken 2.0", "1 process", failure="no such package"),
    ]
    return Run("a machine", 2, 10.0, 3, results)


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, part) for part in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.99) == 3.0


def test_of_rounds_each_figure_has_its_own_median() -> None:
    median = median_window([window(3.0, 0.1), window(1.0, 0.3), window(2.0, 0.2)])
    assert (median.rate, median.p50, median.requests) == (2.0, 0.2, 100)


def test_the_fastest_way_to_set_up_counts_for_each_number_of_callers(run: Run) -> None:
    assert [result.set_up for result in best(run, 1)] == ["fast", "1 process"]
    assert [result.set_up for result in best(run, 8)] == ["slow", "1 process"]


def test_shares_are_of_the_limit(run: Run) -> None:
    assert [share(best(run, 8), result, 8) for result in best(run, 8)] == [1.0, 0.5]


def test_tables_tell_all_that_was_found(run: Run) -> None:
    said = tables(run)
    assert "| peer 1.0 | 0.50 | 5.00 | 100 | 200 | 50 | – | 500 | 0 | 1 process |" in said
    assert "alone: 40 ms" in said
    assert "The pictures of peer 1.0 (1 process) differ by 1 grey level in 12 pixels." in said
    assert "broken 2.0 (1 process) was not measured: no such package" in said
    assert "Other processes took 2% of the machine's cores at most, 2% at least." in said
    assert said.endswith("a machine; medians of 3 rounds of 10 s.")


def test_a_run_is_read_as_it_was_written(run: Run, tmp_path: Path) -> None:
    write_run(run, tmp_path / "figures.json")
    assert read_run(tmp_path / "figures.json") == run


def test_pictures_differ_by_levels_and_pixels() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    other = picture.copy()
    other[0, :3, 1] += 2
    files = [cv2.imencode(".png", item)[1].tobytes() for item in (picture, other, picture[:2])]
    assert difference(files[0], files[0]) == (0, 0)
    assert difference(files[0], files[1]) == (2, 3)
    assert difference(files[0], files[2]) == (255, 16)
