"""``dorian-evaluate ageing``: what users of a server get, measured by independent judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_evaluation.ageing.chart import draw_chart
from dorian_evaluation.ageing.measurements import Judges, measure_aged_faces, measure_real_faces
from dorian_evaluation.ageing.metrics import ageing_metrics
from dorian_evaluation.ageing.people import measure_real_people, people_metrics
from dorian_evaluation.ageing.report import render_ageing
from dorian_evaluation.ageing.sheet import Row, write_sheet
from dorian_evaluation.ageing.targets import Target, age_targets, sample_faces
from dorian_evaluation.cli.options import OUTPUT_FILE, cache_option, judges_option, targets_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_evaluation.faces.identities import measure_people
from dorian_evaluation.judges import open_age_judge, open_identity_judge
from dorian_evaluation.server_calls import connect, draws_ages, fetch_bundle, find_method
from dorian_training.cli.options import data_option
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError

_SHEET_ROWS = 12
_ROW_HEIGHT = 176  # pixels


@dataclass(frozen=True, kw_only=True)
class AgeingOptions:
    """The options of ``dorian-evaluate ageing``."""

    server: str
    sources: tuple[str, ...]
    judges: Path
    methods: tuple[str, ...]
    strengths: tuple[float, ...]
    faces: int
    targets: tuple[float, ...]
    seed: int
    cache: Path
    out: Path | None
    table: Path | None
    chart: Path | None
    sheet: Path | None
    sheet_source: str | None


@click.command("ageing")
@click.option("--server", required=True, metavar="HOST:PORT", help="The server to measure.")
@data_option("Real faces of the test split: those of known age are aged, those of known people are compared.")
@judges_option()
@click.option("--method", "methods", multiple=True, help="Method; once per method. The server's default unless given.")
@click.option(
    "--strength",
    "strengths",
    type=click.FloatRange(0, 1.5),
    multiple=True,
    default=(1.0,),
    help="Strength of the change; once per strength.",
)
@click.option("--faces", type=click.IntRange(1), default=600, help="Faces to age.")
@targets_option("10 25 35 45 55 70")
@click.option("--seed", type=int, default=0, help="Seed of the sample of faces.")
@cache_option()
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
@click.option("--chart", type=OUTPUT_FILE, help="Draw error against similarity in this PNG or JPEG file.")
@click.option(
    "--sheet",
    type=OUTPUT_FILE,
    help=f"Show the first {_SHEET_ROWS} faces in this JPEG file; one file per method and strength.",
)
@click.option("--sheet-source", metavar="NAME", help="Show only faces of this data set, such as fairface.")
def evaluate_ageing(**options: Any) -> None:
    """Measure how old faces look after ageing by a server, and whether they still look like the same people.

    \b
    Examples:
      dorian-evaluate ageing --server localhost:50051 --data faces/ --judges judges/ --out ageing.json
      dorian-evaluate ageing --server localhost:50051 --data faces/ --judges judges/ \\
        --strength 0.5 --strength 1 --targets "25 45 65" --table ageing.md --chart ageing.png
    """
    config = AgeingOptions(**options)
    with click_errors():
        metrics, sheets = _measure(config)
        write_report(render_ageing(metrics), metrics, config.out, config.table)
        if config.chart:
            draw_chart(config.chart, metrics)
        if config.sheet:
            _write_sheets(config.sheet, sheets)


def _measure(options: AgeingOptions) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """Return the metrics of every method and strength by method, and the rows of a sheet of each by the file's suffix."""
    all_records = load_sources(options.sources)
    records = [record for record in all_records if record.split == "test"]
    with connect(options.server) as client:
        bundle = fetch_bundle(client)
        methods = [find_method(bundle, name) for name in dict.fromkeys(options.methods or (None,))]
        faces = sample_faces(records, options.faces, options.seed)
        shown = _rows_to_show(faces, options)
        judges = Judges(open_age_judge(options.judges), open_identity_judge(options.judges))
        real = measure_real_faces(judges.age, records, options.targets)
        # Of all splits: no network of ours draws them, and of some people the test split alone has but a handful of an age.
        real_people = measure_real_people(judges.age, all_records, options.targets)
        people = measure_people(judges.identity, records, options.cache)
        metrics: dict[str, Any] = {}
        sheets: dict[str, list[Row]] = {}
        for method in methods:
            filters = tuple(Target(filter.name) for filter in method.filters)
            targets = age_targets(options.targets) if draws_ages(method) else filters
            by_strength = {}
            for strength in dict.fromkeys(options.strengths):
                measurements = measure_aged_faces(client, judges, faces, method, targets, strength, shown)
                by_strength[f"{strength:g}"] = ageing_metrics(measurements, targets, real, people) | {
                    "ethnicity_gender": people_metrics(measurements, targets, real_people)
                }
                sheets[f"-{method.name}-{strength:g}"] = measurements.rows
            metrics[method.name] = {
                "ageing": {
                    "bundle": {"name": bundle.name, "version": bundle.version},
                    "seed": options.seed,
                    "people": people.as_metrics() if people else None,
                    "strengths": by_strength,
                }
            }
    return metrics, sheets


def _rows_to_show(faces: Sequence[FaceRecord], options: AgeingOptions) -> tuple[str | None, int]:
    """Return of which data set, and how many faces, a sheet shows; raise DataError if there are none."""
    source = options.sheet_source
    if options.sheet and source and source not in {face.source for face in faces}:
        raise DataError(f"--sheet-source {source}: none of the faces is of this set")
    return source, _SHEET_ROWS if options.sheet else 0


def _write_sheets(path: Path, sheets: Mapping[str, Sequence[Row]]) -> None:
    for suffix, rows in sheets.items():
        sheet_path = path if len(sheets) == 1 else path.with_stem(path.stem + suffix)
        write_sheet(sheet_path, rows, DEFAULT_TEMPLATE, _ROW_HEIGHT)
