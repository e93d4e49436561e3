"""Limits of each caller over a real socket: without keys by certificate or address, with keys by the key's own limits before the general ones."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.rpc.call_details import caller_name
from dorian_server.security.authentication import load_authentication
from dorian_server.security.keys import make_key, write_keys
from dorian_server.security.quotas import CallerLimits
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Load, Security, Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.certificates import Authority, Issued
from tests.server.rejections import SECONDS, Rejection
from tests.server.tiny_searches import photo_of

NEVER = 10**9  # steps that no search of these tests ends with
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own for each channel


class LimitedServer:
    """A server with limits, and what it counts. It lets a search take as long as it likes."""

    def __init__(self, stack: ExitStack, bundle: Bundle, load: Load, host: str, security: Security) -> None:
        self.telemetry, self._stack, load = Telemetry(), stack, replace(load, workers=4)
        settings = Settings(
            bundle.folder, host=host, port=0, threads=1, load=load, limits=Limits(max_steps=NEVER), security=security
        )
        server = start(settings, self.telemetry)
        stack.callback(server.stop)
        self.port = server.port

    def connect(self, host: str = "127.0.0.1", credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """A connection of its own."""
        address = f"{host}:{self.port}"
        if credentials is None:
            return self._stack.enter_context(grpc.insecure_channel(address, OWN))
        return self._stack.enter_context(grpc.secure_channel(address, credentials, OWN))

    def count(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


StartServer = Callable[..., LimitedServer]


@pytest.fixture
def start_server(searching_bundle: Bundle) -> Iterator[StartServer]:
    """Opens servers for the time of the test."""
    with ExitStack() as stack:

        def begin(load: Load, host: str = "127.0.0.1", security: Security = Security()) -> LimitedServer:  # noqa: B008 - frozen
            return LimitedServer(stack, searching_bundle, load, host, security)

        yield begin


@pytest.fixture
def search(write: Callable[..., bytes]) -> pb.OptimizeRequest:
    """A search without an end."""
    options = pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=NEVER)
    return pb.OptimizeRequest(image=pb.Image(data=write(photo_of((220, 160, 60)))), search=options)


def ask(channel: grpc.Channel, metadata: Any = ()) -> None:
    FaceAgingStub(channel).ListMethods(pb.ListMethodsRequest(), timeout=SECONDS, metadata=metadata)


def rejection_of(channel: grpc.Channel, metadata: Any = ()) -> Rejection:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, metadata)
    rejection = Rejection(caught.value)
    assert rejection.code == "RESOURCE_EXHAUSTED"
    return rejection


def allowed(channel: grpc.Channel, reason: str, metadata: Any = (), most: int = 20) -> int:
    """How many calls go through before one is rejected for ``reason``."""
    for number in range(most):
        try:
            ask(channel, metadata)
        except grpc.RpcError as error:
            if Rejection(error).info.reason != reason:
                raise
            return number
    return most


# --- without keys ---


def test_calls_at_once_of_an_address(start_server: StartServer, search: pb.OptimizeRequest) -> None:
    """Over however many connections; health checks are none of them."""
    here = start_server(Load(calls_at_once=2))
    channels = [here.connect() for _ in range(3)]
    running = [FaceAgingStub(channel).Optimize(search, timeout=SECONDS) for channel in channels[:2]]
    for call in running:
        next(call)
    for channel in channels:
        rejection = rejection_of(channel)
        assert rejection.info.reason == "CALLS_AT_ONCE"
        assert rejection.message == "the caller has 2 calls under way; it may have 2 at once"
        assert rejection.seconds_to_wait == 1
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert here.count("dorian_refused", reason="CALLS_AT_ONCE") == 3
    labels = {"grpc_type": "unary", "grpc_service": "dorian.v1.FaceAging", "grpc_method": "ListMethods"}
    assert here.count("grpc_server_handled", **labels, grpc_code="RESOURCE_EXHAUSTED") == 3
    running[0].cancel()
    await_end(running[0])
    end = time.monotonic() + SECONDS
    while allowed(channels[2], "CALLS_AT_ONCE", most=1) == 0:  # the server hears of it a little later
        assert time.monotonic() < end
    assert allowed(channels[2], "CALLS_AT_ONCE", most=10) == 10, "one after the other"


def await_end(call: Any) -> None:
    with pytest.raises(grpc.RpcError):
        list(call)


def test_calls_of_a_minute_of_an_address(start_server: StartServer) -> None:
    here = start_server(Load(calls_per_minute=3))
    assert allowed(here.connect(), "CALLS_PER_MINUTE") == 3
    rejection = rejection_of(here.connect())
    assert rejection.info.reason == "CALLS_PER_MINUTE"
    assert rejection.message == "the caller may begin 3 calls in a minute"
    assert 0 < rejection.seconds_to_wait <= 60
    assert here.count("dorian_refused", reason="CALLS_PER_MINUTE") == 2


def test_every_address_is_a_caller_of_its_own(start_server: StartServer) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    here = start_server(Load(calls_per_minute=3), host="[::]")
    for host in ("127.0.0.1", "[::1]"):
        assert allowed(here.connect(host), "CALLS_PER_MINUTE") == 3


def test_every_certificate_is_a_caller_of_its_own(start_server: StartServer, tmp_path: Path) -> None:
    authority = Authority("one")
    certificate, key = authority.issue().write(tmp_path)
    client_ca = tmp_path / "ca.pem"
    client_ca.write_bytes(authority.pem)
    security = Security(tls_certificate=certificate, tls_key=key, tls_client_ca=client_ca)
    here = start_server(Load(calls_per_minute=2), security=security)

    def connect(issued: Issued) -> grpc.Channel:
        return here.connect(credentials=grpc.ssl_channel_credentials(authority.pem, issued.key, issued.certificate))

    for name in ("mobile", "batch"):
        assert allowed(connect(authority.issue([name])), "CALLS_PER_MINUTE") == 2
    assert allowed(connect(authority.issue(["mobile"])), "CALLS_PER_MINUTE") == 0, "another certificate of the name"


def test_without_limits_nobody_counts(tmp_path: Path) -> None:
    assert load_authentication(Settings(tmp_path), lambda reason: None) == []
    for load in (Load(calls_at_once=1), Load(calls_per_minute=1)):
        (interceptor,) = load_authentication(Settings(tmp_path, load=load), lambda reason: None)
        assert isinstance(interceptor, CallerLimits)


class Context:
    """Stands for a call's context, of a caller at ``peer``."""

    def __init__(self, peer: str, **certificate: list[bytes]) -> None:
        self._peer, self._certificate = peer, certificate

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return self._certificate


