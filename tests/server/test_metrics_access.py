"""Who may read the metrics: over real sockets, with TLS, certificates and API keys as calls have them, and among strangers who stall."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dorian_server.domain.errors import StartupError
from dorian_server.security.authentication import load_metrics_check
from dorian_server.security.credentials import load_tls_contexts
from dorian_server.security.keys import make_key, write_keys
from dorian_server.settings import Observability, Security, Settings
from dorian_server.telemetry.metrics import Metrics
from dorian_server.telemetry.metrics_listener import Access
from tests.certificates import Authority, Issued

SECONDS = 30
SCRAPE_SECONDS = 5.0  # far less than a connection that stalls may last
Answer = tuple[int, http.client.HTTPMessage, str]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("one")


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    return authority.issue().write(tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of keys, and the key of each scope."""
    made = {scope: make_key(scope, frozenset({scope}), None, None) for scope in ("age", "admin", "metrics")}
    write_keys(tmp_path / "keys.json", [entry for _, entry in made.values()])
    return tmp_path / "keys.json", {scope: secret for scope, (secret, _) in made.items()}


def trust(authority: Authority, client: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if client is not None and folder is not None:
        context.load_cert_chain(*client.write(folder))
    return context


def get(
    port: int, context: ssl.SSLContext | None = None, path: str = "/metrics", method: str = "GET", **headers: str
) -> Answer:
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def send(port: int, request: bytes) -> bytes:
    """All of the answer to bytes that need not be HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(2**16):
            answer += chunk
        return answer


@contextmanager
def served(security: Security | None = None, metrics: Metrics | None = None) -> Iterator[int]:
    """Metrics as a server with these settings answers them."""
    settings = Settings(security=security or Security())
    access = Access(load_tls_contexts(settings.security), load_metrics_check(settings))
    with (metrics or Metrics()).served("127.0.0.1", 0, access) as port:
        yield port


def test_where_calls_are_open_so_are_the_metrics() -> None:
    with served() as port:
        status, headers, text = get(port)
        assert (status, headers["Connection"]) == (200, "close")
        assert headers["Content-Type"].startswith("text/plain; version=")
        assert "dorian_queue_requests 0.0" in text
        assert get(port, path="/metrics?name[]=x")[0] == 200
        assert get(port, Accept="application/openmetrics-text;version=1.0.0")[2].endswith("# EOF\n")


def test_nothing_else_is_answered() -> None:
    with served() as port:
        assert get(port, path="/")[0] == 404
        status, headers, _ = get(port, method="POST")
        assert (status, headers["Allow"]) == (405, "GET")
        for request in (b"hello\r\n\r\n", b"GET /metrics\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            assert send(port, request).startswith(b"HTTP/1.1 400 ")
        assert send(port, b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 5000) == b""  # more than a head may have
        assert get(port)[0] == 200


# --- keys ---


def test_the_key_has_the_scope(keys: tuple[Path, dict[str, str]], caplog: pytest.LogCaptureFixture) -> None:
    path, secrets = keys
    metrics = Metrics()
    caplog.set_level(logging.WARNING)
    with served(Security(api_keys=path), metrics) as port:
        assert get(port, Authorization=f"Bearer {secrets['metrics']}")[0] == 200
        status, headers, text = get(port)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert text == "the call has no API key; send the header authorization: Bearer KEY\n"
        status, _, text = get(port, Authorization="Bearer dorian_wrong")
        assert (status, text) == (401, "the API key is not known here, or no longer\n")
        status, _, text = get(port, Authorization=f"Bearer {secrets['admin']}")
        assert (status, text) == (
            403, "the API key lacks the scope 'metrics', which metrics needs here; it has admin\n"
        )  # fmt: skip
        assert get(port, path="/secret")[0] == 401  # strangers are not told what there is
    assert [metrics.registry.get_sample_value("dorian_refused_total", {"reason": reason})
            for reason in ("API_KEY_MISSING", "API_KEY_UNKNOWN", "SCOPE_MISSING")] == [2, 1, 1]  # fmt: skip
    assert "rejected a request for metrics: API_KEY_MISSING" in caplog.text
    assert not [secret for secret in (*secrets.values(), "wrong") if secret in caplog.text]


def test_two_keys_are_none(keys: tuple[Path, dict[str, str]]) -> None:
    path, secrets = keys
    line = f"Authorization: Bearer {secrets['metrics']}\r\n"
    with served(Security(api_keys=path)) as port:
        assert send(port, f"GET /metrics HTTP/1.1\r\n{line}\r\n".encode()).startswith(b"HTTP/1.1 200 ")
        answer = send(port, f"GET /metrics HTTP/1.1\r\n{line}{line.lower()}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"the call has several authorization entries in its header; send one\n")


def test_a_key_that_is_removed_is_rejected_at_once(keys: tuple[Path, dict[str, str]]) -> None:
    path, secrets = keys
    with served(Security(api_keys=path)) as port:
        assert get(port, Authorization=f"Bearer {secrets['metrics']}")[0] == 200
        write_keys(path, [])
        assert get(port, Authorization=f"Bearer {secrets['metrics']}")[0] == 401


def test_keys_that_others_could_read_are_warned_of(
    keys: tuple[Path, dict[str, str]], pair: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    open_to_all = Observability(metrics_host="0.0.0.0")
    load_metrics_check(Settings(security=Security(api_keys=keys[0])))
    encrypted = Security(api_keys=keys[0], tls_certificate=pair[0], tls_key=pair[1])
    load_metrics_check(Settings(security=encrypted, observability=open_to_all))
    assert not caplog.records
    load_metrics_check(Settings(security=Security(api_keys=keys[0]), observability=open_to_all))
    assert "API keys for metrics without TLS on 0.0.0.0" in caplog.text


def test_a_broken_file_of_keys_is_an_error_at_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match=r"keys\.json does not exist"),
        served(Security(api_keys=tmp_path / "keys.json")),
    ):
        pass


# --- TLS ---


def test_tls_as_calls_have_it(pair: tuple[Path, Path], authority: Authority) -> None:
    with served(Security(tls_certificate=pair[0], tls_key=pair[1])) as port:
        status, _, text = get(port, trust(authority))
        assert status == 200
        assert "dorian_queue_requests" in text
        with pytest.raises(ssl.SSLCertVerificationError):
            get(port, ssl.create_default_context())
        assert b"dorian" not in send(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        old = trust(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert get(port, old)[0] == 200


def test_callers_need_a_certificate_where_calls_do(
    pair: tuple[Path, Path], authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "client").mkdir()
    security = Security(tls_certificate=pair[0], tls_key=pair[1], tls_client_ca=tmp_path / "ca.pem")
    with served(security) as port:
        assert get(port, trust(authority, authority.issue(["prometheus"]), tmp_path / "client"))[0] == 200
        for client in (None, Authority("one").issue(["prometheus"])):
            with pytest.raises((OSError, http.client.HTTPException)):
                get(port, trust(authority, client, tmp_path / "client"))


def test_a_new_certificate_serves_the_next_connection(pair: tuple[Path, Path], authority: Authority) -> None:
    other = Authority("two")
    with served(Security(tls_certificate=pair[0], tls_key=pair[1])) as port:
        assert get(port, trust(authority))[0] == 200
        other.issue().write(pair[0].parent)
        assert get(port, trust(other))[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            get(port, trust(authority))
        pair[1].write_bytes(b"broken")
        assert get(port, trust(other))[0] == 200


def test_tls_and_key_together(pair: tuple[Path, Path], authority: Authority, keys: tuple[Path, dict[str, str]]) -> None:
    path, secrets = keys
    with served(Security(tls_certificate=pair[0], tls_key=pair[1], api_keys=path)) as port:
        assert get(port, trust(authority))[0] == 401
        assert get(port, trust(authority), Authorization=f"Bearer {secrets['metrics']}")[0] == 200


# --- strangers ---


def drip(connection: socket.socket, stop: threading.Event) -> None:
    with connection:
        while not stop.wait(0.2):
            try:
                connection.sendall(b"a")
            except OSError:
                return


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_connections_that_stall_keep_nobody_out(encrypted: bool, pair: tuple[Path, Path], authority: Authority) -> None:
    """150 strangers connect, half of whom send a byte now and then; there are no more threads, and the end waits for nobody."""
    security = Security(tls_certificate=pair[0], tls_key=pair[1]) if encrypted else Security()
    stop = threading.Event()
    with ExitStack() as stack:
        stack.callback(stop.set)
        with served(security) as port:
            before = threading.active_count()
            strangers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) for _ in range(150)
            ]
            dripping = [threading.Thread(target=drip, args=(stranger, stop)) for stranger in strangers[::2]]
            for thread in dripping:
                thread.start()
                stack.callback(thread.join)
                stack.callback(stop.set)
            begin = time.monotonic()
            for _ in range(5):
                assert get(port, trust(authority) if encrypted else None)[0] == 200
            assert strangers[1].recv(1) == b""  # of the oldest, which have made way
            assert time.monotonic() - begin < SCRAPE_SECONDS
            assert threading.active_count() <= before + len(dripping)
            begin = time.monotonic()
        assert time.monotonic() - begin < SCRAPE_SECONDS


def test_a_connection_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dorian_server.telemetry.metrics_listener._SECONDS", 0.5)
    with served() as port, socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        begin = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.4 < time.monotonic() - begin < SCRAPE_SECONDS


def test_an_address_that_this_machine_lacks() -> None:
    with (
        pytest.raises(StartupError, match=r"^cannot serve metrics on 192\.0\.2\.1:0: "),
        Metrics().served("192.0.2.1", 0),
    ):
        pass
