"""Calls and proxies: none on the way to this machine, and an error that names it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dorian_client import Client, ConnectionFailed
from dorian_client.testing import FakeServer
from tests.fake_proxy import fake_proxy


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Return what a proxy hears that the environment names."""
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with fake_proxy() as (url, heard):
        monkeypatch.setenv("http_proxy", url)
        yield heard


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "dns:///localhost", "ipv4:127.0.0.1"])
def test_a_proxy_hears_nothing_of_calls_on_this_machine(heard: list[bytes], fake: FakeServer, host: str) -> None:
    port = fake.address.rpartition(":")[2]
    with Client(f"{host}:{port}", api_key="dorian_secret", timeout=10, retries=0) as client:
        client.bundle()
    assert heard == []


def test_an_error_names_the_proxy_without_its_password(heard: list[bytes]) -> None:
    with (
        Client("faces.example:50051", timeout=10, retries=0) as client,
        pytest.raises(ConnectionFailed, match=r"faces\.example:50051 through the proxy 127\.0\.0\.1:\d+") as caught,
    ):
        client.bundle()
    assert "password" not in str(caught.value).partition(": ")[0]
    assert heard
    assert heard[0].startswith(b"CONNECT faces.example:50051")
