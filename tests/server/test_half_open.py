"""Calls whose request never arrives: they take no thread, and have to give way to those who send theirs."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.rpc import receiving
from dorian_server.rpc.call import AbortError, Call
from dorian_server.rpc.front import Front
from dorian_server.rpc.receiving import Patience, Receiving
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Load, Security, Settings
from tests.raw_http2 import RawConnection

SECONDS = 60
SOON = 5  # seconds
ANSWERED = 20  # seconds, within which a caller is answered whatever others do, however busy the machine is
AGE, DETECT, CHECK = (
    "/dorian.v1.FaceAging/AgeTransform",
    "/dorian.v1.FaceAging/DetectFaces",
    "/grpc.health.v1.Health/Check",
)
HALF = b"\0" + (15 * 2**20).to_bytes(4, "big") + bytes(4000)  # the beginning of a message of 15 MiB
CONNECTIONS, STREAMS = 5, 80


@pytest.fixture
def serve(searching_bundle: Bundle) -> Iterator[Callable[..., str]]:
    """Starts a server with two threads for work, and limits; its address."""
    with ExitStack() as stack:

        def begin(**limits: Any) -> str:
            settings = Settings(
                searching_bundle.folder, host="127.0.0.1", port=0, threads=1, load=Load(2), limits=Limits(**limits)
            )
            server = start(settings)
            stack.callback(server.stop)
            return f"127.0.0.1:{server.port}"

        yield begin


def require_service(address: str) -> None:
    """A caller who behaves, and a health check, on a connection of their own."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        health, stub = health_pb2_grpc.HealthStub(channel), FaceAgingStub(channel)
        for _ in range(5):
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=ANSWERED).status == 1
            with pytest.raises(grpc.RpcError) as caught:
                stub.DetectFaces(pb.DetectFacesRequest(), timeout=ANSWERED)
            assert caught.value.details() == "the image is empty; send the bytes of a JPEG, PNG or WebP file"


@pytest.mark.parametrize("method", [DETECT, CHECK, "/dorian.v1.FaceAging/Optimize"])
@pytest.mark.parametrize("beginning", [None, HALF], ids=["headers alone", "half a message"])
def test_half_open_calls_hold_nobody_up(serve: Callable[..., str], method: str, beginning: bytes | None) -> None:
    address = serve()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(RawConnection(address))
            connection.send(frame for _ in range(STREAMS) for frame in connection.half_open(method, beginning))
        time.sleep(0.2)
        require_service(address)


def test_they_are_told_when_the_server_stops(searching_bundle: Bundle) -> None:
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        requests = iter(lambda: time.sleep(SOON), None)  # type: ignore[arg-type]
        call = channel.stream_unary(DETECT).future(requests, timeout=SECONDS)
        time.sleep(0.2)
        server.stop(SOON)
        error = call.exception(SECONDS)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert error.details().startswith("the server is stopping; the call was not begun")


@pytest.mark.parametrize("kind", ["resets", "settings"])
def test_floods_cancel_nobody_else(serve: Callable[..., str], kind: str) -> None:
    """Calls of another method that are begun and cancelled at once, as often as the connection takes them, or settings."""
    address, stopped = serve(), threading.Event()

    def flood() -> None:
        while not stopped.is_set():
            with suppress(OSError), RawConnection(address) as connection:
                while connection.is_open and not stopped.is_set():
                    resets = [frame for _ in range(20) for frame in connection.reset(AGE)]
                    connection.send(resets if kind == "resets" else [connection.settings()] * 100)

    with ThreadPoolExecutor() as pool:
        flooding = [pool.submit(flood) for _ in range(2)]
        try:
            time.sleep(0.2)
            require_service(address)
        finally:
            stopped.set()
        for future in flooding:
            future.result()


@pytest.mark.slow
def test_a_connection_may_ping_every_ten_seconds(serve: Callable[..., str]) -> None:
    """For minutes, without a call; the third ping that comes too soon would end it."""
    with RawConnection(serve()) as connection:
        for _ in range(5):
            connection.send([connection.ping()])
            time.sleep(10)
        assert connection.is_open
        for _ in range(10):
            with suppress(OSError):
                connection.send([connection.ping()])
            time.sleep(0.1)
        assert not connection.is_open


def test_they_are_ended_after_a_while(serve: Callable[..., str]) -> None:
    address = serve(request_timeout=0.2)
    with grpc.insecure_channel(address) as channel:
        never = iter(lambda: time.sleep(SECONDS), None)  # type: ignore[arg-type]
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(DETECT)(never, timeout=SOON)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "the request has not arrived within 0.2 s"


