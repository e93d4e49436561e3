"""The health service, and the command that asks it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dorian_bundle import Bundle
from dorian_server.cli.health import main
from dorian_server.rpc.health_service import LIVENESS, READINESS
from dorian_server.serving.server import Server
from dorian_server.settings import Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.fake_proxy import fake_proxy

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


@pytest.mark.parametrize("service", [LIVENESS, *READINESS])
def test_the_server_says_that_it_serves(address: str, service: str) -> None:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert answer.status == Status.SERVING


def test_the_command_ends_with_0_where_a_server_serves(address: str) -> None:
    result = ask(address.rpartition(":")[2])
    assert result.exit_code == 0
    assert result.output == "serving\n"


def test_the_command_asks_no_proxy(address: str) -> None:
    with fake_proxy() as (url, heard):
        result = ask(address.rpartition(":")[2], http_proxy=url, no_proxy="", no_grpc_proxy="")
    assert (result.exit_code, heard) == (0, [])


def test_the_port_comes_from_the_environment_as_the_servers_does(address: str) -> None:
    assert CliRunner().invoke(main, env={"DORIAN_PORT": address.rpartition(":")[2]}).exit_code == 0


def test_the_command_ends_with_1_where_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, but not listening: connecting is rejected
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


# --- what it can ask for ---


@pytest.fixture
def starting(searching_bundle: Bundle) -> Iterator[str]:
    """The port of a server that is not ready."""
    server = Server(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1), Telemetry())
    yield str(server.port)
    server.stop()


@pytest.mark.parametrize("service", [None, *READINESS])
def test_a_server_that_starts_is_not_ready(starting: str, service: str | None) -> None:
    flags = [] if service is None else ["--service", service]
    result = CliRunner().invoke(main, ["--port", starting, "--timeout", "60", *flags])
    assert (result.exit_code, result.output) == (1, "not serving\n")


def test_a_server_that_starts_lives(starting: str) -> None:
    result = CliRunner().invoke(main, ["--port", starting, "--timeout", "60", "--service", "liveness"])
    assert (result.exit_code, result.output) == (0, "serving\n")
    by_environment = CliRunner().invoke(main, env={"DORIAN_PORT": starting, "DORIAN_HEALTH_SERVICE": "liveness"})
    assert by_environment.exit_code == 0


def test_a_service_that_there_is_not(address: str) -> None:
    result = CliRunner().invoke(main, ["--port", address.rpartition(":")[2], "--service", "greetings"])
    assert (result.exit_code, result.output) == (1, "not serving: NOT_FOUND\n")


def test_the_command_loads_nothing_that_makes_it_late() -> None:
    """A container runs it every ten seconds, also while all cores are busy."""
    script = (
        "import sys, dorian_server.cli.health; print(*{'cv2', 'numpy', 'onnxruntime', 'pydantic'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"
