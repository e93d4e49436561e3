"""A server from its start to its end: what it tells of itself, what it takes, and what becomes of calls under way."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle, BundleError
from dorian_server.cli.supervisor import shared_port
from dorian_server.domain.errors import StartupError
from dorian_server.rpc.call_details import FACE_AGING_SERVICE
from dorian_server.rpc.health_service import LIVENESS, READINESS
from dorian_server.serving import server as serving
from dorian_server.serving.server import Server, start
from dorian_server.settings import Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.server.rejections import Rejection
from tests.server.tiny_searches import photo_of

SECONDS = 60
SOON = 20  # seconds, in which what need not wait for a grace of a minute is done, however busy the machine is
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
CALLS: dict[str, Any] = {
    "ListMethods": pb.ListMethodsRequest(),
    "DetectFaces": pb.DetectFacesRequest(),
    "CompareFaces": pb.CompareFacesRequest(),
    "AgeTransform": pb.AgeTransformRequest(),
    "Reconstruct": pb.ReconstructRequest(),
    "Optimize": pb.OptimizeRequest(),
    "MixStyles": pb.MixStylesRequest(),
}


class Opening:
    """Bundles that are opened when the test lets them be; ``error`` is raised then, if there is one."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.error: Exception | None = None


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opening]:
    held, open_bundle = Opening(), serving.open_bundle

    def open_when_allowed(*arguments: Any) -> Any:
        held.begun.set()
        assert held.may_end.wait(SECONDS)
        if held.error is not None:
            raise held.error
        return open_bundle(*arguments)

    monkeypatch.setattr(serving, "open_bundle", open_when_allowed)
    yield held
    held.may_end.set()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def begin(searching_bundle: Bundle, telemetry: Telemetry) -> Iterator[Callable[..., tuple[Server, Future[None]]]]:
    """A server on a bundle, and what becomes of its ``open``, which another thread calls."""
    with ThreadPoolExecutor() as pool, ExitStack() as stack:

        def begin(port: int = 0, shares_port: bool = False) -> tuple[Server, Future[None]]:
            settings = Settings(searching_bundle.folder, host="127.0.0.1", port=port, threads=1)
            server = Server(settings, telemetry, shares_port)
            stack.callback(server.stop)
            return server, pool.submit(server.open)

        yield begin


@pytest.fixture
def connect() -> Iterator[Callable[[Server], grpc.Channel]]:
    """New connections to servers, until the end of the test."""
    with ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        yield lambda server: stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}", options))


def states(channel: grpc.Channel) -> dict[str, int]:
    """What health checks are told, by what they ask for."""
    check = health_pb2_grpc.HealthStub(channel).Check
    requests = {name: health_pb2.HealthCheckRequest(service=name) for name in (LIVENESS, *READINESS)}
    return {name: check(request, timeout=SECONDS).status for name, request in requests.items()}


def watch(channel: grpc.Channel, service: str = "") -> Iterator[int]:
    """What one is told who watches: what it is now, then what it becomes."""
    request = health_pb2.HealthCheckRequest(service=service)
    return (answer.status for answer in health_pb2_grpc.HealthStub(channel).Watch(request, timeout=SECONDS))


def call(channel: grpc.Channel, name: str) -> Rejection | None:
    """Why a call is rejected, or ``None`` where it is not."""
    rpc = getattr(FaceAgingStub(channel), name)
    try:
        answer = rpc(CALLS[name], timeout=SECONDS)
        if name == "Optimize":
            next(answer)
    except grpc.RpcError as error:
        return Rejection(error)
    return None


# --- the start ---


def test_the_service_in_readiness_is_the_one_that_is_served() -> None:
    assert FACE_AGING_SERVICE in READINESS
    assert pb.DESCRIPTOR.services_by_name["FaceAging"].full_name == FACE_AGING_SERVICE
    assert set(CALLS) == {method.name for method in pb.DESCRIPTOR.services_by_name["FaceAging"].methods}


