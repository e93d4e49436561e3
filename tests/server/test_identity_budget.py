"""An identity budget over a real socket: how far faces are changed, what is said of it, and what it leaves alone."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_server.domain.errors import CallCancelledError
from dorian_server.domain.requests import BUDGET_STEPS, Age
from dorian_server.methods.method import Drawing
from dorian_server.pipeline.identity_budget import DrawnFaces, IdentityBudget
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from tests.server.rejections import expect, rejected
from tests.server.tiny_searches import photo_of, write_search_bundle

SECONDS = 120
SOURCE, TARGET = 20.0, 50.0
FINEST = 0.5**BUDGET_STEPS  # of the way
COLOURS = ((120, 150, 60), (70, 130, 90))  # of two faces, the first of which is the larger one to the detector
Call = Callable[..., pb.AgeTransformResponse]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceAgingStub]:
    """A server whose age translator adds red by the years, and whose FaceNet turns by the red."""
    bundle = write_search_bundle(tmp_path_factory.mktemp("tiny") / "bundle", "age_translator", "cyclegan", "searching")
    server = start(Settings(bundle.folder, host="127.0.0.1", port=0, threads=1))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FaceAgingStub(channel)
    server.stop()


@pytest.fixture(scope="module")
def image(write: Callable[..., bytes]) -> pb.Image:
    return pb.Image(data=write(photo_of(*COLOURS)))


@pytest.fixture
def age(tiny: FaceAgingStub, image: pb.Image) -> Call:
    def call(*targets: pb.Age, **fields: Any) -> pb.AgeTransformResponse:
        parts = {"image": image, "source": pb.Age(years=SOURCE), "targets": targets} | fields
        return tiny.AgeTransform(pb.AgeTransformRequest(**parts), timeout=SECONDS)

    return call


def at(years: float) -> pb.Age:
    return pb.Age(years=years)


def pixels(image: pb.Image) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB"))


def largest(response: pb.AgeTransformResponse) -> pb.FaceReport:
    return response.results[0].faces[0]


def test_without_a_budget_all_is_as_it_was(age: Call) -> None:
    response = age(at(TARGET))
    assert not any(report.HasField("reached") for report in response.results[0].faces)
    assert "identity" not in {time.stage for time in response.times}


def test_a_budget_that_the_whole_change_keeps_changes_nothing(age: Call) -> None:
    whole = age(at(TARGET))
    budget = min(report.identity_similarity for report in whole.results[0].faces) - 0.01
    response = age(at(TARGET), keep_identity=budget)
    assert response.results[0].image == whole.results[0].image
    assert [(item.reached.share, item.reached.years) for item in response.results[0].faces] == [(1, TARGET)] * 2
    assert "identity" in {time.stage for time in response.times}


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_face_goes_as_far_as_its_identity_is_kept(age: Call, share: float) -> None:
    """And not a thirty-second part of the way farther."""
    budget = largest(age(at(SOURCE + share * (TARGET - SOURCE)))).identity_similarity - 1e-4
    report = largest(response := age(at(TARGET), keep_identity=budget))
    assert report.identity_similarity >= budget
    assert share - FINEST < report.reached.share <= share + FINEST
    assert report.reached.years == pytest.approx(SOURCE + report.reached.share * (TARGET - SOURCE))
    assert report.target == at(TARGET)
    assert report.estimated_age_after == largest(age(at(report.reached.years))).estimated_age_after
    beyond = age(at(report.reached.years + FINEST * (TARGET - SOURCE)))
    assert largest(beyond).identity_similarity < budget
    assert {time.stage for time in response.times} >= {"generate", "identity", "reread"}


def test_the_looser_the_budget_the_larger_the_change(age: Call) -> None:
    whole = largest(age(at(TARGET))).identity_similarity
    budgets = [1 - part * (1 - whole) for part in (0.05, 0.2, 0.5, 0.8)]
    reports = [largest(age(at(TARGET), keep_identity=budget)) for budget in budgets]
    shares = [report.reached.share for report in reports]
    assert all(before < after for before, after in pairwise(shares))
    assert all(report.identity_similarity >= budget for report, budget in zip(reports, budgets, strict=True))


def test_a_face_that_no_change_keeps_is_left_as_it_was(age: Call, image: pb.Image) -> None:
    response = age(at(TARGET), keep_identity=1)
    np.testing.assert_array_equal(pixels(response.results[0].image), pixels(image))
    report = largest(response)
    assert (report.reached.share, report.reached.years, report.identity_similarity) == (0, SOURCE, 1)
    assert not report.HasField("error")


def test_each_face_has_its_own_way_in_each_image(age: Call) -> None:
    budget = largest(age(at(35))).identity_similarity
    alone = age(at(TARGET), at(30), faces=[pb.FaceSelector(index=0)], keep_identity=budget)
    own = pb.FaceTarget(face=pb.FaceSelector(index=1), target=at(80))
    both = age(at(TARGET), at(30), faces=[pb.FaceSelector(index=0)], face_targets=[own], keep_identity=budget)
    for single, pair in zip(alone.results, both.results, strict=True):
        assert pair.faces[0].reached == single.faces[0].reached
        assert 0 < pair.faces[1].reached.share < 0.6
        assert all(face.identity_similarity >= budget for face in pair.faces)
    assert [image.faces[0].reached.share < 1 for image in both.results] == [True, False]


def test_a_filter_goes_a_part_of_its_strength(age: Call) -> None:
    half, whole = (largest(age(pb.Age(filter="young"), strength=strength)) for strength in (0.5, 1))
    assert whole.identity_similarity < half.identity_similarity
    report = largest(age(pb.Age(filter="young"), keep_identity=half.identity_similarity - 1e-4))
    assert report.reached.share == pytest.approx(0.5, abs=FINEST)
    assert not report.reached.HasField("years")


def test_latents_are_searched_once_for_all_steps(age: Call) -> None:
    fields = {"method": "searching", "optimisation": pb.OPTIMISATION_BUDGET_FAST, "blend": pb.BLEND_REPLACE}
    report = largest(age(at(TARGET), keep_identity=0.9, **fields))
    assert report.identity_similarity >= 0.9


@pytest.mark.parametrize("budget", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_a_budget_that_is_no_similarity_is_rejected(tiny: FaceAgingStub, image: pb.Image, budget: float) -> None:
    request = pb.AgeTransformRequest(image=image, targets=[at(TARGET)], keep_identity=budget)
    message = "is out of range; it must be a similarity above 0 and at most 1"
    expect(rejected(tiny.AgeTransform, request), "SETTING_OUT_OF_RANGE", "keep_identity", message)


def test_a_cancelled_call_ends_its_search() -> None:
    drawing = Drawing(np.zeros((2, 2, 3), np.float32), np.ones((2, 2, 3), np.float32))
    looks: list[int] = []

    def similarities(drawings: Any) -> list[float]:
        looks.append(1)
        return [0.0]

    search = IdentityBudget(0.5, [Age(years=20)], (), lambda *_: [[drawing]], similarities)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CallCancelledError):
        search.apply([DrawnFaces([Age(years=50)], [drawing])], cancelled)
    assert len(looks) == 1


def test_a_real_face_keeps_its_identity(stub: FaceAgingStub, portrait_file: bytes) -> None:
    """By the embedded bundle's own networks, which are not told apart from what is reported."""
    target = [at(75)]

    def report(**fields: Any) -> pb.FaceReport:
        request = pb.AgeTransformRequest(image=pb.Image(data=portrait_file), targets=target, **fields)
        return largest(stub.AgeTransform(request, timeout=SECONDS))

    whole = report()
    budget = (1 + whole.identity_similarity) / 2
    held = report(keep_identity=budget)
    assert whole.identity_similarity < budget <= held.identity_similarity
    assert 0 < held.reached.share < 1
    assert held.source.years < held.reached.years < 75
