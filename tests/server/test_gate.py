"""A server that is full, over a real socket: who is rejected and how, what is counted, who is let in all the same, and that it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.admission.cost import cost_of_ageing, cost_of_detection
from dorian_server.admission.estimates import Estimates
from dorian_server.domain import throttle
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.rpc import front
from dorian_server.rpc.call_details import FACE_AGING_SERVICE
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Load, Settings
from dorian_server.telemetry import calls
from dorian_server.telemetry.telemetry import Telemetry
from tests.server.rejections import SECONDS, Rejection
from tests.server.tiny_searches import photo_of
from tests.server.waiting import wait_until

MAX_WAIT = 0.05  # seconds; less than anything counts that was never done before
BATCH = (("dorian-priority", "batch"),)
KINDS = {
    "AgeTransform": "unary",
    "DetectFaces": "unary",
    "CompareFaces": "unary",
    "Reconstruct": "unary",
    "Optimize": "server_stream",
}
DETECTIONS = {"grpc_type": "unary", "grpc_service": FACE_AGING_SERVICE, "grpc_method": "DetectFaces"}
Call = Any  # gRPC's stubs have no name for it


class FullServer:
    """A server with one place; what it counts, and calls to it."""

    def __init__(self, channel: grpc.Channel, telemetry: Telemetry, image: pb.Image) -> None:
        self.channel, self.stub, self.telemetry, self.image = channel, FaceAgingStub(channel), telemetry, image
        self._sent: list[Call] = []  # gRPC cancels calls that nobody holds
        self.requests: dict[str, Any] = {
            "AgeTransform": pb.AgeTransformRequest(image=image, targets=[pb.Age(years=60)]),
            "DetectFaces": pb.DetectFacesRequest(image=image),
            "CompareFaces": pb.CompareFacesRequest(first=image, second=image),
            "Reconstruct": pb.ReconstructRequest(image=image),
            "Optimize": pb.OptimizeRequest(image=image),
        }

    def call(self, name: str, metadata: Any = (), timeout: float = SECONDS) -> Any:
        """The answer, the last one where there are several."""
        answer = getattr(self.stub, name)(self.requests[name], metadata=metadata, timeout=timeout)
        return list(answer)[-1] if KINDS[name] == "server_stream" else answer

    def queue(self, metadata: Any = (), timeout: float = SECONDS) -> Call:
        """A call that waits in the queue."""
        before = self.waiting
        call = self.stub.DetectFaces.future(self.requests["DetectFaces"], metadata=metadata, timeout=timeout)
        self._sent.append(call)
        self.await_waiting(before + 1)
        return call

    def rejection(self, name: str = "DetectFaces", metadata: Any = ()) -> Rejection:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(name, metadata)
        return Rejection(caught.value)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return int(self.telemetry.metrics.registry.get_sample_value("dorian_queue_requests") or 0)

    def await_waiting(self, requests: int) -> None:
        assert wait_until(lambda: self.waiting == requests)

    def count(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


@pytest.fixture
def max_wait() -> float:
    return MAX_WAIT


@pytest.fixture
def full_server(searching_bundle: Bundle, write: Callable[..., bytes], max_wait: float) -> Iterator[FullServer]:
    telemetry = Telemetry()
    load = Load(workers=1, max_wait=max_wait)
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, load=load), telemetry)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FullServer(channel, telemetry, pb.Image(data=write(photo_of((220, 160, 60)))))
    server.stop()


@pytest.fixture
def release(full_server: FullServer, evaluations: Any) -> Iterator[Callable[[], None]]:
    """The one place is taken, by a search that goes on when it is released."""
    begun, go = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        begun.set()
        assert go.wait(SECONDS)

    evaluations.before = hold
    request = pb.ReconstructRequest(image=full_server.image, mode=pb.RECONSTRUCTION_MODE_IDENTITY)
    call = full_server.stub.Reconstruct.future(request, timeout=SECONDS)
    assert begun.wait(SECONDS)

    def let_go() -> None:
        go.set()
        assert call.result().faces

    yield let_go
    let_go()


# --- rejected at the gate ---


@pytest.mark.parametrize("name", KINDS)
def test_a_full_server_rejects_each_call_and_says_when_to_retry(
    full_server: FullServer, release: Callable[[], None], name: str
) -> None:
    full_server.queue()
    rejection = full_server.rejection(name)
    assert rejection.code == "RESOURCE_EXHAUSTED"
    assert (rejection.info.reason, rejection.info.domain) == ("QUEUE_FULL", "dorian.v1")
    assert rejection.message == "all the work that may wait here waits already"
    assert rejection.seconds_to_wait == pytest.approx(0.1)
    assert not rejection.bad_request.field_violations
    assert full_server.count("dorian_refused", reason="QUEUE_FULL") == 1
    labels = {"grpc_type": KINDS[name], "grpc_service": FACE_AGING_SERVICE, "grpc_method": name}
    assert wait_until(lambda: full_server.count("grpc_server_handled", **labels, grpc_code="RESOURCE_EXHAUSTED") == 1)
    assert full_server.waiting == 1


def test_rejections_are_all_counted_but_hardly_logged(
    full_server: FullServer,
    release: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "QUIET", 3600.0)
    full_server.queue()
    with caplog.at_level(logging.INFO, calls.log.name):
        for _ in range(4):
            full_server.rejection()
        assert wait_until(
            lambda: full_server.count("grpc_server_handled", **DETECTIONS, grpc_code="RESOURCE_EXHAUSTED") == 4
        )
    (line,) = [record.message for record in caplog.records if record.name == calls.log.name]
    assert line.startswith("DetectFaces RESOURCE_EXHAUSTED in ")


def test_photos_are_worked_on_by_no_more_threads_than_there_are_workers(
    full_server: FullServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    detect = Pipeline.detect

    def noted(*given: Any) -> Any:
        names.add(threading.current_thread().name)
        return detect(*given)

    monkeypatch.setattr(Pipeline, "detect", noted)
    for _ in range(3):
        together = [
            full_server.stub.DetectFaces.future(full_server.requests["DetectFaces"], timeout=SECONDS) for _ in range(2)
        ]
        assert all(
            call.exception() is None or Rejection(call.exception()).code == "RESOURCE_EXHAUSTED" for call in together
        )
    assert len(names) == 1


def test_all_is_as_before_once_there_is_room(full_server: FullServer, release: Callable[[], None]) -> None:
    waits = full_server.queue()
    full_server.rejection()
    release()
    assert len(waits.result().faces) == 1
    for name in KINDS:
        assert full_server.call(name)
    assert full_server.waiting == 0
    assert full_server.count("dorian_refused", reason="QUEUE_FULL") == 1


def test_a_full_server_still_lists_its_methods_and_tells_its_health(
    full_server: FullServer, release: Callable[[], None]
) -> None:
    full_server.queue()
    assert full_server.rejection().info.reason == "QUEUE_FULL"
    assert full_server.stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods
    health = health_pb2_grpc.HealthStub(full_server.channel)
    for service in ("", "liveness", "readiness", FACE_AGING_SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("size", [2**20, 20 * 2**20], ids=["large", "larger than it may be"])
def test_the_request_of_one_who_is_rejected_is_not_read(
    full_server: FullServer, release: Callable[[], None], size: int
) -> None:
    """What is no request at all, or too large, fails as soon as it is read."""
    send = full_server.channel.unary_unary(f"/{FACE_AGING_SERVICE}/AgeTransform")
    with pytest.raises(grpc.RpcError) as read:
        send(b"\xff" * size, timeout=SECONDS)
    assert read.value.code() == (
        grpc.StatusCode.INVALID_ARGUMENT if size == 2**20 else grpc.StatusCode.RESOURCE_EXHAUSTED
    ), "there is room yet"
    full_server.queue()
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\xff" * size, timeout=SECONDS)
    assert Rejection(caught.value).info.reason == "QUEUE_FULL"


def test_requests_that_are_no_messages_are_logged_once_a_second(
    full_server: FullServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "QUIET", 3600.0)
    monkeypatch.setattr(front, "_UNREADABLE", throttle.Throttle())
    send = full_server.channel.unary_unary(f"/{FACE_AGING_SERVICE}/DetectFaces")
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            with pytest.raises(grpc.RpcError, match="cannot be parsed"):
                send(b"\xff" * 100, timeout=SECONDS)
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.message for record in lines] == ["a request could not be parsed as its method's message"]
    assert lines[0].exc_info is None


def test_batch_callers_are_rejected_where_interactive_ones_are_let_in(
    full_server: FullServer, release: Callable[[], None]
) -> None:
    batch = full_server.queue(BATCH)
    assert full_server.rejection(metadata=BATCH).info.reason == "QUEUE_FULL"
    interactive = full_server.queue()
    assert full_server.waiting == 2
    for metadata in ((), BATCH, (("dorian-priority", "urgent"),)):
        assert full_server.rejection(metadata=metadata).info.reason == "QUEUE_FULL"
    release()
    assert all(len(call.result().faces) == 1 for call in (interactive, batch))


def test_a_word_that_is_no_priority_stands_for_interactive(
    full_server: FullServer, release: Callable[[], None]
) -> None:
    full_server.queue(BATCH)
    assert full_server.queue((("dorian-priority", "urgent"),))
    assert full_server.waiting == 2


# --- rejected behind it, as what is asked for is known ---


@pytest.mark.parametrize("max_wait", [1.0])
def test_what_is_too_much_work_for_the_room_that_is_left_is_rejected(
    full_server: FullServer, release: Callable[[], None]
) -> None:
    full_server.queue()
    full_server.requests["AgeTransform"].targets.extend([pb.Age(years=60)] * 31)
    rejection = full_server.rejection("AgeTransform")
    assert (rejection.code, rejection.info.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert rejection.message == "0.1 s of work wait already; this server lets 1 s wait"
    sent, limits = full_server.image.data, Limits()
    costs = [cost_of_detection(sent, limits), cost_of_ageing(AgeRequest(sent, [Age(years=60)] * 32), limits)]
    work = sum(Estimates().expected(cost) for cost in costs)
    assert rejection.seconds_to_wait == pytest.approx(work - 1, abs=0.001)
    assert full_server.count("dorian_refused", reason="QUEUE_FULL") == 1
    full_server.queue()
    assert full_server.waiting == 2


@pytest.mark.parametrize("name", KINDS)
def test_a_deadline_that_is_too_short_is_told_at_once(
    full_server: FullServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dorian_server.admission.estimates.Estimates.fastest", lambda estimates, cost: 2.0 * SECONDS)
        rejection = full_server.rejection(name)
        assert (rejection.code, rejection.info.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT")
        assert f"calls like this have taken {2 * SECONDS}.00 s at least" in rejection.message
        assert full_server.count("dorian_refused", reason="DEADLINE_TOO_SHORT") == 1
    assert full_server.call(name)


# --- who leaves ---


@pytest.mark.parametrize("how", ["cancelled", "past its deadline"])
def test_a_caller_that_leaves_while_it_waits_makes_room(
    full_server: FullServer, release: Callable[[], None], how: str
) -> None:
    call = full_server.queue(timeout=SECONDS if how == "cancelled" else 3)
    if how == "cancelled":
        call.cancel()
    else:
        assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    full_server.await_waiting(0)
    waits = full_server.queue()
    release()
    assert len(waits.result().faces) == 1
    assert full_server.count("dorian_refused", reason="QUEUE_FULL") == 0