def test_it_lives_before_it_is_ready(
    opening: Opening, begin: Callable[..., Any], connect: Callable[[Server], grpc.Channel]
) -> None:
    server, ready = begin()
    channel = connect(server)
    assert opening.begun.wait(SECONDS)
    assert states(channel) == {LIVENESS: SERVING} | dict.fromkeys(READINESS, NOT_SERVING)
    watched = [watch(channel, name) for name in READINESS]
    assert [next(watcher) for watcher in watched] == [NOT_SERVING] * len(READINESS)
    opening.may_end.set()
    assert [next(watcher) for watcher in watched] == [SERVING] * len(READINESS)
    ready.result(SECONDS)
    assert states(channel) == dict.fromkeys((LIVENESS, *READINESS), SERVING)
    assert call(channel, "ListMethods") is None


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_rejected_until_it_is_ready(
    opening: Opening,
    begin: Callable[..., Any],
    connect: Callable[[Server], grpc.Channel],
    name: str,
) -> None:
    server, ready = begin()
    assert opening.begun.wait(SECONDS)
    rejection = call(connect(server), name)
    assert rejection is not None
    assert (rejection.code, rejection.info.reason) == ("UNAVAILABLE", "NOT_READY")
    assert "the server is starting" in rejection.message
    opening.may_end.set()
    ready.result(SECONDS)
    after = call(connect(server), name)
    assert after is None or after.code == "INVALID_ARGUMENT", "which is the request's own fault"


def test_rejections_of_the_start_are_counted(
    opening: Opening, begin: Callable[..., Any], connect: Callable[[Server], grpc.Channel], telemetry: Telemetry
) -> None:
    server, _ = begin()
    channel = connect(server)
    for name in CALLS:
        assert call(channel, name) is not None
    opening.may_end.set()
    counted = telemetry.metrics.registry.get_sample_value("dorian_refused_total", {"reason": "NOT_READY"})
    assert counted == len(CALLS)


def test_one_that_cannot_open_its_bundle_is_gone(
    opening: Opening, searching_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Server] = []
    listen = Server.__init__
    monkeypatch.setattr(Server, "__init__", lambda self, *given: (servers.append(self), listen(self, *given))[1])
    opening.error = BundleError("a graph is missing")
    opening.may_end.set()
    with pytest.raises(StartupError, match=r"^a graph is missing$"):
        start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", servers[0].port), SECONDS)


def test_on_a_shared_port_it_does_not_listen_before_it_is_ready(
    opening: Opening, begin: Callable[..., Any], connect: Callable[[Server], grpc.Channel]
) -> None:
    """Else it would take calls from those who are, and reject them."""
    with shared_port("127.0.0.1", 0) as port:
        server, ready = begin(port, shares_port=True)
        assert opening.begun.wait(SECONDS)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), SECONDS)
        opening.may_end.set()
        ready.result(SECONDS)
        assert states(connect(server)) == dict.fromkeys((LIVENESS, *READINESS), SERVING)


