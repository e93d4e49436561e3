"""``dorian-evaluate``: measurements of a bundle by independent networks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dorian_bundle import BundleError, load
from dorian_training.commands.evaluate_ageing import evaluate_ageing
from dorian_training.commands.evaluate_faces import evaluate_faces
from dorian_training.commands.options import data_option
from dorian_training.data.crops import cut_crops
from dorian_training.data.sources import load_sources
from dorian_training.errors import TrainingError


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what a bundle does, by networks that took no part in its training."""


@main.command("age-groups")
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--judge",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="ONNX network: RGB 0 to 255 in, an output called age, in years.",
)
@data_option("Real faces to compare with; their test split is used.")
@click.option("--faces", type=click.IntRange(10), default=500, help="Generated faces per age group.")
@click.option("--seed", type=int, default=0)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the figures, as JSON.")
def age_groups(bundle: Path, judge: Path, sources: tuple[str, ...], faces: int, seed: int, out: Path | None) -> None:
    """Judged age of generated faces, group by group, beside real ones.

    \b
    dorian-evaluate age-groups models/default --judge age.onnx --data faces/ --out ages.json
    """
    # The judge needs ONNX Runtime, an extra of this package.
    from dorian_training.evaluation.age_groups import judged_ages
    from dorian_training.evaluation.age_judge import AgeJudge

    try:
        opened = load(bundle)
        records = [r for r in load_sources(sources) if r.split == "test" and r.age is not None]
        real = cut_crops(records, opened.manifest.methods[0].crop_size)
        figures = judged_ages(opened, AgeJudge(judge), real, faces, seed)
    except (BundleError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{'':>12}" + "".join(f"{label:>9}" for label in figures["generated"]))
    for kind in ("generated", "real"):
        click.echo(f"{kind:>12}" + "".join(f"{age:>9.1f}" for age in figures[kind].values()))
    click.echo(f"rising: {figures['rising']}; oldest less youngest: {figures['span']:.1f} years")
    click.echo(f"the judge's mean error on real faces of known age: {figures['judge_error_on_real']:.1f} years")
    if out:
        out.write_text(json.dumps({"age_cgan": {"judged_age": figures}}, indent=2) + "\n")


main.add_command(evaluate_faces)
main.add_command(evaluate_ageing)

if __name__ == "__main__":
    main()
