"""``dorian-evaluate spots``, ``spectrum``, ``children`` and ``sheet``: what people see of a change, measured and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_client import BundleInfo, Client, Method
from dorian_evaluation.ageing.aligned_faces import CROP_SIZE, AlignedFace, age_faces
from dorian_evaluation.ageing.children import CHILDREN, child_metrics, measure_child
from dorian_evaluation.ageing.measurements import Judges
from dorian_evaluation.ageing.sheet import Row, write_sheet
from dorian_evaluation.ageing.spectrum import crop_energies, spectrum_metrics
from dorian_evaluation.ageing.spots import SPOT_LEVELS, spot_counts, spot_metrics
from dorian_evaluation.ageing.targets import age_targets, count_faces, find_faces_of_age, sample_faces
from dorian_evaluation.cli.options import OUTPUT_FILE, cache_option, judges_option, targets_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_evaluation.faces.identities import measure_people
from dorian_evaluation.judges import open_age_judge, open_identity_judge
from dorian_evaluation.rendering import render
from dorian_evaluation.server_calls import connect, fetch_bundle, find_method
from dorian_training.cli.options import Command, data_option
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources

_ALL_AGES = (0.0, 120.0)  # years
_YOUNG, _OLD = (18.0, 29.9), (60.0, 120.0)  # years, of the faces whose spectra are compared
_PAGE_ROWS = 12  # faces on one page of a sheet
_ROW_HEIGHT = 400  # pixels


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options that all four commands share."""

    server: str
    sources: tuple[str, ...]
    method: str | None
    strength: float
    split: str
    only: tuple[str, ...]
    faces: int
    seed: int


