"""``dorian-evaluate attributes`` and ``cross-age``: what public sets tell of age, by their own annotations."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from dorian_bundle import load_bundle
from dorian_evaluation.cli.options import INPUT_FOLDER, OUTPUT_FILE, cache_option, judges_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_evaluation.faces.attributes import REPORTED, REPORTED_OF, attribute_metrics, draw_attributes
from dorian_evaluation.faces.cross_age import cross_age_metrics, select_aged
from dorian_evaluation.faces.identities import (
    FALSE_ACCEPT_RATE,
    EmbeddedFaces,
    number_identities,
    select_identified,
)
from dorian_evaluation.graphs import open_graph, run_on_crops
from dorian_evaluation.judges import open_identity_judge
from dorian_evaluation.rendering import render
from dorian_training.cli.options import data_option
from dorian_training.data.celeba import load_attributes
from dorian_training.data.crops import cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError


@click.command("attributes")
@click.argument("folder", type=INPUT_FOLDER)
@click.option("--attribute", default=REPORTED_OF, help="The attribute whose row is listed and drawn by itself.")
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics, with the whole matrix, to this JSON file.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
@click.option("--chart", type=OUTPUT_FILE, help="Draw the matrix and the row on this PNG file.")
def evaluate_attributes(folder: Path, attribute: str, out: Path | None, table: Path | None, chart: Path | None) -> None:
    """Correlate the attributes of CelebA, in FOLDER: its list_attr_celeba.txt, there or in Anno/.

    \b
    Example:
      dorian-evaluate attributes CelebA/ --out attributes.json --chart attributes.png
    """
    with click_errors():
        metrics = attribute_metrics(*load_attributes(folder), attribute)
        if chart:
            draw_attributes(chart, metrics)
    reported = REPORTED if attribute == REPORTED_OF else {}
    write_report(render("attributes", metrics=metrics, reported=reported), {"attributes": metrics}, out, table)


@click.command("cross-age")
@click.argument("bundle", type=INPUT_FOLDER)
@data_option("Faces of known people and exact ages, as CACD's.")
@judges_option()
@click.option("--split", type=click.Choice(["val", "test"]), default="test", help="Which people are compared.")
@click.option("--max-count", type=click.IntRange(2), default=2000, help="No further person from so many faces on.")
@cache_option()
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
def evaluate_cross_age(
    bundle: Path,
    sources: tuple[str, ...],
    judges: Path,
    split: str,
    max_count: int,
    cache: Path,
    out: Path | None,
    table: Path | None,
) -> None:
    """Compare photos of one person by the years between them, by the bundle's FaceNet and by a judge of identity.

    \b
    Example:
      dorian-evaluate cross-age models/default --data cacd:CACD/ --judges judges/
    """
    with click_errors():
        loaded, judge = load_bundle(bundle), open_identity_judge(judges)
        people = select_identified(
            [record for record in select_aged(load_sources(sources)) if record.split == split], max_count
        )
        if not people:
            raise DataError(f"no face of the {split} split is of a known person at an exact age")
        reader, manifest = loaded.manifest.readers.facenet, loaded.manifest
        crops = cut_crops(people, reader.crop_size, cache, manifest.alignment)
        views = cut_crops(crops.records, judge.crop_size, cache, judge.template)
        identities = number_identities(crops.records)
        ages = np.asarray([record.age for record in crops.records], dtype=np.float64)
        embeddings = {
            "bundle": run_on_crops(open_graph(loaded, reader.graph), "embedding", crops.pixels),
            "judge": judge.embeddings(views.pixels),
        }
        metrics = {
            "people": int(identities.max()) + 1,
            "faces": len(identities),
            "split": split,
            "recognisers": {
                name: cross_age_metrics(EmbeddedFaces(vectors, identities), ages)
                for name, vectors in embeddings.items()
            },
        }
    write_report(render("cross_age", metrics=metrics, rate=FALSE_ACCEPT_RATE), {"cross_age": metrics}, out, table)
