"""``dorian-evaluate stylegan``: reconstruction, mixing and time of AE-StyleGAN, by a bundle's graphs and independent networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_bundle import Bundle, load_bundle
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_evaluation.ageing.targets import sample_faces
from dorian_evaluation.cli.options import INPUT_FILE, INPUT_FOLDER, OUTPUT_FILE, cache_option, judges_option
from dorian_evaluation.cli.outputs import click_errors, write_report
from dorian_evaluation.faces.identities import measure_people
from dorian_evaluation.judges import identity_judge_path, open_age_judge, open_identity_judge
from dorian_evaluation.judges.feature_networks import ImageInput, open_features
from dorian_evaluation.rendering import render
from dorian_evaluation.stylegan.changes import DOMAINS, Domain
from dorian_evaluation.stylegan.mixing import NEAR, MixingMeter
from dorian_evaluation.stylegan.networks import StyleFaces, StyleNetworks, read_faces
from dorian_evaluation.stylegan.reconstruction import reconstruction_distance, reconstruction_metrics
from dorian_evaluation.stylegan.sheets import write_blind_sheet, write_mixing_sheet
from dorian_evaluation.stylegan.sizes import real_difference
from dorian_evaluation.stylegan.timing import measure_times
from dorian_training.cli.options import data_option
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError

PARTS = ("reconstruction", "mixing", "time")
_FEATURES = "mobilenetv2_imagenet_feat1280.onnx"
_FEATURES_INPUT = ImageInput(side=224)
_ALL_AGES = (0.0, 120.0)
# What the default change of age and the reconstruction are to reach: share, years, grey levels, milliseconds.
GOALS = {"accepted": 0.9, "years": 10.0, "luma": 12.0, "chroma": 2.4, "milliseconds": 40.0}


@dataclass(frozen=True, kw_only=True)
class StyleGanOptions:
    """The options of ``dorian-evaluate stylegan``."""

    bundle: Path
    sources: tuple[str, ...]
    judges: Path
    method: str | None
    parts: tuple[str, ...]
    faces: int
    reconstructed: int
    features: Path | None
    split: str
    seed: int
    cache: Path
    out: Path | None
    table: Path | None
    sheet: Path | None
    blind_sheet: Path | None


@click.command("stylegan")
@click.argument("bundle", type=INPUT_FOLDER)
@data_option("Real faces of known age; those of known people tell from which similarity two faces are one person.")
@judges_option()
@click.option("--method", help="Method of the family ae_stylegan; the bundle's first unless given.")
@click.option(
    "--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS, help="Part to measure; once per part."
)
@click.option(
    "--faces", type=click.IntRange(2), default=100, help="Mixing: young faces, and as many old ones; fewer are faster."
)
@click.option(
    "--reconstructed", type=click.IntRange(4), default=600, help="Reconstruction: faces of all ages; fewer are faster."
)
@click.option(
    "--features",
    type=INPUT_FILE,
    help=f"Reconstruction: network of the Fréchet distance; {_FEATURES} of --judges, or else its judge of identity.",
)
@click.option("--split", type=click.Choice(["val", "test"]), default="test", help="Which faces are used.")
@click.option("--seed", type=int, default=0, help="Seed of the samples of faces.")
@cache_option()
@click.option("--out", type=OUTPUT_FILE, help="Write the metrics to this JSON file, for dorian-export onnx --metrics.")
@click.option("--table", type=OUTPUT_FILE, help="Write the report to this Markdown file.")
@click.option("--sheet", type=OUTPUT_FILE, help="Show 12 faces by every preset in this PNG or JPEG file.")
@click.option(
    "--blind-sheet",
    type=OUTPUT_FILE,
    help="Show 12 changed faces, shuffled with 12 real ones, in this PNG or JPEG file, and write the key beside it.",
)
def evaluate_stylegan(**options: Any) -> None:
    """Measure AE-StyleGAN: reconstruction, ages and identity after mixing by each preset, size of what is drawn, and time.

    \b
    Examples:
      dorian-evaluate stylegan models/default --data faces/ --judges judges/ --out stylegan.json --sheet stylegan.jpg
      dorian-evaluate stylegan models/default --data faces/ --judges judges/ --part mixing --faces 20
    """
    config = StyleGanOptions(**options)
    with click_errors():
        metrics = _measure(config)
    report = render("stylegan", metrics=metrics, goals=GOALS, near=NEAR)
    write_report(report, {"ae_stylegan": metrics}, config.out, config.table)


def _measure(options: StyleGanOptions) -> dict[str, Any]:
    bundle = load_bundle(options.bundle)
    method = _find_method(bundle, options.method)
    metrics: dict[str, Any] = {
        "method": method.name,
        "split": options.split,
        "seed": options.seed,
        "network": {
            "crop_size": method.crop_size,
            "levels": method.levels,
            "style": method.style,
            "structure": method.structure,
        },
    }
    if set(options.parts) - {"time"} or options.sheet or options.blind_sheet:
        records = [record for record in load_sources(options.sources) if record.split == options.split]
        metrics |= _measure_faces(options, StyleNetworks(bundle, method), records)
    if "time" in options.parts:
        metrics["milliseconds"] = measure_times(bundle, method)
    return metrics


def _measure_faces(options: StyleGanOptions, networks: StyleNetworks, records: list[FaceRecord]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    identity = open_identity_judge(options.judges)
    people = measure_people(identity, records, options.cache)
    metrics["people"] = people.as_metrics() if people else None
    if "reconstruction" in options.parts:
        extract = open_features(_features_path(options), _FEATURES_INPUT, networks.template)
        sample = sample_faces(records, options.reconstructed, options.seed, _ALL_AGES)
        faces = read_faces(networks, sample, options.cache)
        metrics["reconstruction"] = reconstruction_metrics(networks, faces, identity, people)
        metrics["frechet"] = {"features": _features_path(options).name} | reconstruction_distance(
            extract, faces, options.seed
        )
    domains: list[tuple[Domain, StyleFaces]] = []
    if "mixing" in options.parts or options.sheet or options.blind_sheet:
        for domain in DOMAINS:
            sample = sample_faces(records, options.faces, options.seed, domain.ages)
            domains.append((domain, read_faces(networks, sample, options.cache)))
    if "mixing" in options.parts:
        meter = MixingMeter(networks, open_age_judge(options.judges), identity, people)
        metrics["mixing"] = {domain.name: meter.measure_domain(faces, domain) for domain, faces in domains}
        metrics["real_difference"] = _real_difference(options, networks, records)
    if options.sheet:
        write_mixing_sheet(options.sheet, networks, domains)
    if options.blind_sheet:
        key = write_blind_sheet(options.blind_sheet, networks, domains, options.seed)
        click.echo(f"wrote {options.blind_sheet}; which faces are real says {key}")
    return metrics


def _find_method(bundle: Bundle, name: str | None) -> AeStyleGanMethod:
    methods = [method for method in bundle.manifest.methods if isinstance(method, AeStyleGanMethod)]
    if not methods:
        raise DataError(f"{bundle.manifest.name} has no method of the family ae_stylegan, whose styles can be mixed")
    found = next((method for method in methods if name in (None, method.name)), None)
    if found is None:
        names = ", ".join(method.name for method in methods)
        raise DataError(f"{bundle.manifest.name} has no method {name!r} of the family ae_stylegan; it has {names}")
    return found


def _features_path(options: StyleGanOptions) -> Path:
    stored = options.judges / _FEATURES
    return options.features or (stored if stored.is_file() else identity_judge_path(options.judges))


def _real_difference(options: StyleGanOptions, networks: StyleNetworks, records: list[FaceRecord]) -> dict[str, Any]:
    """What separates all real old faces from all real young ones that are alike."""
    pixels = []
    for lowest, highest in (domain.ages for domain in DOMAINS):
        of_age = [record for record in records if record.age is not None and lowest <= record.age <= highest]
        pixels.append(cut_crops(of_age, networks.method.crop_size, options.cache, networks.template).pixels)
    young, old = pixels
    return real_difference(young, old, networks.template)
