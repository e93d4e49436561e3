"""``dorian-export``: checkpoints to bundles."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch

from dorian_bundle import BundleError
from dorian_bundle.graphs import Precision
from dorian_bundle.manifest import MANIFEST_FILE
from dorian_export.age_cgan_bundle import build_bundle
from dorian_export.check import check_bundle
from dorian_export.curves import CURVES_FILE, read_curves, write_curves
from dorian_export.errors import ExportError
from dorian_export.parity import BATCHES
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.commands.options import data_option
from dorian_training.data.crops import cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.errors import TrainingError
from dorian_training.networks.age_cgan import SIZE

_FOLDER = click.Path(path_type=Path, file_okay=False)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (ExportError, TrainingError, BundleError) as error:
        raise click.ClickException(str(error)) from error


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Turn checkpoints into bundles."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")


@main.command()
@click.argument("runs", type=click.Path(path_type=Path, exists=True, file_okay=False), nargs=-1, required=True)
@click.option("--out", type=_FOLDER, required=True, help="Folder of the checkpoint.")
def checkpoint(runs: tuple[Path, ...], out: Path) -> None:
    """Pack RUNS, in the order of their stages, into a checkpoint small enough to ship: half precision, and its curves.

    The networks are the last run's, which carries those of the stages before.

    \b
    dorian-export checkpoint runs/gan runs/encoder --out models/checkpoints/age_cgan
    """
    with _in_words():
        weights, about = load_weights(runs[-1])
        out.mkdir(parents=True, exist_ok=True)
        save_weights(out / WEIGHTS_FILE, weights, about, torch.float16)
        write_curves(out / CURVES_FILE, {name: points for run in runs for name, points in read_curves(run).items()})
    size = (out / WEIGHTS_FILE).stat().st_size
    click.echo(f"{out / WEIGHTS_FILE}: {', '.join(sorted(weights))}; {size / 1e6:.1f} MB")


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=_FOLDER, required=True, help="Folder of the bundle; replaced only by a whole one.")
@data_option("Real faces to prove the graphs on.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16"]),
    default=("fp32", "fp16"),
    help="Once per variant of the graphs.",
)
@click.option("--name", default="dorian-default", help="Name of the bundle.")
@click.option("--version", default="0.1.0", help="Version of the bundle.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON of measurements, as dorian-evaluate writes it, for manifest and card.",
)
def onnx(
    run: Path,
    out: Path,
    sources: tuple[str, ...],
    precisions: tuple[Precision, ...],
    name: str,
    version: str,
    metrics: Path | None,
) -> None:
    """Make a bundle of RUN, a run folder or a shipped checkpoint. Refused unless ONNX Runtime agrees with torch.

    \b
    dorian-export onnx models/checkpoints/age_cgan --data faces/ --out models/default
    """
    draft = out.with_name(f"{out.name}.part")
    with _in_words():
        if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
            raise ExportError(f"{out} holds something other than a bundle, which would be lost; choose another folder")
        measured = _measured(metrics) if metrics else {}
        records = [r for r in load_sources(sources) if r.split != "train" and r.age is not None] or load_sources(
            sources
        )
        crops = cut_crops(records[:: max(1, len(records) // max(BATCHES))][: max(BATCHES)], SIZE)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        manifest = build_bundle(run, draft, crops, precisions, name, version, measured)
        check_bundle(draft)
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    for path, difference in manifest.methods[0].provenance.metrics["onnx_difference"].items():
        click.echo(f"{out / path}: differs from torch by at most {difference:.2g}")


def _measured(metrics: Path) -> dict[str, Any]:
    try:
        found = json.loads(metrics.read_text())
    except ValueError as error:
        raise ExportError(f"{metrics} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ExportError(f"{metrics} is not what dorian-evaluate writes: an object, with measurements by name")
    return found


@main.command()
@click.argument("bundle", type=_FOLDER)
def check(bundle: Path) -> None:
    """Verify BUNDLE: manifest, hashes, and that every graph takes and gives what the manifest says."""
    with _in_words():
        checked = check_bundle(bundle)
    manifest = checked.manifest
    click.echo(
        f"{manifest.name} {manifest.version}: {', '.join(m.name for m in manifest.methods)}; sha256 {checked.sha256}"
    )


if __name__ == "__main__":
    main()
