"""``dorian-evaluate age-cgan``: the tables of Antipov, Baccouche and Dugelay 2017, measured by independent judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from dorian_bundle import Bundle, BundleError, load
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_training.cli.config import DEFAULT_CACHE
from dorian_training.cli.options import AGE_JUDGE, RECOGNISER, data_option, judges_option, targets_option
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import DataError, TrainingError

if TYPE_CHECKING:
    from dorian_evaluation.age_cgan.reconstruction import Reconstructed
    from dorian_evaluation.ageing.readings import People
    from dorian_evaluation.ageing.service import ServedBundle
    from dorian_evaluation.judges.age_judge import AgeJudge
    from dorian_evaluation.judges.feature_networks import Features
    from dorian_evaluation.judges.identity_judge import IdentityJudge

_SERVED = ("reconstruction", "ageing")  # the parts that need a server
_MODES = ("initial", "pixelwise", "identity", "blended")
_BUDGETS = ("none", "fast", "full")
_RANGES = {"-1..1": (-1.0, 1.0), "0..1": (0.0, 1.0), "0..255": (0.0, 255.0)}
_PICTURES = (".png", ".jpg", ".jpeg")
_ROWS = 8  # of a picture
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class Measurement:
    """What is measured: the Age-cGAN ``method`` of a ``bundle`` on ``records``, the test split; ``options`` are the command's.

    All else is opened when it is first asked for; ``DataError`` if it cannot be.
    """

    bundle: Bundle
    method: AgeCganMethod
    records: Sequence[FaceRecord]
    options: Mapping[str, Any]

    @cached_property
    def age_judge(self) -> AgeJudge:
        from dorian_evaluation.judges.age_judge import AgeJudge

        return AgeJudge(self.options["judges"] / AGE_JUDGE)

    @cached_property
    def identity_judge(self) -> IdentityJudge:
        from dorian_evaluation.judges.identity_judge import IdentityJudge

        return IdentityJudge(self.options["judges"] / RECOGNISER)

    @cached_property
    def features(self) -> Features:
        """The network whose features are compared: the judge of identity, unless another is named."""
        from dorian_evaluation.judges.feature_networks import PictureInput, open_features

        takes = PictureInput(*_RANGES[self.options["features_range"]], self.options["features_side"])
        return open_features(self.features_file, takes, self.bundle.manifest.alignment, self.options["features_sha256"])

    @property
    def features_file(self) -> Path:
        named: Path | None = self.options["features"]
        folder: Path = self.options["judges"]
        return named or folder / RECOGNISER

    @cached_property
    def generator(self) -> RunGraph:
        from dorian_evaluation.judges.graphs import open_graph

        return open_graph(self.bundle, self.method.graphs["generator"])

    @cached_property
    def served(self) -> ServedBundle:
        """What the server has loaded, which is this bundle."""
        from dorian_evaluation.ageing.service import AgeingService

        with AgeingService(self.options["server"]) as service:
            served = service.bundle()
        if served.sha256 != self.bundle.sha256:
            words = f"the server at {self.options['server']} has another bundle loaded, {served.name} {served.version}"
            raise DataError(f"{words}; start it with --bundle {self.bundle.folder}")
        return served

    @cached_property
    def real(self) -> Crops:
        """The faces of known age, as the networks see them."""
        known = [record for record in self.records if record.age is not None]
        return cut_crops(known, self.method.crop_size, self.options["cache"], self.bundle.manifest.alignment)

    @cached_property
    def faces(self) -> list[FaceRecord]:
        """The faces that are sent to the server."""
        from dorian_evaluation.ageing.targets import drawn_faces

        return drawn_faces(self.records, self.options["faces"], self.options["seed"])

    @cached_property
    def people(self) -> People | None:
        """How the judge of identity tells known people."""
        from dorian_evaluation.ageing.readings import read_people

        return read_people(self.identity_judge, self.records, self.options["cache"])


def _generation(measurement: Measurement) -> dict[str, Any]:
    from dorian_evaluation.age_cgan.generation import generation_figures

    options = measurement.options
    figures = generation_figures(
        measurement.generator,
        measurement.method,
        measurement.age_judge,
        measurement.real,
        options["generated"],
        options["seed"],
    )
    return {"judged_age": figures}


def _reconstruction(measurement: Measurement) -> dict[str, Any]:
    from dorian_client import Client
    from dorian_evaluation.age_cgan.reconstruction import read_reconstructions, reconstruction_figures

    options, modes = measurement.options, tuple(dict.fromkeys(measurement.options["modes"]))
    with Client(options["server"], timeout=None) as client:
        found = read_reconstructions(
            client,
            measurement.identity_judge,
            measurement.faces,
            measurement.method.name,
            measurement.bundle.manifest.alignment,
            modes,
            options["max_steps"],
            _ROWS if options["picture"] else 0,
        )
    if options["picture"]:
        _draw(options["picture"], measurement, modes, found.shown)
    about = {"bundle": measurement.served.figures(), "seed": options["seed"]}
    return {"reconstruction": about | reconstruction_figures(found, modes, measurement.people)}


def _ageing(measurement: Measurement) -> dict[str, Any]:
    from dorian_evaluation.ageing.metrics import ageing_figures
    from dorian_evaluation.ageing.readings import Judges, read_aged, read_real
    from dorian_evaluation.ageing.service import AgeingService
    from dorian_evaluation.ageing.targets import age_aims, group_aims

    options, method = measurement.options, measurement.served.method(measurement.method.name)
    aims = (*group_aims(measurement.method.age_groups), *age_aims(options["targets"]))
    judges = Judges(measurement.age_judge, measurement.identity_judge)
    known = [record for record in measurement.records if record.age is not None]
    real = read_real(judges.age, known, [aim.years for aim in aims if aim.years is not None])
    figures: dict[str, Any] = {}
    with AgeingService(options["server"]) as service:
        for budget in dict.fromkeys(options["budgets"]):
            readings = read_aged(service, judges, measurement.faces, method, aims, 1.0, optimisation=budget)
            figures[budget] = {
                "bundle": measurement.served.figures(),
                "seed": options["seed"],
                "people": measurement.people.figures() if measurement.people else None,
                "strengths": {"1": ageing_figures(readings, aims, real, measurement.people)},
            }
    unsearched = {"ageing": figures.pop("none")} if "none" in figures else {}
    return unsearched | ({"ageing_searched": figures} if figures else {})


def _frechet(measurement: Measurement) -> dict[str, Any]:
    from dorian_evaluation.age_cgan.feature_distance import frechet_figures

    figures = frechet_figures(
        measurement.features,
        measurement.generator,
        measurement.method,
        measurement.real,
        measurement.options["seed"],
    )
    return {"frechet": {"features": measurement.features_file.name} | figures}


_PARTS: Mapping[str, Callable[[Measurement], dict[str, Any]]] = {
    "generation": _generation,
    "reconstruction": _reconstruction,
    "ageing": _ageing,
    "frechet": _frechet,
}
# What each needs of a Measurement: opened before any of them starts, so that what is missing is said at once.
_NEEDS = {
    "generation": ("age_judge", "generator"),
    "reconstruction": ("served", "identity_judge", "generator"),
    "ageing": ("served", "age_judge", "identity_judge"),
    "frechet": ("features", "generator"),
}


@click.command("age-cgan")
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False, exists=True))
@data_option(
    "Real faces: those of the test split whose age is known are compared and aged, known people are told apart."
)
@judges_option()
@click.option("--server", metavar="HOST:PORT", help=f"A server of the bundle; for {' and '.join(_SERVED)}.")
@click.option(
    "--part", "parts", type=click.Choice(list(_PARTS)), multiple=True, default=list(_PARTS), help="Once per part."
)
@click.option("--generated", type=click.IntRange(60), default=10_000, help="Faces to generate, all groups together.")
@click.option("--faces", type=click.IntRange(1), default=200, help="Faces to reconstruct, and to age.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(_MODES),
    multiple=True,
    default=_MODES,
    help="Reconstruction: how latents are found; once per mode. All but initial need a bundle whose latents can be searched.",
)
@click.option(
    "--max-steps", type=click.IntRange(1), help="Reconstruction: of each search; the server's own unless given."
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
    help="Fréchet: the network, an .onnx of pictures or an OpenVINO .xml as the judge of identity, which it is unless given.",
)
@click.option(
    "--features-range", type=click.Choice(list(_RANGES)), default="-1..1", help="Pixels to an .onnx of pictures."
)
@click.option("--features-side", type=click.IntRange(16), help="Side of these pictures, if it takes any; in pixels.")
@click.option("--features-sha256", metavar="HEX", help="What the file of --features must hash to.")
@click.option("--seed", type=int, default=0, help="Of latents, and of the draws of faces.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what is cut is kept.")
@click.option("--out", type=_NEW_FILE, help="Where to write the figures, as JSON.")
@click.option("--table", type=_NEW_FILE, help="Where to write them as tables.")
@click.option(
    "--picture",
    type=_NEW_FILE,
    help=f"Where to show {_ROWS} faces, reconstructed and in all age groups (.png or .jpg).",
)
def evaluate_age_cgan(
    bundle: Path, sources: tuple[str, ...], parts: tuple[str, ...], out: Path | None, table: Path | None, **options: Any
) -> None:
    """The tables of the Age-cGAN paper, on faces of the test split: generation, reconstruction, ageing, Fréchet distance.

    \b
    dorian-evaluate age-cgan models/default --server localhost:50051 --data faces/ --judges judges/ \\
      --out age-cgan.json --table age-cgan.md --picture age-cgan.png
    dorian-evaluate age-cgan models/default --part generation --part frechet --data faces/ --judges judges/
    """
    _check_usage(parts, options)
    try:
        # These need the SDK and ONNX Runtime, extras of this package.
        from dorian_evaluation.age_cgan.report import age_cgan_markdown
    except ImportError as error:
        raise click.ClickException(f"this needs dorian-client and onnxruntime: {error}") from error
    options["cache"] = options["cache"].expanduser()
    try:
        figures = _measured(load(bundle), sources, parts, options)
    except (BundleError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    text = age_cgan_markdown(figures)
    click.echo(text)
    if out:
        out.write_text(json.dumps({"age_cgan": figures}, indent=2) + "\n")
    if table:
        table.write_text(text)


def _check_usage(parts: Sequence[str], options: Mapping[str, Any]) -> None:
    served = [part for part in _SERVED if part in parts]
    if served and not options["server"]:
        raise click.UsageError(f"{' and '.join(served)} need --server; --part generation --part frechet do without")
    picture: Path | None = options["picture"]
    if picture and "reconstruction" not in parts:
        raise click.UsageError("--picture shows what --part reconstruction makes; ask for it, too")
    if picture and picture.suffix.lower() not in _PICTURES:
        raise click.UsageError(f"--picture {picture.name} must end in {', '.join(_PICTURES)}")


def _measured(
    bundle: Bundle, sources: Sequence[str], parts: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The figures of all ``parts``, by the names that they have in the output."""
    method = next((each for each in bundle.manifest.methods if isinstance(each, AgeCganMethod)), None)
    if method is None:
        raise DataError(f"{bundle.manifest.name} has no method that draws faces from latents: none of age_cgan")
    searches = [mode for mode in options["modes"] if mode != "initial" and "reconstruction" in parts]
    searches += [budget for budget in options["budgets"] if budget != "none" and "ageing" in parts]
    if searches and "latent_gradient" not in method.graphs:
        words = f"the latents of {method.name} in {bundle.folder} cannot be searched ({', '.join(searches)})"
        raise DataError(f"{words}: it has no graph latent_gradient; give --mode initial and --optimisation none")
    records = [record for record in load_sources(sources) if record.split == "test"]
    measurement = Measurement(bundle, method, records, options)
    chosen = [part for part in _PARTS if part in parts]
    for need in dict.fromkeys(need for part in chosen for need in _NEEDS[part]):
        getattr(measurement, need)
    figures: dict[str, Any] = {}
    for part in chosen:
        figures |= _PARTS[part](measurement)
    return figures


def _draw(path: Path, measurement: Measurement, modes: Sequence[str], shown: Sequence[Reconstructed]) -> None:
    """Original, reconstructions, and the age groups drawn from the latent that keeps the identity (or else the last one)."""
    from dorian_evaluation.age_cgan.generation import generated_faces
    from dorian_evaluation.age_cgan.picture import write_picture

    groups = measurement.method.age_groups
    kept = modes.index("identity") if "identity" in modes else len(modes) - 1
    rows = []
    for face in shown:
        latents = np.repeat(face.latents[kept][None], len(groups), axis=0)
        aged = generated_faces(measurement.generator, latents, np.arange(len(groups)), len(groups))
        rows.append([face.crop, *face.pictures, *aged])
    write_picture(path, ["original", *modes, *(group.label for group in groups)], rows)
