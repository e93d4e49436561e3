"""AgeTransform over a real socket, with latents that are searched for or given: what is drawn from them, and what is rejected."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.pipeline.compositing import MEAN_LUMA_KEPT
from dorian_server.settings import Limits
from tests.server.rejections import expect, rejected
from tests.server.tiny_searches import LATENT, LEVELS, best_latent, photo_of, place_of, start_of, write_search_bundle

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]
Call = Callable[..., pb.AgeTransformResponse]

SECONDS = 120
NONE, FAST, FULL = (
    pb.OPTIMISATION_BUDGET_NONE,
    pb.OPTIMISATION_BUDGET_FAST,
    pb.OPTIMISATION_BUDGET_FULL,
)
SOURCE, TARGET = 0, 5
AGES = [pb.Age(group=group.label) for group in PAPER_GROUPS]
# Grey, so that a green that is drawn comes into the photo as so much lightness. The brighter is the first.
FACE, OTHER = (180, 180, 180), (110, 110, 110)
MIDDLE = np.s_[14:18, 12:20]  # of a face, where its mask is whole
GREEN_LUMA = 0.587
# Levels by which the middle changes where age shows as much as the generator was told to.
CHANGE = 255 * MEAN_LUMA_KEPT * GREEN_LUMA * (LEVELS[TARGET] - LEVELS[SOURCE])
LARGEST = pb.FaceSelector(largest=True)


@pytest.fixture
def age(searching: FaceAgingStub, write: Write) -> Call:
    """Calls AgeTransform with a photo of these faces, from the youngest group to the oldest."""

    def call(*colours: tuple[int, int, int], stub: FaceAgingStub = searching, **fields: Any) -> pb.AgeTransformResponse:
        image = pb.Image(data=write(photo_of(*(colours or (FACE,)))))
        requested = {"source": AGES[SOURCE], "targets": [AGES[TARGET]]} | fields
        return stub.AgeTransform(pb.AgeTransformRequest(image=image, **requested), timeout=SECONDS)

    return call


@pytest.fixture
def changes(read: Read) -> Callable[..., list[float]]:
    """By how many levels the faces of these colours have changed in the one picture of a response."""

    def measure(response: pb.AgeTransformResponse, *colours: tuple[int, int, int]) -> list[float]:
        (result,) = response.results
        change = read(result.image.data).astype(int) - photo_of(*(colours or (FACE,)))
        return [float(change[place_of(index)][MIDDLE].mean()) for index in range(len(colours) or 1)]

    return measure


def latent(*values: float, face: pb.FaceSelector = LARGEST) -> pb.FaceLatent:
    return pb.FaceLatent(face=face, latent=values)


def shown(of: Any) -> Any:
    """The change that a latent, or what it says of how much age shows, makes in the middle of its face."""
    return pytest.approx(CHANGE * (1 + (of if isinstance(of, float) else float(of[-1]))), abs=0.51)


# --- searched ---


def test_without_a_search_faces_are_drawn_from_the_first_approximation(
    age: Call, changes: Callable[..., list[float]], evaluations: Any
) -> None:
    for fields in ({}, {"optimisation": pb.OPTIMISATION_BUDGET_UNSPECIFIED}, {"optimisation": NONE}):
        response = age(method="searching", **fields)
        assert changes(response) == [shown(start_of(FACE))]
        assert "optimise" not in {time.stage for time in response.times}
    assert evaluations.rows == []


@pytest.mark.parametrize(("budget", "most"), [(FAST, 15), (FULL, 60)])
def test_with_a_search_they_are_drawn_from_the_best_latent_for_the_identity(
    age: Call, changes: Callable[..., list[float]], evaluations: Any, budget: pb.OptimisationBudget, most: int
) -> None:
    response = age(optimisation=budget)
    assert changes(response) == [shown(best_latent("identity", FACE, float(LEVELS[SOURCE])))]
    assert abs(CHANGE * start_of(FACE)[-1]) > 5, "or nothing is proven"
    assert 1 < sum(evaluations.rows) <= most
    stages = ["decode", "detect", "align", "read", "encode", "optimise", "generate", "paste", "reread", "write"]
    assert [time.stage for time in response.times] == stages
    (report,) = response.results[0].faces
    assert (report.source, report.target) == (AGES[SOURCE], AGES[TARGET])


@pytest.mark.parametrize(
    ("budget", "limit", "steps"), [(FAST, 500, 15), (FULL, 500, 60), (FAST, 10, 10), (FULL, 20, 20)]
)
def test_a_search_that_does_not_arrive_ends_with_its_budget_or_the_servers_limit(
    serve: Callable[..., FaceAgingStub],
    searching_bundle: Bundle,
    age: Call,
    monkeypatch: pytest.MonkeyPatch,
    budget: pb.OptimisationBudget,
    limit: int,
    steps: int,
) -> None:
    taken: list[NDArray[np.float32]] = []

    def bending(_: AgeCgan, at: NDArray[np.float32], *__: object) -> tuple[float, NDArray[np.float32], Any]:
        """Rosenbrock's valley twice, so narrow that L-BFGS-B would take some hundreds of steps."""
        taken.append(at)
        x, y = at[[0, 2]].astype(np.float64), at[[1, 3]].astype(np.float64)
        gradient = np.stack([-2 * (3 - x) - 4e4 * x * (y - x * x), 2e4 * (y - x * x)], axis=1)
        loss = float(np.sum((3 - x) ** 2 + 1e4 * (y - x * x) ** 2))
        return loss, gradient.reshape(4).astype(np.float32), np.zeros(3, np.float32)

    monkeypatch.setattr(AgeCgan, "loss_and_gradient", bending)
    stub = serve(searching_bundle, limits=Limits(max_steps=limit))
    assert len(age(stub=stub, optimisation=budget).results) == 1
    assert len(taken) == steps