@pytest.mark.parametrize(
    ("context", "name"),
    [
        (Context("ipv4:10.1.2.3:4567"), "ipv4:10.1.2.3"),
        (Context("ipv6:%5B2001:db8::1%5D:4567"), "ipv6:%5B2001:db8::1%5D"),
        (Context("ipv6:[::1]:4567"), "ipv6:[::1]"),
        (Context("unix:/run/dorian.sock"), "unix:/run/dorian.sock"),
        (Context("unix:"), "unix:"),
        (Context("ipv4:10.1.2.3:4567", x509_common_name=[b"mobile"]), "mobile"),
        (Context("ipv4:10.1.2.3:4567", x509_common_name=[]), "ipv4:10.1.2.3"),
    ],
)
def test_who_calls_as_far_as_can_be_told(context: Context, name: str) -> None:
    assert caller_name(cast(grpc.ServicerContext, context)) == name


# --- with keys ---


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., tuple[Security, list[Any]]]:
    """Keys with these limits, in a file; and the metadata of a call with each."""

    def make(**limits: tuple[int | None, int | None]) -> tuple[Security, list[Any]]:
        keys = [make_key(name, frozenset({"age", "optimize"}), *key_limits) for name, key_limits in limits.items()]
        write_keys(tmp_path / "keys.json", [entry for _, entry in keys])
        return Security(api_keys=tmp_path / "keys.json"), [(("authorization", f"Bearer {key}"),) for key, _ in keys]

    return make


def test_a_keys_own_calls_of_a_minute_go_before_the_general_ones(
    start_server: StartServer, keys: Callable[..., Any]
) -> None:
    security, callers = keys(more=(None, 5), fewer=(None, 1), general=(None, None), other=(9, None))
    here = start_server(Load(calls_per_minute=3), security=security)
    channel = here.connect()
    assert [allowed(channel, "CALLS_PER_MINUTE", caller) for caller in callers] == [5, 1, 3, 3]
    assert here.count("dorian_refused", reason="CALLS_PER_MINUTE") == 4


def test_a_keys_own_calls_at_once_go_before_the_general_ones(
    start_server: StartServer, keys: Callable[..., Any], search: pb.OptimizeRequest
) -> None:
    security, callers = keys(more=(2, None), general=(None, None))
    here = start_server(Load(calls_at_once=1), security=security)
    channel = here.connect()
    running = [FaceAgingStub(channel).Optimize(search, metadata=caller, timeout=SECONDS) for caller in callers]
    for call in running:
        next(call)
    assert allowed(channel, "CALLS_AT_ONCE", callers[0], most=5) == 5
    assert rejection_of(channel, callers[1]).info.reason == "CALLS_AT_ONCE"
    assert here.count("dorian_refused", reason="CALLS_AT_ONCE") == 1
    for call in running:
        call.cancel()


def test_without_general_limits_a_key_without_its_own_has_none(
    start_server: StartServer, keys: Callable[..., Any]
) -> None:
    security, callers = keys(limited=(None, 2), free=(None, None))
    channel = start_server(Load(), security=security).connect()
    assert [allowed(channel, "CALLS_PER_MINUTE", caller) for caller in callers] == [2, 20]