def test_a_call_that_ends_without_a_request(serve: Callable[..., str]) -> None:
    with grpc.insecure_channel(serve()) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(DETECT)(iter(()), timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == f"{DETECT} needs a request; the call has none"


def test_a_request_that_is_no_protobuf(serve: Callable[..., str]) -> None:
    with grpc.insecure_channel(serve()) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(DETECT)(b"\xff\xff", timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the request cannot be parsed; send the method's message in protobuf"


def test_a_method_that_there_is_not(serve: Callable[..., str]) -> None:
    with grpc.insecure_channel(serve()) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/dorian.v1.FaceAging/Sing")(b"", timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_methods_have_rows_of_their_own(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a flood of calls of one method would hold up those of others, health checks as well."""
    found_late: list[str] = []
    find = Front.service

    def service(front: Front, details: grpc.HandlerCallDetails) -> Any:
        found_late.append(details.method)
        return find(front, details)

    monkeypatch.setattr(Front, "service", service)
    address = serve()
    require_service(address)
    with grpc.insecure_channel(address) as channel:
        for method in ("AgeTransform", "CompareFaces", "ListMethods", "Optimize", "Reconstruct", "Sing"):
            with suppress(grpc.RpcError):
                channel.unary_unary(f"/dorian.v1.FaceAging/{method}")(b"", timeout=SECONDS)
    assert found_late == ["/dorian.v1.FaceAging/Sing"]


def test_collections_of_garbage_pass_over_what_stays(searching_bundle: Bundle) -> None:
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        server.stop()
    assert gc.get_freeze_count() == 0


def test_reflection_answers_one_request_after_the_other(searching_bundle: Bundle) -> None:
    """Its stream takes no thread between two requests."""
    security = Security(reflection=True)
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=security))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            answers = list(ask(iter([request, request]), timeout=SECONDS))
    finally:
        server.stop()
    names = [[service.name for service in answer.list_services_response.service] for answer in answers]
    assert len(names) == 2
    assert names[0] == names[1]
    assert "dorian.v1.FaceAging" in names[0]


# --- who gives way ---


class Sender:
    """A call from a connection whose request arrives when ``sent`` is set."""

    def __init__(self, connection: str) -> None:
        self.connection, self.sent = connection, asyncio.Event()
        self.call = Call(cast("grpc.aio.ServicerContext[Any, Any]", self), ())

    def peer(self) -> str:
        return self.connection

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def time_remaining(self) -> None:
        return None

    async def read(self) -> bytes:
        await self.sent.wait()
        return b"request"

    async def receive(self, place: Receiving) -> str:
        """What becomes of it."""
        try:
            return cast(bytes, await place.receive(cast(Any, self), self.call)).decode()
        except AbortError:
            code = self.call.code()
            assert code is not None
            return code.name


IMPATIENT = Patience(many=0.01, alone=0.01, few=0.01, look=0.01)


def fates(
    senders: list[Sender], *prompt: Sender, places: int, timeout: float = SECONDS, patience: Patience = IMPATIENT
) -> list[str]:
    """What becomes of ``senders``, and then of those who send at once, when the last of these has been received."""

    async def run() -> list[str]:
        room = Receiving(places, timeout, patience)
        tasks = [asyncio.create_task(sender.receive(room)) for sender in senders]
        await asyncio.sleep(0)
        for sender in prompt:
            sender.sent.set()
            tasks.append(asyncio.create_task(sender.receive(room)))
        await asyncio.wait_for(asyncio.gather(*tasks[len(senders) :]), SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return ["waits" if task.cancelled() else task.result() for task in tasks]

    return asyncio.run(run())


def connections(*names: str) -> list[Sender]:
    return [Sender(f"ipv4:10.0.0.{name}") for name in names]


def test_the_slowest_of_the_connection_with_most_give_way_to_as_many_as_wait() -> None:
    senders = connections("1:1", "2:1", "2:1", "2:1", "2:2")
    fate = fates(senders, *connections("3:1"), places=4)
    assert fate == ["waits", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "waits", "waits", "request"]


def test_nobody_gives_way_while_there_is_room() -> None:
    assert fates(connections("1:1", "1:1"), *connections("3:1"), places=3) == ["waits", "waits", "request"]


def test_there_is_a_place_for_a_new_connection_at_once() -> None:
    senders = connections(*["1:1"] * 20, *["1:2"] * 20)
    fate = fates(senders, *connections("2:1"), places=8, patience=Patience(many=SECONDS))
    assert fate == ["waits"] * 40 + ["request"]


def test_a_connection_whose_calls_were_given_up_leaves_places_to_others() -> None:
    """Four connections take all places; once some of theirs have been given up, a connection that begins finds a place at once."""

    async def run() -> None:
        room = Receiving(8, SECONDS, Patience(many=0.05, alone=0.05, few=0.05, look=0.01))
        many = connections(*[name for name in ("1:1", "1:2", "1:3", "1:4") for _ in range(50)])
        tasks = [asyncio.create_task(sender.receive(room)) for sender in many]
        await asyncio.sleep(0.2)
        for _ in range(5):
            (prompt,) = connections("1:9")
            prompt.sent.set()
            begin = time.perf_counter()
            assert await asyncio.wait_for(prompt.receive(room), SECONDS) == "request"
            assert time.perf_counter() - begin < 0.04, "it waited for others to be given up"
            await asyncio.sleep(0.03)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(run())


def test_the_only_call_of_a_connection_has_more_time_than_those_of_many() -> None:
    """As its message may be here, and only the loop be late; even where others of its address have many."""

    async def run() -> list[str]:
        room = Receiving(8, SECONDS, Patience(many=0.01, alone=SECONDS, look=0.01))
        (alone,) = connections("1:9")
        fate = asyncio.create_task(alone.receive(room))
        await asyncio.sleep(0)
        many = [asyncio.create_task(sender.receive(room)) for sender in connections(*["1:1"] * 40)]
        while sum(task.done() for task in many) < 20:
            await asyncio.sleep(0.01)
        alone.sent.set()
        fates = [await fate, *(task.result() for task in many if task.done())]
        for task in many:
            task.cancel()
        await asyncio.wait(many)
        return fates

    fate, *others = asyncio.run(run())
    assert fate == "request"
    assert set(others) == {"RESOURCE_EXHAUSTED"}


def test_more_calls_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_WAITING", 10)
    fate = fates(connections(*["1:1"] * 30), *connections("2:1"), places=8)
    assert fate[-1] == "request"
    assert fate.count("RESOURCE_EXHAUSTED") >= 12