def _shared_options(faces: int) -> Callable[[Command], Command]:
    """Return the options of ``_Options``, with ``faces`` to age unless it is given."""
    options = (
        click.option("--server", required=True, metavar="HOST:PORT", help="The server to measure."),
        data_option("Real faces."),
        click.option("--method", help="Method; the server's default unless given."),
        click.option("--strength", type=click.FloatRange(0, 1.5), default=1.0, help="Strength of the change."),
        click.option("--split", type=click.Choice(["val", "test"]), default="test", help="Which faces are used."),
        click.option("--only", multiple=True, metavar="SET", help="Use faces of this set alone; once per set."),
        click.option("--faces", type=click.IntRange(1), default=faces, help="Faces to age; of each span of ages."),
        click.option("--seed", type=int, default=0, help="Seed of the sample of faces."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _report_options(command: Command) -> Command:
    table = click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
    return click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file.")(table(command))


def _shared(options: dict[str, Any]) -> _Options:
    """Take the shared options out of a command's."""
    return _Options(**{name: options.pop(name) for name in _Options.__dataclass_fields__})


def _load_records(options: _Options) -> list[FaceRecord]:
    records = [record for record in load_sources(options.sources) if record.split == options.split]
    return [record for record in records if not options.only or record.source in options.only]


@contextmanager
def _open_method(options: _Options) -> Iterator[tuple[Client, Method, dict[str, Any]]]:
    """Yield a client, the method, and what reports say of both; raise errors as click's."""
    with click_errors(), connect(options.server) as client:
        bundle: BundleInfo = fetch_bundle(client)
        method = find_method(bundle, options.method)
        about = {"bundle": {"name": bundle.name, "version": bundle.version}, "method": method.name}
        yield client, method, about | {"strength": options.strength, "split": options.split}


@click.command("spots")
@_shared_options(200)
@targets_option("25 70")
@_report_options
def evaluate_spots(targets: tuple[float, ...], out: Path | None, table: Path | None, **options: Any) -> None:
    """Count the dark and bright spots that a change of age makes on adults' faces, off their features."""
    shared = _shared(options)
    with _open_method(shared) as (client, method, about):
        faces = sample_faces(_load_records(shared), shared.faces, shared.seed)
        goals, skipped = age_targets(targets), list[str]()
        aged = age_faces(client, faces, method, goals, shared.strength, skipped, keep_hair=True)
        counts = [spot_counts(face) for face in aged]
        metrics = about | {"faces": count_faces(len(counts), skipped), "targets": spot_metrics(counts, goals)}
        write_report(render("spots", levels=SPOT_LEVELS, **metrics), metrics, out, table)


@click.command("spectrum")
@_shared_options(150)
@click.option("--young", type=click.FloatRange(1, 120), default=25.0, help="Target of the old, in years.")
@click.option("--old", type=click.FloatRange(1, 120), default=70.0, help="Target of the young, in years.")
@cache_option()
@_report_options
def evaluate_spectrum(
    young: float, old: float, cache: Path, out: Path | None, table: Path | None, **options: Any
) -> None:
    """Compare the fine structure of aged and rejuvenated skin with real faces', by band of frequencies."""
    shared = _shared(options)
    with _open_method(shared) as (client, method, about):
        records = _load_records(shared)
        energies, counts = {}, {}
        for name, span, target in (("young", _YOUNG, old), ("old", _OLD, young)):
            faces, skipped = sample_faces(records, shared.faces, shared.seed, span), list[str]()
            aged = age_faces(client, faces, method, age_targets([target]), shared.strength, skipped)
            table_of = np.stack([crop_energies(face.crops) for face in aged])  # (faces, 2, bands)
            energies[name], counts[name] = table_of.transpose(1, 0, 2), count_faces(len(table_of), skipped)
        indices, window = find_faces_of_age(records, old)
        real = cut_crops([records[index] for index in indices], CROP_SIZE, cache.expanduser())
        (as_young, aged_young), (as_old, aged_old) = energies["young"], energies["old"]
        bands = spectrum_metrics(as_young, aged_young, crop_energies(real.pixels), as_old, aged_old)
        metrics = about | {"ages": {"young": young, "old": old}, "faces": counts, "bands": bands}
        metrics["real"] = {"faces": len(real), "window": window}
        write_report(render("spectrum", **metrics), metrics, out, table)


@click.command("children")
@_shared_options(60)
@judges_option()
@targets_option("25 40 55 70")
@cache_option()
@_report_options
def evaluate_children(
    judges: Path, targets: tuple[float, ...], cache: Path, out: Path | None, table: Path | None, **options: Any
) -> None:
    """Measure children made older: whether they are still themselves, keep their eyes and have no dark spots."""
    shared = _shared(options)
    with _open_method(shared) as (client, method, about):
        records, goals = _load_records(shared), age_targets(targets)
        opened = Judges(open_age_judge(judges), open_identity_judge(judges))
        people = measure_people(
            opened.identity, [r for r in load_sources(shared.sources) if r.split == shared.split], cache
        )
        threshold = people.threshold if people else None
        groups = {}
        for name, span in CHILDREN.items():
            faces, skipped = sample_faces(records, shared.faces, shared.seed, span), list[str]()
            aged = age_faces(client, faces, method, goals, shared.strength, skipped)
            kept = age_faces(client, faces, method, goals, shared.strength, [], keep_hair=True)
            children = [measure_child(*child, opened) for child in zip(aged, kept, strict=True)]
            groups[name] = {
                "faces": count_faces(len(children), skipped),
                "targets": child_metrics(children, goals, threshold),
            }
        metrics = about | {"people": people.as_metrics() if people else None, "groups": groups}
        write_report(render("children", **metrics), metrics, out, table)


@click.command("sheet")
@_shared_options(48)
@targets_option("10 25 40 55 70")
@click.option("--out", type=OUTPUT_FILE, required=True, help="JPEG file; further pages get -2, -3 … behind its name.")
def write_sheets(targets: tuple[float, ...], out: Path, **options: Any) -> None:
    """Show faces of all groups at several ages, 400 pixels a face, to be looked at before a figure is believed."""
    shared = _shared(options)
    with _open_method(shared) as (client, method, _):
        faces = sample_faces(_load_records(shared), shared.faces, shared.seed, _ALL_AGES)
        skipped, rows, page = list[str](), list[Row](), 1
        for face in age_faces(client, faces, method, age_targets(targets), shared.strength, skipped):
            rows.append(_row(face))
            if len(rows) == _PAGE_ROWS:
                _write_page(out, rows, page)
                rows, page = [], page + 1
        if rows:
            _write_page(out, rows, page)
    for reason in sorted(set(skipped)):
        click.echo(f"left out: {skipped.count(reason)} {reason}")


def _row(face: AlignedFace) -> Row:
    return Row(face.images, [face.face.landmarks])


def _write_page(out: Path, rows: list[Row], page: int) -> None:
    path = out if page == 1 else out.with_stem(f"{out.stem}-{page}")
    write_sheet(path, rows, DEFAULT_TEMPLATE, _ROW_HEIGHT)
    click.echo(f"wrote {path}")
