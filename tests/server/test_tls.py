"""TLS and mutual TLS on real sockets, and files that are replaced while the server runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.cli import health
from dorian_server.domain.errors import StartupError
from dorian_server.security.credentials import load_credentials
from dorian_server.serving.server import start
from dorian_server.settings import Security, Settings
from tests.certificates import Authority, Issued, encrypt

SECONDS = 60
Start = Callable[..., int]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("one")


@pytest.fixture(scope="module")
def stranger() -> Authority:
    """An authority that nobody trusts, of the same name."""
    return Authority("one")


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    """Files of a server's certificate and its key."""
    return authority.issue().write(tmp_path)


@pytest.fixture
def client_ca(authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return path


@pytest.fixture
def serve_tls(searching_bundle: Bundle) -> Iterator[Start]:
    """Starts a server with TLS files, and perhaps a client CA, for the time of the test; gives its port."""
    with ExitStack() as stack:

        def begin(certificate: Path, key: Path, client_ca: Path | None = None) -> int:
            security = Security(tls_certificate=certificate, tls_key=key, tls_client_ca=client_ca)
            server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=security))
            stack.callback(server.stop)
            return server.port

        yield begin


def ask(port: int, ca: bytes | None = None, issued: Issued | None = None) -> str:
    """The bundle's name, asked over a new connection; without ``ca`` in the clear."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = f"127.0.0.1:{port}"
    if ca is None:
        channel = grpc.insecure_channel(address, options)
    else:
        pems = (issued.key, issued.certificate) if issued else (None, None)
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, *pems), options)
    with channel:
        return str(FaceAgingStub(channel).ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).bundle)


def lets_in(port: int, ca: bytes | None = None, issued: Issued | None = None) -> bool:
    try:
        return bool(ask(port, ca, issued))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False


def test_who_trusts_the_certificate_is_served_and_others_are_not(
    serve_tls: Start, pair: tuple[Path, Path], authority: Authority, stranger: Authority, searching_bundle: Bundle
) -> None:
    port = serve_tls(*pair)
    assert ask(port, authority.pem) == searching_bundle.manifest.name
    assert not lets_in(port, stranger.pem)
    assert not lets_in(port)


def test_a_client_ca_lets_in_only_those_with_a_certificate_from_it(
    serve_tls: Start, pair: tuple[Path, Path], client_ca: Path, authority: Authority, stranger: Authority
) -> None:
    port = serve_tls(*pair, client_ca)
    assert lets_in(port, authority.pem, authority.issue(["client"]))
    assert not lets_in(port, authority.pem)
    assert not lets_in(port, authority.pem, stranger.issue(["client"]))


def test_a_replaced_client_ca_holds_for_the_next_connection(
    serve_tls: Start, pair: tuple[Path, Path], client_ca: Path, authority: Authority
) -> None:
    port = serve_tls(*pair, client_ca)
    newer = Authority("two")
    old, new = authority.issue(["client"]), newer.issue(["client"])
    assert (lets_in(port, authority.pem, old), lets_in(port, authority.pem, new)) == (True, False)
    client_ca.write_bytes(newer.pem)
    assert (lets_in(port, authority.pem, old), lets_in(port, authority.pem, new)) == (False, True)


def test_a_replaced_certificate_is_served_to_the_next_connection(
    serve_tls: Start, pair: tuple[Path, Path], authority: Authority
) -> None:
    port = serve_tls(*pair)
    newer = Authority("two")
    assert (lets_in(port, authority.pem), lets_in(port, newer.pem)) == (True, False)
    newer.issue().write(pair[0].parent)
    assert (lets_in(port, authority.pem), lets_in(port, newer.pem)) == (False, True)


@pytest.mark.parametrize("how", ["half a certificate", "half a key", "another's key", "no certificate", "no key"])
def test_a_broken_replacement_leaves_the_old_one_serving_until_it_is_whole(
    serve_tls: Start, pair: tuple[Path, Path], authority: Authority, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = serve_tls(*pair)
    certificate, key = pair
    newer = Authority("two")
    next_one = newer.issue()
    next_one.write(certificate.parent)
    if how == "half a certificate":
        certificate.write_bytes(next_one.certificate[: len(next_one.certificate) // 2])
    elif how == "half a key":
        key.write_bytes(next_one.key[: len(next_one.key) // 2])
    elif how == "another's key":
        key.write_bytes(newer.issue().key)
    else:
        (certificate if how == "no certificate" else key).unlink()
    with caplog.at_level(logging.WARNING, logger="dorian_server.security"):
        assert [lets_in(port, ca.pem) for ca in (authority, authority, newer)] == [True, True, False]
    (record,) = caplog.records  # once, not for each connection
    assert str(certificate.parent) in record.getMessage()
    assert "what was there before stays in use" in record.getMessage()
    next_one.write(certificate.parent)
    assert (lets_in(port, authority.pem), lets_in(port, newer.pem)) == (False, True)


def test_a_calling_connection_outlives_its_certificate(
    serve_tls: Start, pair: tuple[Path, Path], authority: Authority
) -> None:
    port = serve_tls(*pair)
    with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(authority.pem)) as channel:
        stub = FaceAgingStub(channel)
        stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
        Authority("two").issue().write(pair[0].parent)
        assert not lets_in(port, authority.pem)
        assert stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_key_may_be_of_either_kind(serve_tls: Start, authority: Authority, tmp_path: Path, kind: str) -> None:
    assert lets_in(serve_tls(*authority.issue(kind=kind).write(tmp_path)), authority.pem)


# --- what keeps it from starting ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_client_ca"}, "a client CA needs TLS: give --tls-certificate and --tls-key as well"),
        ({"tls_certificate"}, "has no key: give --tls-key"),
        ({"tls_certificate", "tls_client_ca"}, "has no key: give --tls-key"),
        ({"tls_key"}, "has no certificate: give --tls-certificate"),
    ],
)
def test_what_goes_together(pair: tuple[Path, Path], client_ca: Path, given: set[str], message: str) -> None:
    paths = {"tls_certificate": pair[0], "tls_key": pair[1], "tls_client_ca": client_ca}
    with pytest.raises(StartupError, match=message):
        load_credentials(Security(**{name: paths[name] for name in given}))
    assert load_credentials(Security(**paths)) is not None
    assert load_credentials(Security()) is None


@pytest.mark.parametrize(
    ("name", "role"),
    [("tls_certificate", "the TLS certificate"), ("tls_key", "the TLS key"), ("tls_client_ca", "the client CA")],
)
@pytest.mark.parametrize("how", ["missing", "a folder", "no PEM", "empty"])
def test_files_that_cannot_be_used(
    pair: tuple[Path, Path], client_ca: Path, tmp_path: Path, name: str, role: str, how: str
) -> None:
    bad = tmp_path / "bad.pem"
    if how == "a folder":
        bad.mkdir()
    elif how != "missing":
        bad.write_text("" if how == "empty" else "not a certificate, and no key\n")
    paths = {"tls_certificate": pair[0], "tls_key": pair[1], "tls_client_ca": client_ca, name: bad}
    pem = "holds no private key in PEM" if name == "tls_key" else "holds no certificate in PEM"
    message = {"missing": "does not exist", "a folder": "cannot be read: Is a directory"}.get(how, pem)
    with pytest.raises(StartupError) as caught:
        load_credentials(Security(**paths))
    assert str(caught.value) == f"{role} {bad} {message}"


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_key_of_another_certificate(pair: tuple[Path, Path], authority: Authority, kind: str) -> None:
    pair[1].write_bytes(authority.issue(kind=kind).key)
    with pytest.raises(
        StartupError, match=r"^the TLS key \S+/key\.pem does not match the certificate \S+/certificate\.pem$"
    ):
        load_credentials(Security(*pair))


def test_an_encrypted_key_is_rejected_without_asking_for_its_password(pair: tuple[Path, Path]) -> None:
    pair[1].write_bytes(encrypt(pair[1].read_bytes(), b"secret"))
    with pytest.raises(StartupError, match="is encrypted; give one without a password"):
        load_credentials(Security(*pair))


def test_a_server_without_its_certificate_does_not_start(searching_bundle: Bundle, tmp_path: Path) -> None:
    security = Security(tls_certificate=tmp_path / "none.pem", tls_key=tmp_path / "none.key")
    with pytest.raises(StartupError, match=r"^the TLS certificate \S+/none\.pem does not exist$"):
        start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=security))


# --- the health command ---


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the health command, as in a container whose server has its variables around it."""
    monkeypatch.setenv("DORIAN_TLS_CERTIFICATE", "/nowhere/certificate.pem")
    monkeypatch.setenv("DORIAN_TLS_KEY", "/nowhere/key.pem")
    return lambda *flags: CliRunner().invoke(health.main, ["--timeout", str(SECONDS), *map(str, flags)])


