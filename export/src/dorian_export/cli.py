"""``dorian-export``: checkpoints to bundles."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from dorian_bundle import Bundle, BundleError, load_bundle
from dorian_bundle.engine_building import open_graph_engine
from dorian_bundle.engine_cache import build_profile
from dorian_bundle.files import draft_folder
from dorian_bundle.graphs import Graph, GraphFile, Precision
from dorian_bundle.manifest import MANIFEST_FILE
from dorian_export.bundle_building import BundleInfo, build_bundle
from dorian_export.check import check_bundle
from dorian_export.curves import CURVES_FILE, read_curves, write_curves
from dorian_export.errors import ExportError
from dorian_export.exporters import EXPORTERS
from dorian_export.face_readers import READERS, averaged_age_estimator, averaged_facenet
from dorian_export.faces import Faces, pick_evenly
from dorian_export.provenance import complete_earlier
from dorian_export.subset import keep_free, write_subset
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.cli.options import data_option
from dorian_training.data.crops import cut_crops, with_margin
from dorian_training.data.fairface import stranger_group
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import TrainingError

_CROP_SIZE = max(exporter.crop_size for exporter in EXPORTERS.values())
_MAX_FACES = 600  # that graphs are verified on; calibration is what needs so many
_FOLDER = click.Path(path_type=Path, file_okay=False)
_RUN = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def _errors_as_messages() -> Iterator[None]:
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

    The networks are the last run's, which carries those of the stages before. What old runs do not say of the data of theirs is taken
    from the runs before it.

    \b
    dorian-export checkpoint runs/gan runs/encoder --out models/checkpoints/age_cgan
    """
    with _errors_as_messages():
        weights, metadata = load_weights(runs[-1])
        metadata = complete_earlier(metadata, [load_weights(run)[1] for run in runs[:-1]])
        out.mkdir(parents=True, exist_ok=True)
        save_weights(out / WEIGHTS_FILE, weights, metadata, torch.float16)
        write_curves(out / CURVES_FILE, {name: points for run in runs for name, points in read_curves(run).items()})
    size = (out / WEIGHTS_FILE).stat().st_size
    click.echo(f"{out / WEIGHTS_FILE}: {', '.join(sorted(weights))}; {size / 1e6:.1f} MB")


def _checkpoint_options(command: Function) -> Function:
    """Add an option for each checkpoint that a bundle may be made of; they come as keyword arguments, ``None`` if absent."""
    options: list[tuple[str, str, bool]] = []  # name, help, whether it is required
    for family, exporter in EXPORTERS.items():
        options.append((family, exporter.help, False))
        options += [(name, help, False) for name, help in exporter.further_checkpoints.items()]
    options += [(reader, help, True) for reader, help in READERS.items()]
    for name, help, required in reversed(options):
        flag = f"--{name.replace('_', '-')}"
        kind = _FILE if name in ("detector", "person_segmenter") else _RUN
        command = click.option(flag, name, type=kind, required=required, help=help)(command)
    return command


@main.command()
@_checkpoint_options
@click.option("--out", type=_FOLDER, required=True, help="Folder of the bundle; replaced only by a whole one.")
@data_option("Real faces to verify the graphs on, and people to set FaceNet's thresholds on.")
@click.option("--name", default="dorian-default", help="Name of the bundle.")
@click.option("--version", default="0.1.0", help="Version of the bundle.")
@click.option(
    "--metrics",
    "metrics_files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON of measurements, as dorian-evaluate writes it, for manifest and card; once per file.",
)
def onnx(
    out: Path,
    sources: tuple[str, ...],
    name: str,
    version: str,
    metrics_files: tuple[Path, ...],
    **checkpoints: Path | None,
) -> None:
    """Make a bundle of run folders or shipped checkpoints, of at least one method. Refused unless its graphs agree with them.

    \b
    dorian-export onnx --age-translator models/checkpoints/age_translator \\
      --skin-detail models/checkpoints/skin_detail --face-shape models/checkpoints/face_shape \\
      --hair-segmenter models/checkpoints/hair_segmenter \\
      --person-segmenter models/checkpoints/person_segmenter/selfie_segmentation.onnx \\
      --age-cgan models/checkpoints/age_cgan --cyclegan models/checkpoints/cyclegan \\
      --detector models/checkpoints/detector/face_detection_yunet_2026may.onnx \\
      --landmark-refiner models/checkpoints/landmark_refiner --age-estimator models/checkpoints/age_estimator \\
      --facenet models/checkpoints/facenet --data faces/ --out models/default
    """
    with _errors_as_messages():
        _require_replaceable(out)
        info = BundleInfo(name, version, _read_metrics(metrics_files))
        paths = {name: path for name, path in checkpoints.items() if path is not None}
        sizes = averaged_facenet(paths["facenet"]).size, averaged_age_estimator(paths["age_estimator"]).size
        faces = _load_faces(load_sources(sources), *sizes)
        with draft_folder(out) as draft:
            _, differences = build_bundle(paths, draft, faces, info)
            check_bundle(draft)
    for path, difference in differences.items():
        click.echo(f"{out / path}: differs from its network by at most {difference:.2g}")


