"""The parts of ``dorian-evaluate age-cgan``, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dorian_bundle import Bundle
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.graphs import RunGraph
from dorian_client import BundleInfo
from dorian_evaluation.age_cgan.face_grid import write_face_grid
from dorian_evaluation.age_cgan.feature_distance import frechet_metrics
from dorian_evaluation.age_cgan.generation import generate_faces, generation_metrics
from dorian_evaluation.age_cgan.reconstruction import (
    ReconstructedFace,
    measure_reconstructions,
    reconstruction_metrics,
)
from dorian_evaluation.ageing.aged_face import Optimisation
from dorian_evaluation.ageing.measurements import Judges, measure_aged_faces, measure_real_faces
from dorian_evaluation.ageing.metrics import ageing_metrics
from dorian_evaluation.ageing.targets import age_targets, group_targets, sample_faces
from dorian_evaluation.faces.identities import KnownPeople, measure_people
from dorian_evaluation.graphs import open_graph
from dorian_evaluation.judges import (
    identity_judge_path,
    open_age_judge,
    open_identity_judge,
)
from dorian_evaluation.judges.base import AgeJudge, IdentityJudge
from dorian_evaluation.judges.feature_networks import FeatureExtractor, ImageInput, open_features
from dorian_evaluation.server_calls import connect, fetch_bundle, find_method
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError

PIXEL_RANGES = {"-1..1": (-1.0, 1.0), "0..1": (0.0, 1.0), "0..255": (0.0, 255.0)}
SHOWN_FACES = 8  # rows of the image


@dataclass(frozen=True, kw_only=True)
class AgeCganOptions:
    """The options of ``dorian-evaluate age-cgan``."""

    bundle: Path
    sources: tuple[str, ...]
    judges: Path
    server: str | None
    parts: tuple[str, ...]
    generated: int
    faces: int
    modes: tuple[str, ...]
    max_steps: int | None
    budgets: tuple[Optimisation, ...]
    targets: tuple[float, ...]
    features: Path | None
    features_range: str
    features_side: int | None
    features_sha256: str | None
    seed: int
    cache: Path
    out: Path | None
    table: Path | None
    picture: Path | None


@dataclass(frozen=True)
class Inputs:
    """What is measured: the Age-cGAN method of a bundle on the faces of the test split.

    All else is opened when it is first used; DataError is raised if that fails.
    """

    bundle: Bundle
    method: AgeCganMethod
    records: Sequence[FaceRecord]
    options: AgeCganOptions

    @cached_property
    def age_judge(self) -> AgeJudge:
        """The judge of age."""
        return open_age_judge(self.options.judges)

    @cached_property
    def identity_judge(self) -> IdentityJudge:
        """The judge of identity."""
        return open_identity_judge(self.options.judges)

    @cached_property
    def features(self) -> FeatureExtractor:
        """The network whose features are compared."""
        image_input = ImageInput(*PIXEL_RANGES[self.options.features_range], self.options.features_side)
        template = self.bundle.manifest.alignment
        return open_features(self.features_path, image_input, template, self.options.features_sha256)

    @property
    def features_path(self) -> Path:
        """The file of that network, by default the judge of identity."""
        return self.options.features or identity_judge_path(self.options.judges)

    @cached_property
    def generator(self) -> RunGraph:
        """The graph that draws faces."""
        return open_graph(self.bundle, self.method.graphs["generator"])

    @property
    def address(self) -> str:
        """The server's address, which parts that need a server have."""
        assert self.options.server is not None
        return self.options.server

    @cached_property
    def served(self) -> BundleInfo:
        """What the server has loaded, which must be this bundle."""
        with connect(self.address) as client:
            served = fetch_bundle(client)
        if served.sha256 != self.bundle.sha256:
            problem = f"the server at {self.address} has another bundle loaded, {served.name} {served.version}"
            raise DataError(f"{problem}; start it with --bundle {self.bundle.folder}")
        return served

    @property
    def served_names(self) -> dict[str, str]:
        """Name and version of what the server has loaded."""
        return {"name": self.served.name, "version": self.served.version}

    @cached_property
    def real(self) -> Crops:
        """The faces of known age, as the networks see them."""
        template = self.bundle.manifest.alignment
        return cut_crops(self.known_ages, self.method.crop_size, self.options.cache, template)

    @property
    def known_ages(self) -> list[FaceRecord]:
        """The faces of known age."""
        return [record for record in self.records if record.age is not None]

    @cached_property
    def faces(self) -> list[FaceRecord]:
        """The faces that are sent to the server."""
        return sample_faces(self.records, self.options.faces, self.options.seed)

    @cached_property
    def people(self) -> KnownPeople | None:
        """How faces of known people compare, by the judge of identity."""
        return measure_people(self.identity_judge, self.records, self.options.cache)