def test_latents_are_searched_once_for_all_targets(age: Call, evaluations: Any) -> None:
    age(optimisation=FULL)
    alone = len(evaluations.rows)
    assert len(age(optimisation=FULL, targets=AGES).results) == len(AGES)
    assert len(evaluations.rows) == 2 * alone


def test_each_face_has_its_own_search(age: Call, changes: Callable[..., list[float]], evaluations: Any) -> None:
    alone = []
    for colour in (FACE, OTHER):
        evaluations.rows.clear()
        age(colour, optimisation=FULL)
        alone.append(len(evaluations.rows))
    evaluations.rows.clear()
    response = age(FACE, OTHER, optimisation=FULL)
    best = [best_latent("identity", colour, float(LEVELS[SOURCE])) for colour in (FACE, OTHER)]
    assert changes(response, FACE, OTHER) == [shown(item) for item in best]
    assert sum(evaluations.rows) == sum(alone)


# --- given ---


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0, 0.5), (1.0, -2.0, 0.5, -1.0), (0.0, 0.0, 0.0, -2.0)])
@pytest.mark.parametrize("budget", [NONE, FULL])
def test_a_face_is_drawn_from_exactly_the_latent_that_is_given(
    age: Call,
    changes: Callable[..., list[float]],
    evaluations: Any,
    values: tuple[float, ...],
    budget: pb.OptimisationBudget,
) -> None:
    """With no search, whatever the budget."""
    response = age(latents=[latent(*values)], optimisation=budget)
    assert changes(response) == [shown(values)]
    assert evaluations.rows == []
    assert "optimise" not in {time.stage for time in response.times}


def test_a_latent_that_reconstruct_gave_ages_the_face_as_a_search_would(
    searching: FaceAgingStub, age: Call, evaluations: Any, write: Write
) -> None:
    searched = age(optimisation=FULL)
    request = pb.ReconstructRequest(
        image=pb.Image(data=write(photo_of(FACE))), mode=pb.RECONSTRUCTION_MODE_IDENTITY, source=AGES[SOURCE]
    )
    (face,) = searching.Reconstruct(request, timeout=SECONDS).faces
    evaluations.rows.clear()
    given = age(latents=[latent(*face.latent)], method="searching")
    assert given.results == searched.results
    assert given.results != age(method="searching").results
    assert evaluations.rows == []


def test_two_faces_of_a_photo_have_different_latents(age: Call, changes: Callable[..., list[float]]) -> None:
    values = [(0.0, 0.0, 0.0, 0.5), (0.0, 0.0, 0.0, -2.0)]
    by_box = pb.FaceSelector(box=pb.Box(x=0, y=0, width=32, height=32))
    for selectors, order in (
        ([pb.FaceSelector(index=0), pb.FaceSelector(index=1)], (0, 1)),
        ([pb.FaceSelector(index=1), by_box], (1, 0)),
    ):
        given = [latent(*item, face=face) for item, face in zip(values, selectors, strict=True)]
        response = age(FACE, OTHER, latents=given)
        assert changes(response, FACE, OTHER) == [shown(values[place]) for place in order]


def test_only_faces_without_a_latent_are_searched(
    age: Call, changes: Callable[..., list[float]], evaluations: Any
) -> None:
    age(FACE, optimisation=FULL)
    alone = sum(evaluations.rows)
    evaluations.rows.clear()
    given = [latent(0, 0, 0, 0.5, face=pb.FaceSelector(index=1))]
    response = age(FACE, OTHER, latents=given, optimisation=FULL)
    best = best_latent("identity", FACE, float(LEVELS[SOURCE]))
    assert changes(response, FACE, OTHER) == [shown(best), shown(0.5)]
    assert sum(evaluations.rows) == alone