def _require_replaceable(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise ExportError(f"{out} holds something other than a bundle, which would be lost; choose another folder")


def _load_faces(records: Sequence[FaceRecord], facenet_size: int, age_size: int) -> Faces:
    """Return faces that nothing was trained on, where there are any.

    ``crops`` have ages, for the graphs; ``people`` have identities, for thresholds, and are cut for a FaceNet whose crops
    have the side ``facenet_size``. ``strangers`` are different people of the test split (see ``stranger_group``). ``aged`` have exact
    ages, for intervals, and are cut for an age estimator of ``age_size``.
    """
    unseen = [record for record in records if record.split == "val" and record.age is not None]
    unseen = unseen or [record for record in records if record.age is not None]
    crops = cut_crops(pick_evenly(unseen, _MAX_FACES), _CROP_SIZE)
    people = [record for record in records if record.split == "val" and record.identity]
    if not people:
        raise ExportError("FaceNet's thresholds need faces with identities in a validation split; --data has none")
    aged = [record for record in unseen if record.age_low == record.age_high]
    if not aged:
        raise ExportError("the age estimator's intervals need faces of exactly known age; --data has none")
    strangers = [record for record in records if record.split == "test" and stranger_group(record)]
    side, template = with_margin(facenet_size)
    age_side, age_template = with_margin(age_size)
    return Faces(
        crops,
        cut_crops(people, side, template=template),
        cut_crops(aged, age_side, template=age_template),
        cut_crops(strangers, side, template=template) if strangers else None,
    )


def _read_metrics(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return all measurements in ``files``, by the part that they are of."""
    metrics: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            content = json.loads(file.read_text())
        except ValueError as error:
            raise ExportError(f"{file} is not JSON: {error}") from error
        if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content.values()):
            raise ExportError(f"{file} is not what dorian-evaluate writes: measurements by the part that they are of")
        for part, measured in content.items():
            metrics.setdefault(part, {}).update(measured)
    return metrics


@main.command()
@click.argument("bundle", type=_FOLDER)
def check(bundle: Path) -> None:
    """Verify BUNDLE: manifest, hashes, and that every graph takes and gives what the manifest says."""
    with _errors_as_messages():
        checked = check_bundle(bundle)
    manifest = checked.manifest
    click.echo(
        f"{manifest.name} {manifest.version}: {', '.join(m.name for m in manifest.methods)}; sha256 {checked.sha256}"
    )


@main.command()
@click.argument("bundle", type=_FOLDER)
@click.option(
    "--licences",
    type=click.Choice(["all", "commercial"]),
    default="all",
    help="commercial: only methods that are free for commercial use, by what they and the face readers stem from.",
)
@click.option("--methods", metavar="NAME,NAME", help="Methods to keep, by their names; all of them unless given.")
@click.option(
    "-o", "--out", type=_FOLDER, required=True, help="Folder of the new bundle; replaced only by a whole one."
)
def subset(bundle: Path, licences: str, methods: str | None, out: Path) -> None:
    """Write a bundle of some methods of BUNDLE: its manifest and card, and the graphs that these methods and the face readers need.

    The first of them in BUNDLE is the default one.

    \b
    dorian-export subset models/default --licences commercial -o models/commercial
    dorian-export subset models/default --methods age_cgan,cyclegan -o models/small
    """
    with _errors_as_messages():
        _require_replaceable(out)
        whole = load_bundle(bundle)
        names = [name.strip() for name in methods.split(",")] if methods else [m.name for m in whole.manifest.methods]
        if licences == "commercial":
            names = keep_free(whole.manifest, names, are_named=methods is not None)
        with draft_folder(out) as draft:
            write_subset(whole, names, draft)
            written = check_bundle(draft)
    kept, size = written.manifest.methods, sum(file.bytes for file in written.manifest.files())
    click.echo(f"{out}: {', '.join(method.name for method in kept)}; {size / 1e6:.1f} MB; sha256 {written.sha256}")


@main.command()
@click.argument("bundle", type=_FOLDER)
@click.option(
    "--out",
    type=_FOLDER,
    required=True,
    help="Folder of engines, as dorian-server --engine-cache takes it; those that it has are kept.",
)
@click.option("--graph", "names", multiple=True, help="Graph of the bundle; once per graph, all of them unless given.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    help="Files of this precision alone, where a graph has several; those of each unless given.",
)
def tensorrt(bundle: Path, out: Path, names: tuple[str, ...], precision: Precision | None) -> None:
    """Build the TensorRT engines of BUNDLE for this machine's GPU, so that a server with --runtime tensorrt starts fast.

    \b
    dorian-export tensorrt models/default --out engines
    """
    with _errors_as_messages():
        for name, graph in _select_graphs(load_bundle(bundle), names).items():
            for file in _select_files(graph, precision):
                profile = build_profile(graph.signature)
                _, built = open_graph_engine(bundle / file.path, file.precision, profile, out)
                click.echo(f"{name}, {file.precision}: {'built' if built else 'was there'}")


def _select_graphs(bundle: Bundle, names: Sequence[str]) -> dict[str, Graph]:
    """Return the graphs of ``bundle`` called ``names``, or all; raises ``click.BadParameter`` for a name that it lacks."""
    graphs = bundle.manifest.graphs
    for name in names:
        if name not in graphs:
            raise click.BadParameter(f"the bundle has no graph {name!r}; it has {', '.join(graphs)}")
    return {name: graphs[name] for name in names or graphs}


def _select_files(graph: Graph, precision: Precision | None) -> Sequence[GraphFile]:
    """Return the files of ``graph`` that a server configured for ``precision`` may run (``None``: for any)."""
    return [file for file in graph.files if file.precision == precision] or graph.files


if __name__ == "__main__":
    main()