# --- the end ---


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """Lets searches that are held go on."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hold_search(
    write: Callable[..., bytes], evaluations: Any, go_on: threading.Event
) -> Callable[[grpc.Channel], grpc.Future[pb.ReconstructResponse]]:
    """Begins a search, and returns its future when it is under way and held."""
    image = pb.Image(data=write(photo_of((220, 160, 60))))
    request = pb.ReconstructRequest(image=image, mode=pb.RECONSTRUCTION_MODE_IDENTITY)
    begun = threading.Event()

    def hold(number: int) -> None:
        begun.set()
        assert go_on.wait(SECONDS)

    def begin(channel: grpc.Channel) -> grpc.Future[pb.ReconstructResponse]:
        evaluations.before = hold
        future = FaceAgingStub(channel).Reconstruct.future(request, timeout=SECONDS)
        assert begun.wait(SECONDS)
        return future

    return begin


def test_it_stops_when_the_calls_that_it_took_have_ended_and_tells_before(
    begin: Callable[..., Any],
    connect: Callable[[Server], grpc.Channel],
    hold_search: Callable[[grpc.Channel], Any],
    go_on: threading.Event,
) -> None:
    server, ready = begin()
    ready.result(SECONDS)
    channel = connect(server)
    watched = [watch(channel, name) for name in READINESS]
    assert [next(watcher) for watcher in watched] == [SERVING] * len(READINESS)
    under_way = hold_search(channel)
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(go_on.set)
        stopped, since = pool.submit(server.stop, SECONDS), time.monotonic()
        assert [list(watcher) for watcher in watched] == [[NOT_SERVING]] * len(READINESS), "then the watch is over"
        with pytest.raises(grpc.RpcError) as rejected:
            FaceAgingStub(connect(server)).ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
        assert rejected.value.code() == grpc.StatusCode.UNAVAILABLE
        assert not under_way.done()
        assert not stopped.done()
        go_on.set()
        assert under_way.result().faces[0].steps > 0
        stopped.result(SECONDS)
    assert time.monotonic() - since < SOON, "nobody who watches holds it up"


def test_callers_are_told_that_it_stops_before_their_connection_is_closed(
    begin: Callable[..., Any],
    connect: Callable[[Server], grpc.Channel],
    hold_search: Callable[[grpc.Channel], Any],
    go_on: threading.Event,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While gRPC closes it they would be told CANCELLED, and not know whether to try again."""
    waits, may_close = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        assert may_close.wait(SECONDS)

    monkeypatch.setattr(serving, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    server, ready = begin()
    ready.result(SECONDS)
    channel = connect(server)
    under_way = hold_search(channel)
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(go_on.set)
        stack.callback(may_close.set)
        stopped = pool.submit(server.stop, SECONDS)
        assert waits.wait(SECONDS)
        for name in CALLS:
            rejection = call(channel, name)
            assert rejection is not None
            assert (rejection.code, rejection.info.reason) == ("UNAVAILABLE", "STOPPING")
        assert states(connect(server)) == {LIVENESS: SERVING} | dict.fromkeys(READINESS, NOT_SERVING)
        may_close.set()
        go_on.set()
        assert under_way.result().faces
        stopped.result(SECONDS)
    counted = telemetry.metrics.registry.get_sample_value("dorian_refused_total", {"reason": "STOPPING"})
    assert counted == len(CALLS)


def test_calls_that_outlast_the_grace_are_ended(
    begin: Callable[..., Any],
    connect: Callable[[Server], grpc.Channel],
    hold_search: Callable[[grpc.Channel], Any],
) -> None:
    server, ready = begin()
    ready.result(SECONDS)
    under_way = hold_search(connect(server))
    since = time.monotonic()
    server.stop(0.2)
    assert 0.2 <= time.monotonic() - since < SOON
    assert under_way.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


# --- those who watch ---


def test_those_who_watch_take_no_thread_from_those_who_call(
    begin: Callable[..., Any], connect: Callable[[Server], grpc.Channel]
) -> None:
    """They are more than the server has threads, and need no key."""
    server, ready = begin()
    ready.result(SECONDS)
    watched = [watch(channel) for channel in [connect(server) for _ in range(5)] for _ in range(90)]
    channel = connect(server)
    assert {next(watcher) for watcher in watched} == {SERVING}
    assert call(channel, "ListMethods") is None


def test_one_who_leaves_is_forgotten(begin: Callable[..., Any], connect: Callable[[Server], grpc.Channel]) -> None:
    server, ready = begin()
    ready.result(SECONDS)
    stub = health_pb2_grpc.HealthStub(connect(server))
    for _ in range(3):
        watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watched).status == SERVING
        watched.cancel()
    health_service = server._health
    end = time.monotonic() + SECONDS
    while health_service._watchers and time.monotonic() < end:
        time.sleep(0.01)
    assert not health_service._watchers
    gc.collect()
    server.stop(SECONDS)
