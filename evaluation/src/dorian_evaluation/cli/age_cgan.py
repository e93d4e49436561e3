"""``dorian-evaluate age-cgan``: the tables of Antipov, Baccouche and Dugelay 2017, measured by independent judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from dorian_bundle import load_bundle
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_evaluation.age_cgan.report import render_age_cgan
from dorian_evaluation.ageing.aged_face import Optimisation
from dorian_evaluation.cli.age_cgan_parts import PARTS, PIXEL_RANGES, SHOWN_FACES, AgeCganOptions, Inputs
from dorian_evaluation.cli.options import INPUT_FOLDER, OUTPUT_FILE, cache_option, judges_option, targets_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_training.cli.options import data_option
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError

_SERVED_PARTS = [name for name, part in PARTS.items() if part.needs_server]
_LOCAL_PARTS = [name for name, part in PARTS.items() if not part.needs_server]
_MODES = ("initial", "pixelwise", "identity", "blended")
_BUDGETS = get_args(Optimisation)
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


@click.command("age-cgan")
@click.argument("bundle", type=INPUT_FOLDER)
@data_option("Real faces of the test split: those of known age are compared and aged, those of known people compared.")
@judges_option()
@click.option("--server", metavar="HOST:PORT", help=f"A server of the bundle, for {' and '.join(_SERVED_PARTS)}.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(list(PARTS)),
    multiple=True,
    default=list(PARTS),
    help="Part to measure; once per part.",
)
@click.option("--generated", type=click.IntRange(60), default=10_000, help="Faces to generate, all groups together.")
@click.option("--faces", type=click.IntRange(1), default=200, help="Faces to reconstruct, and to age.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(_MODES),
    multiple=True,
    default=_MODES,
    help="Reconstruction: how latents are found; once per mode. All but initial need a bundle with latent_gradient.",
)
@click.option(
    "--max-steps", type=click.IntRange(1), help="Reconstruction: steps of a search; the server's number unless given."
)
@click.option(
    "--optimisation",
    "budgets",
    type=click.Choice(_BUDGETS),
    multiple=True,
    default=_BUDGETS,
    help="Ageing: how long latents are searched; once per budget.",
)
@targets_option("25 35 45 55 70")
@click.option(
    "--features",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Fréchet: an .onnx of images, or an OpenVINO .xml like the judge of identity, which is the default.",
)
@click.option(
    "--features-range",
    type=click.Choice(list(PIXEL_RANGES)),
    default="-1..1",
    help="Fréchet: pixel values that an .onnx takes.",
)
@click.option(
    "--features-side", type=click.IntRange(16), help="Fréchet: side in pixels of the images for an .onnx of any size."
)
@click.option("--features-sha256", metavar="HEX", help="Fréchet: what the file of --features must hash to.")
@click.option("--seed", type=int, default=0, help="Seed of latents and of the sample of faces.")
@cache_option()
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
@click.option(
    "--picture",
    type=OUTPUT_FILE,
    help=f"Show {SHOWN_FACES} faces, reconstructed and in all age groups, in this PNG or JPEG file.",
)
def evaluate_age_cgan(**options: Any) -> None:
    """Measure the tables of the Age-cGAN paper: generation, reconstruction, ageing and Fréchet distance.

    \b
    Examples:
      dorian-evaluate age-cgan models/default --server localhost:50051 --data faces/ --judges judges/ \\
        --out age-cgan.json --table age-cgan.md --picture age-cgan.png
      dorian-evaluate age-cgan models/default --part generation --part frechet --data faces/ --judges judges/
    """
    config = AgeCganOptions(**options)
    _check_usage(config)
    with click_errors():
        metrics = _measure(config)
    write_report(render_age_cgan(metrics), {"age_cgan": metrics}, config.out, config.table)


def _check_usage(options: AgeCganOptions) -> None:
    served = [part for part in _SERVED_PARTS if part in options.parts]
    if served and not options.server:
        local = " ".join(f"--part {part}" for part in _LOCAL_PARTS)
        raise click.UsageError(f"{' and '.join(served)} need --server; {local} do without")
    picture = options.picture
    if picture and "reconstruction" not in options.parts:
        raise click.UsageError("--picture shows the results of --part reconstruction; add it")
    if picture and picture.suffix.lower() not in _PICTURE_SUFFIXES:
        raise click.UsageError(f"--picture {picture.name} must end in {', '.join(_PICTURE_SUFFIXES)}")


def _measure(options: AgeCganOptions) -> dict[str, Any]:
    """Return the metrics of all parts, by the names that they have in the output."""
    bundle = load_bundle(options.bundle)
    method = next((method for method in bundle.manifest.methods if isinstance(method, AgeCganMethod)), None)
    if method is None:
        raise DataError(f"{bundle.manifest.name} has no method of the family age_cgan, which draws faces from latents")
    searches = [mode for mode in options.modes if mode != "initial" and "reconstruction" in options.parts]
    searches += [budget for budget in options.budgets if budget != "none" and "ageing" in options.parts]
    if searches and "latent_gradient" not in method.graphs:
        problem = f"the latents of {method.name} in {bundle.folder} cannot be searched ({', '.join(searches)})"
        raise DataError(f"{problem}: it has no graph latent_gradient; give --mode initial and --optimisation none")
    records = [record for record in load_sources(options.sources) if record.split == "test"]
    inputs = Inputs(bundle, method, records, options)
    parts = [part for name, part in PARTS.items() if name in options.parts]
    for need in dict.fromkeys(need for part in parts for need in part.needs):
        getattr(inputs, need)
    metrics: dict[str, Any] = {}
    for part in parts:
        metrics |= part.measure(inputs)
    return metrics
