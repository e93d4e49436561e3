"""The health service, and the command that asks it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dorian_server.health import main
from dorian_server.serving import SERVICE_NAME

Status = health_pb2.HealthCheckResponse


def ask(port: int | str, **env: str) -> Result:
    return CliRunner().invoke(main, ["--port", str(port), "--timeout", "60"], env=env)


@pytest.fixture
def unhealthy_port() -> Iterator[Callable[..., int]]:
    """The port of a server that answers with a status, or has no health service."""
    servers = []

    def start(status: int | None) -> int:
        server = grpc.server(ThreadPoolExecutor(1))
        if status is not None:
            state = health.HealthServicer()
            state.set("", status)
            health_pb2_grpc.add_HealthServicer_to_server(state, server)
        port: int = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.mark.parametrize("service", ["", SERVICE_NAME])
def test_the_server_says_that_it_serves(address: str, service: str) -> None:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert answer.status == Status.SERVING


def test_the_command_ends_with_0_where_a_server_serves(address: str) -> None:
    result = ask(address.rpartition(":")[2])
    assert result.exit_code == 0
    assert result.output == "serving\n"


def test_the_port_comes_from_the_environment_as_the_servers_does(address: str) -> None:
    assert CliRunner().invoke(main, env={"DORIAN_PORT": address.rpartition(":")[2]}).exit_code == 0


def test_the_command_ends_with_1_where_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, but not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        result = ask(taken.getsockname()[1])
    assert result.exit_code == 1
    assert "not serving: UNAVAILABLE" in result.output


@pytest.mark.parametrize("status", [Status.NOT_SERVING, Status.UNKNOWN])
def test_the_command_ends_with_1_where_the_server_does_not_serve(
    unhealthy_port: Callable[..., int], status: int
) -> None:
    result = ask(unhealthy_port(status))
    assert result.exit_code == 1
    assert result.output == "not serving\n"


def test_the_command_ends_with_1_at_another_kind_of_server(unhealthy_port: Callable[..., int]) -> None:
    result = ask(unhealthy_port(None))
    assert result.exit_code == 1
    assert "not serving: UNIMPLEMENTED" in result.output
