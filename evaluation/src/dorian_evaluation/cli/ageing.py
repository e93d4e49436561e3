"""``dorian-evaluate ageing``: what the users of a server get, measured by independent judges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dorian_bundle import BundleError
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_training.cli.config import DEFAULT_CACHE
from dorian_training.cli.options import AGE_JUDGE, RECOGNISER, data_option, judges_option, targets_option
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError, TrainingError

if TYPE_CHECKING:
    from dorian_evaluation.ageing.sheet import Row

_NEW_FILE = click.Path(path_type=Path, dir_okay=False)
_ROWS = 12  # of a sheet
_ROW_HEIGHT = 176  # pixels


@click.command("ageing")
@click.option("--server", required=True, metavar="HOST:PORT", help="The server to measure.")
@data_option("Real faces: those of the test split whose age is known are aged, known people are compared.")
@judges_option()
@click.option("--method", "methods", multiple=True, help="Once per method; the server's default if none is named.")
@click.option(
    "--strength", "strengths", type=click.FloatRange(0, 1.5), multiple=True, default=(1.0,), help="Once per strength."
)
@click.option("--faces", type=click.IntRange(1), default=600, help="Faces to age.")
@targets_option("10 25 35 45 55 70")
@click.option("--seed", type=int, default=0, help="Of the draw of faces.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what is cut is kept.")
@click.option("--out", type=_NEW_FILE, help="Where to write the figures, as JSON.")
@click.option("--table", type=_NEW_FILE, help="Where to write them as tables.")
@click.option("--chart", type=_NEW_FILE, help="Where to draw error against similarity, as a PNG or JPEG.")
@click.option(
    "--sheet", type=_NEW_FILE, help=f"Where to show the first {_ROWS} faces, as a JPEG; one per method and strength."
)
@click.option("--sheet-source", metavar="NAME", help="Show only faces of this set, as fairface.")
def evaluate_ageing(
    server: str,
    sources: tuple[str, ...],
    judges: Path,
    methods: tuple[str, ...],
    strengths: tuple[float, ...],
    out: Path | None,
    table: Path | None,
    chart: Path | None,
    **options: Any,
) -> None:
    """How old faces look that a server has aged, and whether they stayed the same people.

    \b
    dorian-evaluate ageing --server localhost:50051 --data faces/ --judges judges/ --strength 0.5 --strength 1 \\
      --out ageing.json --table ageing.md --chart ageing.png
    """
    try:
        # These need the SDK and ONNX Runtime, extras of this package.
        from dorian_evaluation.ageing.chart import draw_chart
        from dorian_evaluation.ageing.report import ageing_markdown
    except ImportError as error:
        raise click.ClickException(f"measuring a server needs dorian-client and onnxruntime: {error}") from error

    try:
        records = [record for record in load_sources(sources) if record.split == "test"]
        figures, sheets = _measured(server, records, judges, methods, tuple(dict.fromkeys(strengths)), options)
        text = ageing_markdown(figures)
        click.echo(text)
        if out:
            out.write_text(json.dumps(figures, indent=2) + "\n")
        if table:
            table.write_text(text)
        if chart:
            draw_chart(chart, figures)
        if options["sheet"]:
            _show(options["sheet"], sheets)
    except (BundleError, TrainingError) as error:
        raise click.ClickException(str(error)) from error


def _measured(
    server: str,
    records: Sequence[FaceRecord],
    folder: Path,
    names: Sequence[str],
    strengths: Sequence[float],
    options: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """The figures of every method and strength, by the method's name, and the rows of a sheet of each."""
    from dorian_evaluation.ageing.metrics import ageing_figures
    from dorian_evaluation.ageing.readings import Judges, read_aged, read_people, read_real
    from dorian_evaluation.ageing.service import AgeingService
    from dorian_evaluation.ageing.targets import Aim, age_aims, drawn_faces
    from dorian_evaluation.judges.age_judge import AgeJudge
    from dorian_evaluation.judges.identity_judge import IdentityJudge

    with AgeingService(server) as service:
        bundle = service.bundle()
        methods = [bundle.method(name) for name in dict.fromkeys(names or (None,))]
        faces = drawn_faces(records, options["faces"], options["seed"])
        shown = _shown(faces, options)
        judges = Judges(AgeJudge(folder / AGE_JUDGE), IdentityJudge(folder / RECOGNISER))
        real = read_real(judges.age, [record for record in records if record.age is not None], options["targets"])
        known = read_people(judges.identity, records, options["cache"].expanduser())
        figures: dict[str, Any] = {}
        sheets: dict[str, list[Row]] = {}
        for method in methods:
            aims = age_aims(options["targets"]) if method.draws_ages else tuple(map(Aim, method.filters))
            found = {}
            for strength in strengths:
                readings = read_aged(service, judges, faces, method, aims, strength, shown)
                found[f"{strength:g}"] = ageing_figures(readings, aims, real, known)
                sheets[f"-{method.name}-{strength:g}"] = readings.rows
            figures[method.name] = {
                "ageing": {
                    "bundle": bundle.figures(),
                    "seed": options["seed"],
                    "people": known.figures() if known else None,
                    "strengths": found,
                }
            }
    return figures, sheets


def _shown(faces: Sequence[FaceRecord], options: dict[str, Any]) -> tuple[str | None, int]:
    """Of which source, and how many faces, a sheet is to show; ``DataError`` if none of ``faces`` is of it."""
    source = options["sheet_source"]
    if options["sheet"] and source and source not in {face.source for face in faces}:
        raise DataError(f"--sheet-source {source}: none of the faces is of this set")
    return source, _ROWS if options["sheet"] else 0


def _show(sheet: Path, rows: dict[str, list[Row]]) -> None:
    from dorian_evaluation.ageing.sheet import write_sheet

    for suffix, its in rows.items():
        path = sheet if len(rows) == 1 else sheet.with_stem(sheet.stem + suffix)
        write_sheet(path, its, DEFAULT_TEMPLATE, _ROW_HEIGHT)