def test_a_latent_of_a_face_that_stays_as_it_is_counts_for_nothing(
    age: Call, changes: Callable[..., list[float]]
) -> None:
    given = [latent(0, 0, 0, 0.5, face=pb.FaceSelector(index=1))]
    response = age(FACE, OTHER, latents=given, faces=[LARGEST])
    assert changes(response, FACE, OTHER) == [shown(start_of(FACE)), 0]


def test_the_last_latent_of_a_face_counts(age: Call, changes: Callable[..., list[float]]) -> None:
    assert changes(age(latents=[latent(0, 0, 0, 9), latent(0, 0, 0, -0.25)])) == [shown(-0.25)]


# --- which method ---


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({}, "age_translator"),
        ({"optimisation": NONE}, "age_translator"),
        ({"latents": [latent(*[0] * LATENT)]}, "encoding"),
        ({"optimisation": FAST}, "searching"),
        ({"optimisation": FULL, "latents": [latent(*[0] * LATENT)]}, "searching"),
    ],
)
def test_an_empty_method_is_the_first_that_can(age: Call, fields: dict[str, Any], method: str) -> None:
    assert age(**fields).provenance.method == method


# --- what is rejected ---


@pytest.mark.parametrize(
    ("fields", "reason", "field", "words"),
    [
        ({"optimisation": 9}, "SETTING_OUT_OF_RANGE", "optimisation", "known: NONE, FAST, FULL"),
        ({"latents": [latent(1, 2, 3)]}, "LATENT_UNSUITABLE", "latents[0].latent", "has 3 numbers; encoding has lat"),
        ({"latents": [latent()]}, "LATENT_UNSUITABLE", "latents[0].latent", "latents of 4, all from -100 to 100"),
        (
            {"latents": [latent(0, 0, 0, 0), latent(0, 0, 0, math.nan)]},
            "LATENT_UNSUITABLE",
            "latents[1].latent",
            "all from -100 to 100",
        ),
        ({"latents": [latent(0, 100.1, 0, 0)]}, "LATENT_UNSUITABLE", "latents[0].latent", "all from -100 to 100"),
        ({"latents": [latent(-math.inf, 0, 0, 0)]}, "LATENT_UNSUITABLE", "latents[0].latent", "all from -100 to 100"),
        (
            {"latents": [latent(0, 0, 0, 0), latent(0, 0, 0, 0, face=pb.FaceSelector(index=3))]},
            "FACE_NOT_FOUND",
            "latents[1].face",
            "no face is at index 3; 1 face was found",
        ),
        (
            {"latents": [pb.FaceLatent(latent=[0] * LATENT)]},
            "SETTING_OUT_OF_RANGE",
            "latents[0].face",
            "latents[0].face names no face",
        ),
        ({"optimisation": FULL, "method": "encoding"}, "METHOD_UNSUITABLE", "method", "those of searching can"),
        ({"optimisation": FAST, "method": "age_translator"}, "METHOD_UNSUITABLE", "method", "no encoder, so it cannot"),
        (
            {"latents": [latent(0, 0, 0, 0)], "method": "age_translator"},
            "METHOD_UNSUITABLE",
            "method",
            "reconstruct or optimise; encoding, searching can",
        ),
        ({"optimisation": FULL, "method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'"),
    ],
)
def test_what_cannot_be_is_rejected(
    searching: FaceAgingStub, write: Write, fields: dict[str, Any], reason: str, field: str, words: str
) -> None:
    request = pb.AgeTransformRequest(image=pb.Image(data=write(photo_of(FACE))), targets=[AGES[TARGET]], **fields)
    expect(rejected(searching.AgeTransform, request), reason, field, words)


@pytest.mark.parametrize("methods", [["age_translator"], ["age_translator", "encoding"]])
def test_a_bundle_whose_latents_cannot_be_searched_says_so(
    serve: Callable[..., FaceAgingStub], tmp_path: Path, write: Write, methods: list[str]
) -> None:
    stub = serve(write_search_bundle(tmp_path / "bundle", *methods))
    image = pb.Image(data=write(photo_of(FACE)))
    for name in ("", *methods):
        request = pb.AgeTransformRequest(image=image, targets=[AGES[TARGET]], optimisation=FULL, method=name)
        expect(rejected(stub.AgeTransform, request), "METHOD_UNSUITABLE", "method", "no method can")