def test_the_health_command_asks_over_tls(
    check: Callable[..., Result], serve_tls: Start, pair: tuple[Path, Path], client_ca: Path
) -> None:
    port = serve_tls(*pair)
    assert check("--port", port).output == "not serving: UNAVAILABLE\n"
    assert check("--port", port, "--tls-ca", client_ca).output == "serving\n"
    by_environment = CliRunner().invoke(
        health.main, env={"DORIAN_PORT": str(port), "DORIAN_HEALTH_TLS_CA": str(client_ca)}
    )
    assert (by_environment.exit_code, by_environment.output) == (0, "serving\n")


def test_the_health_command_has_a_certificate_of_its_own(
    check: Callable[..., Result], serve_tls: Start, pair: tuple[Path, Path], client_ca: Path
) -> None:
    flags = ["--port", serve_tls(*pair, client_ca), "--tls-ca", client_ca]
    assert check(*flags).exit_code == 1
    assert check(*flags, "--tls-certificate", pair[0], "--tls-key", pair[1]).exit_code == 0
    assert check(*flags, "--tls-certificate", pair[0]).exit_code == 2


def test_the_health_command_can_be_told_the_servers_name(
    check: Callable[..., Result], serve_tls: Start, authority: Authority, client_ca: Path, tmp_path: Path
) -> None:
    flags = ["--port", serve_tls(*authority.issue(["faces.example"]).write(tmp_path)), "--tls-ca", client_ca]
    assert check(*flags).exit_code == 1
    assert check(*flags, "--tls-server-name", "faces.example").exit_code == 0
    assert check(*flags, "--tls-server-name", "other.example").exit_code == 1