@dataclass(frozen=True)
class Part:
    """A part of the command.

    Attributes:
        measure: Returns metrics by their names in the output.
        needs: Attributes of ``Inputs`` that are opened before any part is measured, so that what is missing is reported at
            once.
    """

    measure: Callable[[Inputs], dict[str, Any]]
    needs: tuple[str, ...]

    @property
    def needs_server(self) -> bool:
        """Whether the part calls a server."""
        return "served" in self.needs


def _measure_generation(inputs: Inputs) -> dict[str, Any]:
    metrics = generation_metrics(
        inputs.generator, inputs.method, inputs.age_judge, inputs.real, inputs.options.generated, inputs.options.seed
    )
    return {"judged_age": metrics}


def _measure_reconstruction(inputs: Inputs) -> dict[str, Any]:
    options, modes = inputs.options, tuple(dict.fromkeys(inputs.options.modes))
    with connect(inputs.address) as client:
        measurements = measure_reconstructions(
            client,
            inputs.identity_judge,
            inputs.faces,
            inputs.method.name,
            inputs.bundle.manifest.alignment,
            modes,
            options.max_steps,
            SHOWN_FACES if options.picture else 0,
        )
    if options.picture:
        _write_picture(options.picture, inputs, modes, measurements.shown)
    metrics = reconstruction_metrics(measurements, modes, inputs.people)
    return {"reconstruction": {"bundle": inputs.served_names, "seed": options.seed} | metrics}


def _measure_ageing(inputs: Inputs) -> dict[str, Any]:
    options, method = inputs.options, find_method(inputs.served, inputs.method.name)
    targets = (*group_targets(inputs.method.age_groups), *age_targets(options.targets))
    judges = Judges(inputs.age_judge, inputs.identity_judge)
    ages = [target.years for target in targets if target.years is not None]
    real = measure_real_faces(judges.age, inputs.known_ages, ages)
    by_budget: dict[str, Any] = {}
    with connect(inputs.address) as client:
        for budget in dict.fromkeys(options.budgets):
            measurements = measure_aged_faces(client, judges, inputs.faces, method, targets, 1.0, optimisation=budget)
            by_budget[budget] = {
                "bundle": inputs.served_names,
                "seed": options.seed,
                "people": inputs.people.as_metrics() if inputs.people else None,
                "strengths": {"1": ageing_metrics(measurements, targets, real, inputs.people)},
            }
    metrics = {"ageing": by_budget.pop("none")} if "none" in by_budget else {}
    return metrics | ({"ageing_searched": by_budget} if by_budget else {})


def _measure_frechet(inputs: Inputs) -> dict[str, Any]:
    metrics = frechet_metrics(inputs.features, inputs.generator, inputs.method, inputs.real, inputs.options.seed)
    return {"frechet": {"features": inputs.features_path.name} | metrics}


def _write_picture(path: Path, inputs: Inputs, modes: Sequence[str], faces: Sequence[ReconstructedFace]) -> None:
    """Show original, reconstructions, and the age groups drawn from the latent of the mode identity, or else of the last."""
    groups = inputs.method.age_groups
    mode = modes.index("identity") if "identity" in modes else len(modes) - 1
    rows = []
    for face in faces:
        latents = np.repeat(face.latents[mode][None], len(groups), axis=0)  # (groups, latent)
        aged = generate_faces(inputs.generator, latents, np.arange(len(groups)), len(groups))
        rows.append([face.crop, *face.drawings, *aged])
    write_face_grid(path, ["original", *modes, *(group.label for group in groups)], rows)


PARTS: Mapping[str, Part] = {
    "generation": Part(_measure_generation, ("age_judge", "generator")),
    "reconstruction": Part(_measure_reconstruction, ("served", "identity_judge", "generator")),
    "ageing": Part(_measure_ageing, ("served", "age_judge", "identity_judge")),
    "frechet": Part(_measure_frechet, ("features", "generator")),
}
