"""TLS, mutual TLS and API keys, from the SDK and from the command, against servers on real sockets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from dorian_client import Busy, Client, ConnectionFailed, PermissionDenied, Tls, Unauthenticated
from dorian_client._channel import is_loopback
from dorian_client.cli.main import main
from tests.certificates import Authority, Issued

KEY = "dorian_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
BEARER = f"Bearer {KEY}"
SECONDS = 60
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("one")


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    """Return a client's certificate."""
    return authority.issue(["client"])


@pytest.fixture
def with_tls(start_server: Start, authority: Authority) -> Start:
    """Return a function that starts a server with TLS and a certificate for some names; mutual TLS if asked."""

    def start(*names: str, mutual: bool = False) -> Any:
        issued = authority.issue(names or ("localhost", "127.0.0.1"))
        roots = authority.pem if mutual else None
        return start_server(credentials=grpc.ssl_server_credentials([(issued.key, issued.certificate)], roots, mutual))

    return start


@pytest.fixture
def files(authority: Authority, own: Issued, tmp_path: Path) -> dict[str, Path]:
    """Return PEM files: ca, certificate and key, and one with an API key."""
    contents = {"ca": authority.pem, "certificate": own.certificate, "key": own.key, "api-key": f"{KEY}\n".encode()}
    paths = {name: tmp_path / f"{name}.txt" for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    return paths


# --- TLS ---


@pytest.mark.parametrize("kind", ["bytes", "path", "text"])
def test_a_server_is_trusted_by_its_authority(
    with_tls: Start, authority: Authority, files: dict[str, Path], kind: str
) -> None:
    ca = {"bytes": authority.pem, "path": files["ca"], "text": str(files["ca"])}[kind]
    with Client(with_tls().address, tls=Tls(ca=ca), timeout=SECONDS) as client:
        assert client.methods()[0].name == "inverter"


@pytest.mark.parametrize("tls", [None, Tls(), Tls(ca=Authority("other").pem)], ids=["plain", "public", "wrong"])
def test_servers_that_are_not_trusted(with_tls: Start, tls: Tls | None) -> None:
    server = with_tls()
    with Client(server.address, tls=tls, timeout=SECONDS, retries=0) as client, pytest.raises(ConnectionFailed):
        client.methods()
    assert server.requests == []


def test_a_server_without_tls_gets_nothing_from_a_client_with_tls(fake: Any, authority: Authority) -> None:
    tls = Tls(ca=authority.pem)
    with (
        Client(fake.address, tls=tls, api_key=KEY, timeout=SECONDS, retries=0) as client,
        pytest.raises(ConnectionFailed),
    ):
        client.methods()
    assert fake.requests == []


def test_the_name_in_the_certificate(with_tls: Start, authority: Authority) -> None:
    address = with_tls("faces.example").address
    with (
        Client(address, tls=Tls(ca=authority.pem), timeout=SECONDS, retries=0) as client,
        pytest.raises(ConnectionFailed),
    ):
        client.methods()
    with Client(address, tls=Tls(ca=authority.pem, server_name="faces.example"), timeout=SECONDS) as client:
        assert client.methods()


def test_a_server_that_wants_a_certificate(with_tls: Start, authority: Authority, own: Issued) -> None:
    address = with_tls(mutual=True).address
    wrong = Authority("other").issue(["client"])
    refused = [Tls(authority.pem), Tls(authority.pem, wrong.certificate, wrong.key)]
    for tls in refused:
        with Client(address, tls=tls, timeout=SECONDS, retries=0) as client, pytest.raises(ConnectionFailed):
            client.methods()
    with Client(address, tls=Tls(authority.pem, own.certificate, own.key), timeout=SECONDS) as client:
        assert client.methods()


def test_credentials_of_grpc(with_tls: Start, authority: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(authority.pem)
    with Client(with_tls().address, credentials=credentials, timeout=SECONDS) as client:
        assert client.methods()
    with pytest.raises(ValueError, match="give tls or credentials, not both"):
        Client("localhost:50051", tls=Tls(), credentials=credentials)


def test_invalid_tls_settings(own: Issued, tmp_path: Path) -> None:
    for tls in (Tls(certificate=own.certificate), Tls(key=own.key)):
        with pytest.raises(ValueError, match="certificate and its key go together"):
            Client(tls=tls)
    with pytest.raises(ValueError, match=r"the ca of Tls is not PEM$"):
        Client(tls=Tls(ca=b"no certificate"))
    with pytest.raises(FileNotFoundError):
        Client(tls=Tls(ca=tmp_path / "none.pem"))


def test_a_private_key_is_not_shown(own: Issued) -> None:
    assert "PRIVATE" not in repr(Tls(certificate=own.certificate, key=own.key))


# --- API keys ---


def test_the_key_goes_with_every_call(fake: Any, pixels: npt.NDArray[np.uint8]) -> None:
    with Client(fake.address, api_key=KEY, timeout=SECONDS) as client:
        client.age(pixels, 30)
        client.sweep(pixels)
        client.detect(pixels)
        client.compare(pixels, pixels)
        client.reconstruct(pixels)
        client.optimize(pixels).result()
        client.methods()
        assert KEY not in repr(client)
    assert len(fake.metadata) == 8, "a sweep asks for the methods first"
    assert {sent["authorization"] for sent in fake.metadata} == {BEARER}


def test_without_a_key_nothing_is_sent(client: Client, fake: Any) -> None:
    client.methods()
    assert "authorization" not in fake.metadata[0]


def test_a_key_over_tls(with_tls: Start, authority: Authority) -> None:
    server = with_tls()
    with Client(server.address, tls=Tls(ca=authority.pem), api_key=KEY, timeout=SECONDS) as client:
        client.methods()
    assert server.metadata[0]["authorization"] == BEARER


@pytest.mark.parametrize(
    "address", ["faces.example:50051", "10.0.0.5:50051", "dns:///faces.example:443", "0.0.0.0:50051"]
)
def test_a_key_does_not_leave_the_machine_unencrypted(address: str, authority: Authority) -> None:
    with pytest.raises(ValueError, match=f"an API key is not sent to {address} without TLS") as caught:
        Client(address, api_key=KEY)
    assert KEY not in str(caught.value)
    Client(address, api_key=KEY, key_in_clear=True).close()
    Client(address, api_key=KEY, tls=Tls()).close()
    Client(address, api_key=KEY, credentials=grpc.ssl_channel_credentials(authority.pem)).close()
    Client(address).close()


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost:50051", True),
        ("localhost", True),
        ("127.0.0.1:50051", True),
        ("127.9.9.9:1", True),
        ("[::1]:50051", True),
        ("ipv6:[::1]:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("dns:///localhost:50051", True),
        ("unix:/run/dorian.sock", True),
        ("unix-abstract:dorian", True),
        ("localhost.example:50051", False),
        ("127.0.0.1.example:50051", False),
        ("ipv4:127.0.0.1:1,10.0.0.5:2", False),
        ("dns://10.0.0.5/localhost:50051", False),
        ("[::]:50051", False),
        ("xds:///localhost", False),
        ("", False),
    ],
)
def test_loopback_addresses(address: str, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize("key", ["", " ", "two words", "line\nbreak", "schlüssel"])
def test_invalid_keys(key: str) -> None:
    with pytest.raises(ValueError, match="one word of ASCII") as caught:
        Client(api_key=key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("UNAUTHENTICATED", "API_KEY_MISSING", Unauthenticated),
        ("PERMISSION_DENIED", "SCOPE_MISSING", PermissionDenied),
        ("RESOURCE_EXHAUSTED", "CALLS_AT_ONCE", Busy),
    ],
)
def test_errors_of_searches(
    client: Client, fake: Any, pixels: npt.NDArray[np.uint8], code: str, reason: str, kind: type[Exception]
) -> None:
    fake.fail_with_status(grpc.StatusCode[code], "the server's message", reason=reason, retry_after=0.5)
    with pytest.raises(kind, match="the server's message") as caught:
        client.optimize(pixels).result()
    assert (vars(caught.value)["reason"], vars(caught.value)["retry_after"]) == (reason, 0.5)


# --- the command ---


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs 'dorian methods' on a server, without the variables of the environment."""
    for name in list(os.environ):
        if name.startswith("DORIAN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DORIAN_RETRIES", "0")

    def run(address: str, *flags: object, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(main, ["methods", "--server", address, *map(str, flags)], env=env)

    return run


def test_the_command_uses_tls(command: Callable[..., Result], with_tls: Start, files: dict[str, Path]) -> None:
    server = with_tls()
    assert command(server.address).exit_code == 4
    assert command(server.address, "--tls").exit_code == 4
    assert command(server.address, "--tls-ca", files["ca"]).exit_code == 0
    assert command(server.address, "--tls", env={"DORIAN_TLS_CA": str(files["ca"])}).exit_code == 0
    named = with_tls("faces.example")
    assert command(named.address, "--tls-ca", files["ca"]).exit_code == 4
    assert command(named.address, "--tls-ca", files["ca"], "--tls-server-name", "faces.example").exit_code == 0


def test_the_command_has_a_certificate(command: Callable[..., Result], with_tls: Start, files: dict[str, Path]) -> None:
    address = with_tls(mutual=True).address
    assert command(address, "--tls-ca", files["ca"]).exit_code == 4
    flags = ["--tls-ca", files["ca"], "--tls-certificate", files["certificate"], "--tls-key", files["key"]]
    assert command(address, *flags).exit_code == 0
    result = command(address, *flags[:4])
    assert (result.exit_code, "certificate and its key go together" in result.stderr) == (2, True)


def test_the_command_takes_the_key_from_the_environment_or_a_file(
    command: Callable[..., Result], fake: Any, files: dict[str, Path]
) -> None:
    other = {"DORIAN_API_KEY": "dorian_other"}
    assert command(fake.address).exit_code == 0
    assert command(fake.address, env={"DORIAN_API_KEY": KEY}).exit_code == 0
    assert command(fake.address, "--api-key-file", files["api-key"], env=other).exit_code == 0
    assert command(fake.address, env={"DORIAN_API_KEY": ""}).exit_code == 0
    assert [sent.get("authorization") for sent in fake.metadata] == [None, BEARER, BEARER, None]


def test_no_flag_takes_the_key_itself(command: Callable[..., Result], fake: Any) -> None:
    result = command(fake.address, "--api-key", KEY)
    assert result.exit_code == 2
    assert fake.requests == []


def test_messages_about_keys_and_files(command: Callable[..., Result], tmp_path: Path) -> None:
    for flag in ("--api-key-file", "--tls-ca"):
        result = command("localhost:1", flag, tmp_path / "none.txt")
        assert (result.exit_code, f"cannot read {tmp_path / 'none.txt'}: No such file" in result.stderr) == (2, True)
    result = command("faces.example:50051", env={"DORIAN_API_KEY": KEY})
    assert (result.exit_code, "an API key is not sent to faces.example:50051 without TLS" in result.stderr) == (2, True)
    assert KEY not in result.output + result.stderr
