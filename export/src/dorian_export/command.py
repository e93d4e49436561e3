"""``dorian-export``: checkpoints to bundles."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch

from dorian_bundle import BundleError
from dorian_bundle.files import draft_folder
from dorian_bundle.graphs import Precision
from dorian_bundle.manifest import MANIFEST_FILE
from dorian_export.assemble import Checkpoints, Naming, build_bundle
from dorian_export.check import check_bundle
from dorian_export.curves import CURVES_FILE, read_curves, write_curves
from dorian_export.engines import tensorrt
from dorian_export.errors import ExportError
from dorian_export.faces import Faces, spread
from dorian_export.readers import averaged_facenet
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.cli.options import data_option
from dorian_training.data.crops import cut_crops, with_margin
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import TrainingError
from dorian_training.networks.age_translator import TranslatorShape

_CROP_SIZE = TranslatorShape().size  # the largest that a method's network takes
_PROVEN_ON = 600  # faces at most; calibration is what needs so many
_FOLDER = click.Path(path_type=Path, file_okay=False)
_RUN = click.Path(path_type=Path, exists=True, file_okay=False)


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
@click.option("--age-translator", type=_RUN, help="Run or checkpoint of the age translator, which is then the default.")
@click.option(
    "--calibrator",
    type=_RUN,
    help="Run or checkpoint of an age estimator to calibrate the age translator by; --age-estimator's unless given. "
    "Better one that the translator's training has not seen.",
)
@click.option("--age-cgan", type=_RUN, help="Run or checkpoint of Age-cGAN.")
@click.option("--cyclegan", type=_RUN, help="Run or checkpoint of CycleGAN.")
@click.option("--detector", type=_RUN, required=True, help="Run or checkpoint of the face detector.")
@click.option("--landmark-refiner", type=_RUN, required=True, help="Run or checkpoint of the landmark refiner.")
@click.option("--age-estimator", type=_RUN, required=True, help="Run or checkpoint of the age estimator.")
@click.option("--facenet", type=_RUN, required=True, help="Run or checkpoint of FaceNet, of any layout.")
@click.option("--out", type=_FOLDER, required=True, help="Folder of the bundle; replaced only by a whole one.")
@data_option("Real faces to prove the graphs on, and people to set FaceNet's thresholds on.")
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
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON of measurements, as dorian-evaluate writes it, for manifest and card; once per file.",
)
def onnx(
    age_translator: Path | None,
    calibrator: Path | None,
    age_cgan: Path | None,
    cyclegan: Path | None,
    detector: Path,
    landmark_refiner: Path,
    age_estimator: Path,
    facenet: Path,
    out: Path,
    sources: tuple[str, ...],
    precisions: tuple[Precision, ...],
    name: str,
    version: str,
    metrics: tuple[Path, ...],
) -> None:
    """Make a bundle of run folders or shipped checkpoints, of at least one method. Refused unless ONNX Runtime agrees with torch.

    \b
    dorian-export onnx --age-translator models/checkpoints/age_translator --calibrator models/checkpoints/calibrator \\
      --age-cgan models/checkpoints/age_cgan --cyclegan models/checkpoints/cyclegan --detector models/checkpoints/detector \\
      --landmark-refiner models/checkpoints/landmark_refiner --age-estimator models/checkpoints/age_estimator \\
      --facenet models/checkpoints/facenet --data faces/ --out models/default
    """
    with _in_words():
        if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
            raise ExportError(f"{out} holds something other than a bundle, which would be lost; choose another folder")
        measured = _measured(metrics)
        faces = _faces(load_sources(sources), averaged_facenet(facenet).size)
        with draft_folder(out) as draft:
            _, differences = build_bundle(
                Checkpoints(
                    detector, landmark_refiner, age_estimator, facenet, age_translator, calibrator, age_cgan, cyclegan
                ),
                draft,
                faces,
                precisions,
                Naming(name, version, measured),
            )
            check_bundle(draft)
    for path, difference in differences.items():
        click.echo(f"{out / path}: differs from torch by at most {difference:.2g}")


def _faces(records: Sequence[FaceRecord], facenet_size: int) -> Faces:
    """Faces that nothing was trained on, where there are any: with ages for the graphs, with identities for thresholds.

    ``facenet_size``: side of the crops that FaceNet sees.
    """
    unseen = [record for record in records if record.split == "val" and record.age is not None]
    unseen = unseen or [record for record in records if record.age is not None]
    crops = cut_crops(spread(unseen, _PROVEN_ON), _CROP_SIZE)
    people = [record for record in records if record.split == "val" and record.identity]
    if not people:
        raise ExportError("FaceNet's thresholds need faces with identities in a validation split; --data has none")
    side, template = with_margin(facenet_size)
    return Faces(crops, cut_crops(people, side, template=template))


def _measured(files: Sequence[Path]) -> dict[str, Any]:
    """All measurements in ``files``, by the part that they are of."""
    measured: dict[str, Any] = {}
    for file in files:
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise ExportError(f"{file} is not JSON: {error}") from error
        if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
            raise ExportError(f"{file} is not what dorian-evaluate writes: measurements by the part that they are of")
        for part, figures in found.items():
            measured.setdefault(part, {}).update(figures)
    return measured


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


main.add_command(tensorrt)


if __name__ == "__main__":
    main()
