"""Each gRPC status, with the details that the server packs into it, becomes an exception of its own."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from dorian_client import (
    Busy,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    DorianError,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    NoFaceError,
    NotFound,
    PermissionDenied,
    PhotoError,
    ServerError,
    Unauthenticated,
)
from dorian_client._status import ERRORS_BY_CODE, ERRORS_BY_REASON

Pixels = npt.NDArray[np.uint8]

TABLE = [
    ("INVALID_ARGUMENT", "AGE_OUT_OF_RANGE", InvalidRequest),
    ("INVALID_ARGUMENT", "NO_FACE", NoFaceError),
    ("INVALID_ARGUMENT", "FACE_NOT_FOUND", InvalidRequest),
    ("INVALID_ARGUMENT", "FACE_UNUSABLE", InvalidRequest),
    ("INVALID_ARGUMENT", "FACE_TOO_MANY", InvalidRequest),
    ("NOT_FOUND", "METHOD_UNKNOWN", NotFound),
    ("NOT_FOUND", "METHOD_WITHHELD", NotFound),
    ("NOT_FOUND", "BUNDLE_UNKNOWN", NotFound),
    ("FAILED_PRECONDITION", "BUNDLE_BROKEN", FailedPrecondition),
    ("RESOURCE_EXHAUSTED", "QUEUE_FULL", Busy),
    ("RESOURCE_EXHAUSTED", "CALLS_AT_ONCE", Busy),
    ("RESOURCE_EXHAUSTED", "CALLS_PER_MINUTE", Busy),
    ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT", DeadlineExceeded),
    ("UNAVAILABLE", "NOT_READY", ConnectionFailed),
    ("UNAVAILABLE", "STOPPING", ConnectionFailed),
    ("INTERNAL", "INTERNAL", InternalError),
    ("UNIMPLEMENTED", "NOT_HERE", ServerError),
    ("UNAUTHENTICATED", "API_KEY_MISSING", Unauthenticated),
    ("PERMISSION_DENIED", "SCOPE_MISSING", PermissionDenied),
]


def test_the_table_is_tested_whole() -> None:
    assert {code.name for code in ERRORS_BY_CODE} == {code for code, _, kind in TABLE if kind is not ServerError}
    assert set(ERRORS_BY_REASON) <= {reason for _, reason, _ in TABLE}


@pytest.mark.parametrize(("code", "reason", "kind"), TABLE)
@pytest.mark.parametrize("detailed", [True, False])
def test_every_row_of_the_table(
    code: str, reason: str, kind: type[ServerError], detailed: bool, client: Client, fake: Any
) -> None:
    if detailed:
        fake.fail_with_status(
            grpc.StatusCode[code],
            "the server's message",
            reason=reason,
            field="targets[0].years",
            metadata={"limit": "16"},
        )
    else:
        fake.fail_with_status(grpc.StatusCode[code], "the server's message")
        kind = InvalidRequest if kind is NoFaceError else kind
    with pytest.raises(ServerError) as caught:
        client.methods()
    error = caught.value
    assert type(error) is kind
    assert isinstance(error.__cause__, grpc.RpcError)
    assert error.code == code
    assert ("the server's message" in str(error)) == (detailed or kind is not DeadlineExceeded)
    if detailed:
        assert (error.reason, error.field, error.metadata) == (reason, "targets[0].years", {"limit": "16"})
    else:
        assert (error.reason, error.field, error.metadata) == (None, None, {})


@pytest.mark.parametrize("call", ["age", "sweep", "detect", "compare", "reconstruct", "methods", "bundle"])
def test_every_call_translates(call: str, client: Client, fake: Any, pixels: Pixels) -> None:
    fake.fail("NO_FACE", "no face")
    photos = {"methods": 0, "bundle": 0, "compare": 2}.get(call, 1)
    with pytest.raises(NoFaceError):
        getattr(client, call)(*[pixels] * photos, *([30] if call == "age" else []))


def test_errors_of_the_fake_server(client: Client, pixels: Pixels) -> None:
    with pytest.raises(InvalidRequest, match="an age cannot be -3") as caught:
        client.age(pixels, [30, -3])
    assert (caught.value.reason, caught.value.field) == ("AGE_OUT_OF_RANGE", "targets[1].years")
    with pytest.raises(InvalidRequest) as caught:
        client.age(pixels, [])
    assert caught.value.reason == "TARGET_MISSING"
    with pytest.raises(InvalidRequest) as caught:
        client.age(b"no image", 30)
    assert caught.value.reason == "IMAGE_UNREADABLE"


def test_a_deadline_that_the_server_sees_to_be_too_short(client: Client, fake: Any) -> None:
    message = "the queue takes 3 s, and the call has 1 s left"
    fake.fail("DEADLINE_TOO_SHORT", message)
    with pytest.raises(DeadlineExceeded) as caught:
        client.methods()
    assert (str(caught.value), caught.value.reason) == (message, "DEADLINE_TOO_SHORT")


@pytest.mark.parametrize(
    ("reason", "message"), [("STOPPING", "the server at {} takes"), ("", "cannot reach a server at {}")]
)
def test_servers_that_take_no_calls_are_not_those_that_are_not_there(
    reason: str, message: str, client: Client, fake: Any
) -> None:
    fake.fail_with_status(grpc.StatusCode.UNAVAILABLE, "the server's message", reason=reason)
    with pytest.raises(ConnectionFailed, match=f"^{message.format(fake.address)}.*: the server's message$"):
        client.methods()


def test_reasons_of_other_domains_are_not_ours(client: Client, fake: Any) -> None:
    fake.fail_with_status(grpc.StatusCode.INVALID_ARGUMENT, "from a proxy", reason="NO_FACE", domain="proxy.example")
    with pytest.raises(InvalidRequest) as caught:
        client.methods()
    assert type(caught.value) is InvalidRequest
    assert caught.value.reason is None


def test_a_message_over_the_servers_limit_is_not_busy(start_server: Callable[..., Any]) -> None:
    client = Client(start_server(max_message_bytes=2**20).address)
    with client, pytest.raises(InvalidRequest, match="send a smaller photo") as caught:
        client.age(bytes(2**21), 30)
    assert caught.value.code == "RESOURCE_EXHAUSTED"


@pytest.fixture
def silent_address() -> Iterator[Callable[[bool], str]]:
    """Return a function that gives an address which refuses connections, or accepts them and never responds."""
    sockets = []

    def bind(listening: bool) -> str:
        bound = socket.socket()
        sockets.append(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        if listening:
            bound.listen()
        return f"127.0.0.1:{bound.getsockname()[1]}"

    yield bind
    for bound in sockets:
        bound.close()


@pytest.mark.parametrize("wait_for_ready", [False, True])
@pytest.mark.parametrize("listening", [False, True])
def test_a_server_that_is_not_there(
    listening: bool, wait_for_ready: bool, silent_address: Callable[[bool], str]
) -> None:
    address = silent_address(listening)
    client = Client(address, timeout=0.3, wait_for_ready=wait_for_ready)
    with client, pytest.raises(ConnectionFailed, match=f"cannot reach a server at {address}") as caught:
        client.methods()
    assert caught.value.code == ("DEADLINE_EXCEEDED" if listening or wait_for_ready else "UNAVAILABLE")


def test_waiting_for_a_server_that_comes_late(
    start_server: Callable[..., Any], silent_address: Callable[[bool], str]
) -> None:
    address = silent_address(False)  # holds the port, which the server then shares
    late = threading.Timer(0.2, start_server, kwargs={"port": int(address.rpartition(":")[2])})
    late.start()
    with Client(address, timeout=20, wait_for_ready=True) as client:
        assert client.methods()[0].name == "inverter"
    late.join()


def test_a_server_that_is_too_slow(fake: Any) -> None:
    with Client(fake.address, timeout=10) as client:
        client.methods()
        fake.delay = 60
        client.timeout = 0.2
        with pytest.raises(DeadlineExceeded, match=rf"no answer from the server at {fake.address} within 0\.2 s"):
            client.methods()


@pytest.mark.parametrize("seconds", [0.25, None])
def test_when_to_retry(client: Client, fake: Any, seconds: float | None) -> None:
    fake.fail("CALLS_PER_MINUTE", "later", retry_after=seconds)
    with pytest.raises(Busy) as caught:
        client.methods()
    assert (caught.value.retry_after, caught.value.reason) == (seconds, "CALLS_PER_MINUTE")


def test_errors_survive_pickling() -> None:
    error = NoFaceError(
        "no face", code="INVALID_ARGUMENT", reason="NO_FACE", field="image", metadata={"a": "b"}, retry_after=1.5
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is NoFaceError
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_the_tree() -> None:
    assert issubclass(NoFaceError, InvalidRequest)
    direct = (InvalidRequest, NotFound, Unauthenticated, PermissionDenied)
    for kind in (*direct, FailedPrecondition, Busy, DeadlineExceeded, ConnectionFailed, InternalError):
        assert kind.__bases__ == (ServerError,)
    assert PhotoError.__bases__ == (DorianError, ValueError)
