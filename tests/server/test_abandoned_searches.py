"""Callers who leave while a latent is searched: the search ends at once, and the place is free for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.domain.requests import SEARCH_BUDGETS, SearchBudget, SearchSettings
from dorian_server.settings import Limits, Load
from tests.server.tiny_searches import photo_of

Write = Callable[..., bytes]

SECONDS = 120
DEADLINE = 3  # seconds, in which some steps are taken
LINGERS = 1.5  # seconds, in which a free place would have answered
NEVER = 10**9  # steps that no search of these tests ends with
ENDLESS = pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=NEVER)
IDENTITY = pb.RECONSTRUCTION_MODE_IDENTITY
FACES = ((220, 160, 60), (40, 90, 180))


@pytest.fixture
def stub(serve: Callable[..., FaceAgingStub], searching_bundle: Bundle) -> FaceAgingStub:
    """A server with one place, which lets a search take as long as it likes."""
    return serve(searching_bundle, load=Load(workers=1), limits=Limits(max_steps=NEVER))


@pytest.fixture
def image(write: Write) -> pb.Image:
    return pb.Image(data=write(photo_of(*FACES)))


@pytest.fixture
def under_way(evaluations: Any) -> threading.Event:
    """Set once some steps have been taken."""
    begun = threading.Event()
    evaluations.before = lambda number: begun.set() if number == 10 else None
    return begun


@pytest.fixture
def expect_ended(stub: FaceAgingStub, image: pb.Image, evaluations: Any) -> Callable[[], None]:
    """The one place is free again, and nothing is searched any more."""

    def expect() -> None:
        assert len(stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS).faces) == 2
        taken = len(evaluations.rows)
        for thread in threading.enumerate():
            if thread.name.startswith(("optimize", "search")):
                thread.join(SECONDS)
                assert not thread.is_alive()
        assert len(stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS).faces) == 2
        assert len(evaluations.rows) == taken < NEVER

    return expect


def expect_left(error: grpc.RpcError, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture) -> None:
    """The caller's own doing, and none of ours."""
    assert error.code() == code
    assert [record for record in caplog.records if record.name.startswith("dorian_server")] == []


def test_a_cancelled_search_ends_at_once(
    stub: FaceAgingStub, image: pb.Image, expect_ended: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    call = stub.Optimize(pb.OptimizeRequest(image=image, search=ENDLESS), timeout=SECONDS)
    steps = [next(call).progress.step for _ in range(20)]
    assert steps == list(range(20))
    call.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    expect_left(caught.value, grpc.StatusCode.CANCELLED, caplog)
    expect_ended()


def test_its_place_is_free_when_it_has_ended_and_not_before(
    stub: FaceAgingStub, image: pb.Image, evaluations: Any, expect_ended: Callable[[], None]
) -> None:
    """It is called off while it evaluates, which takes its time."""
    begun, never = threading.Event(), threading.Event()

    def linger(number: int) -> None:
        if number == 3:
            begun.set()
            never.wait(LINGERS)

    evaluations.before = linger
    call = stub.Optimize(pb.OptimizeRequest(image=image, search=ENDLESS), timeout=SECONDS)
    assert begun.wait(SECONDS)
    call.cancel()
    expect_ended()
    assert len(evaluations.rows) == 4


def test_a_search_that_nobody_reads_ends_when_it_is_cancelled(
    stub: FaceAgingStub, image: pb.Image, under_way: threading.Event, expect_ended: Callable[[], None]
) -> None:
    call = stub.Optimize(pb.OptimizeRequest(image=image, search=ENDLESS, preview_every=1), timeout=SECONDS)
    assert under_way.wait(SECONDS)
    call.cancel()
    expect_ended()


def test_a_search_ends_with_its_deadline(
    stub: FaceAgingStub,
    image: pb.Image,
    under_way: threading.Event,
    expect_ended: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps: list[int] = []
    call = stub.Optimize(pb.OptimizeRequest(image=image, search=ENDLESS), timeout=DEADLINE)
    with pytest.raises(grpc.RpcError) as caught:
        steps.extend(message.progress.step for message in call)
    expect_left(caught.value, grpc.StatusCode.DEADLINE_EXCEEDED, caplog)
    assert under_way.is_set()
    assert steps == list(range(len(steps)))
    expect_ended()


def test_a_reconstruction_that_is_cancelled_ends_the_search_of_every_face(
    stub: FaceAgingStub,
    image: pb.Image,
    under_way: threading.Event,
    expect_ended: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = pb.ReconstructRequest(image=image, mode=IDENTITY, search=ENDLESS)
    call = stub.Reconstruct.future(request, timeout=SECONDS)
    assert under_way.wait(SECONDS)
    call.cancel()
    expect_ended()
    assert [record for record in caplog.records if record.name.startswith("dorian_server")] == []


def test_a_reconstruction_ends_with_its_deadline(
    stub: FaceAgingStub, image: pb.Image, expect_ended: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    request = pb.ReconstructRequest(image=image, mode=IDENTITY, search=ENDLESS)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Reconstruct(request, timeout=DEADLINE)
    expect_left(caught.value, grpc.StatusCode.DEADLINE_EXCEEDED, caplog)
    expect_ended()


def test_an_ageing_that_is_cancelled_ends_its_searches(
    stub: FaceAgingStub,
    image: pb.Image,
    under_way: threading.Event,
    expect_ended: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endless = SearchSettings("identity", "adam", NEVER)
    monkeypatch.setitem(cast(dict[SearchBudget, SearchSettings], SEARCH_BUDGETS), "full", endless)
    request = pb.AgeTransformRequest(image=image, targets=[pb.Age(years=70)], optimisation=pb.OPTIMISATION_BUDGET_FULL)
    call = stub.AgeTransform.future(request, timeout=SECONDS)
    assert under_way.wait(SECONDS)
    call.cancel()
    expect_ended()


def test_other_callers_go_on(serve: Callable[..., FaceAgingStub], searching_bundle: Bundle, image: pb.Image) -> None:
    """One leaves while the other shares its runs; the one who stays is told every step."""
    stub = serve(searching_bundle, load=Load(workers=2), limits=Limits(max_steps=NEVER))
    leaves, stays = (
        stub.Optimize(
            pb.OptimizeRequest(image=image, face=pb.FaceSelector(index=index), search=ENDLESS), timeout=SECONDS
        )
        for index in range(2)
    )
    assert [next(call).progress.step for call in (leaves, stays)] == [0, 0]
    leaves.cancel()
    assert [next(stays).progress.step for _ in range(200)] == list(range(1, 201))
    assert len(stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS).faces) == 2
    stays.cancel()
    both = [stub.DetectFaces.future(pb.DetectFacesRequest(image=image), timeout=SECONDS) for _ in range(2)]
    assert all(len(call.result().faces) == 2 for call in both)
