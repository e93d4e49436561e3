"""Writes docs/performance.md and its charts from a run's figures: ``python -m bench.serving.document FILE.json``."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.serving.charts import draw_costs, draw_rates
from bench.serving.report import tables
from bench.serving.results import read_run
from bench.serving.task import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
IMAGES = """![Requests a second, as shares of the limit](performance/rates.png)

![Latency, processor time and memory](performance/costs.png)"""
BEGIN, END = "<!-- figures of make bench: begin -->", "<!-- figures of make bench: end -->"


def between_marks(page: str, figures: str) -> str:
    """``page`` with ``figures`` in place of what stands between the marks. ``ValueError`` if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{BEGIN} and {END} are not both there")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def main() -> None:
    (file,) = sys.argv[1:]
    run = read_run(Path(file))
    draw_rates(run, CHARTS / "rates.png")
    draw_costs(run, CHARTS / "costs.png")
    PAGE.write_text(between_marks(PAGE.read_text(), f"{IMAGES}\n\n{tables(run)}"))


if __name__ == "__main__":
    main()
